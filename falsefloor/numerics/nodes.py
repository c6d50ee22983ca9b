"""What a network is to a relaxation: a list of nodes, each after its parents; node 0 is the input (None).

Values are flat: node i holds n_i numbers, and m linear functions of it are slopes (m, n_i). All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.envelopes import Curve, relu

Affine = tuple[Tensor, Tensor]
Interval = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Linear:
    """A linear map of its parents, plus ``constant`` (n,).

    back: slopes (m, n) to those of the parents. interval: the parents' to its own. value: of the parents'
    values (P, n_p), (P, n).
    """

    parents: tuple[int, ...]
    constant: Tensor
    back: Callable[[Tensor], Sequence[Tensor]]
    interval: Callable[[Sequence[Interval]], Interval]
    value: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Bend:
    """An activation of one parent."""

    parents: tuple[int]
    curve: Curve


@dataclass(frozen=True)
class Largest:
    """The largest of groups of its parent's numbers: groups (n, k), -1 where a group has fewer."""

    parents: tuple[int]
    groups: Tensor


Node = Linear | Bend | Largest


def dense(parent: int, weight: Tensor, bias: Tensor) -> Linear:
    """weight (n, n_p) · x + bias (n,)."""

    def interval(given: Sequence[Interval]) -> Interval:
        ((low, high),) = given
        positive, negative = weight.clamp_min(0), weight.clamp_max(0)
        return positive @ low + negative @ high + bias, positive @ high + negative @ low + bias

    return Linear(
        (parent,),
        bias,
        lambda slopes: (slopes @ weight,),
        interval,
        lambda given: given[0] @ weight.T + bias,
    )


def chain(layers: Sequence[Affine]) -> list[Node | None]:
    """Affine maps (W (m, n), b (m,)) with a ReLU between each two, as nodes."""
    nodes: list[Node | None] = [None]
    for weight, bias in layers:
        if len(nodes) > 1:
            nodes.append(Bend((len(nodes) - 1,), relu()))
        nodes.append(dense(len(nodes) - 1, weight, bias))
    return nodes


def bends(nodes: Sequence[Node | None]) -> Iterator[int]:
    """The numbers of the nodes that are activations."""
    return (index for index, node in enumerate(nodes) if isinstance(node, Bend))


def evaluate(nodes: Sequence[Node | None], points: Tensor) -> Tensor:
    """The network itself at points (P, n_0): (P, n) of the last node."""
    return answers(nodes, points)[-1]


def answers(nodes: Sequence[Node | None], points: Tensor) -> list[Tensor]:
    """What every node holds at points (P, n_0): (P, n_i) each."""
    values = [points]
    for node in nodes[1:]:
        assert node is not None
        given = [values[parent] for parent in node.parents]
        if isinstance(node, Linear):
            values.append(node.value(given))
        elif isinstance(node, Bend):
            values.append(node.curve.value(given[0]))
        else:
            known = torch.where(node.groups >= 0, given[0][:, node.groups.clamp_min(0)], -torch.inf)
            values.append(known.amax(2))
    return values


def forward(layers: Sequence[Affine], points: Tensor) -> Tensor:
    """The affine maps with ReLUs between at points (P, n): (P, K)."""
    values = points
    for index, (weight, bias) in enumerate(layers):
        values = (values.clamp_min(0) if index else values) @ weight.T + bias
    return values
