"""The form that one traced operation takes as a node: slopes backwards, intervals and values.

A linear operation of torch is its own description: its backward is what slopes go through, its value at zero
the constant, and its value at radii with the sizes of its weights the radius of an interval. Only those that
cost most have a form of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from falsefloor.api import NotApplicable
from falsefloor.estimators.crown.trace import Ref, Step, filled
from falsefloor.numerics.nodes import Interval, Linear, dense

SMALL = 1 << 20
"""Weights up to which a convolution is one matrix: products of matrices beat small convolutions."""


@dataclass(frozen=True)
class Value:
    """A traced value: the node that holds its numbers, and their shape with the batch of one."""

    node: int
    shape: tuple[int, ...]


def refusal(reason: str) -> NotApplicable:
    """What declines a subject, with the reason."""
    return NotApplicable(
        f"not applicable because {reason}. Linear relaxation reads convolutions, linear and pooling layers,"
        " batch norm, residuals and elementwise activations."
    )


def linear(step: Step, parents: list[Value], sizes: list[int], *, pick: int | None) -> Linear:
    """The node of a linear operation, or of its ``pick``-th result."""
    name, args = step.name, step.args
    nodes = tuple(one.node for one in parents)

    def run(*values: Tensor) -> Tensor:
        shaped = [value.reshape(one.shape) for value, one in zip(values, parents, strict=True)]
        out = step.function(*filled(args, shaped), **filled(step.kwargs, shaped))
        return first(out) if pick is None else out[pick]

    zeros = [torch.zeros(sizes[node], dtype=torch.float64) for node in nodes]
    constant = run(*zeros).reshape(-1)
    size = sizes[nodes[0]]
    single = name in ("add", "sub", "rsub", "neg", "mul", "div") or "batch_norm" in name
    if single and len(parents) == 1 and len(constant) == size:
        return scaled(nodes[0], run(torch.ones_like(zeros[0])).reshape(-1) - constant, constant)
    row = len(parents[0].shape) == 2 and parents[0].shape[0] == 1 and not isinstance(args[-1], Ref)
    if (name in ("addmm", "mm") and row) or (name == "convolution" and size * len(constant) <= SMALL):
        weight = _matrix(step, zeros[0], constant, parents[0])
        return dense(nodes[0], weight, constant)
    straight = name == "convolution" and not args[6]  # 6: transposed
    back = _convolved(step, parents[0]) if straight else _backward(run, zeros)
    return Linear(nodes, constant, back, _intervals(step, parents, run, pick), _values(run))


def scaled(node: int, scale: Tensor, constant: Tensor | None = None) -> Linear:
    """scale · x + constant, elementwise."""
    shift = torch.zeros_like(scale) if constant is None else constant

    def interval(given: Sequence[Interval]) -> Interval:
        ends = given[0][0] * scale + shift, given[0][1] * scale + shift
        return torch.minimum(*ends), torch.maximum(*ends)

    return Linear((node,), shift, lambda s: (s * scale,), interval, lambda given: given[0] * scale + shift)


def _matrix(step: Step, zero: Tensor, constant: Tensor, parent: Value) -> Tensor:
    """(n, n_p) of a linear map: the constant second argument where it is one, else by its columns."""
    if step.name in ("addmm", "mm"):
        weight: Tensor = step.args[-1] * float(step.kwargs.get("alpha", 1))
        return weight.T.contiguous()
    eye = torch.eye(len(zero), dtype=torch.float64).reshape(-1, *parent.shape[1:])
    columns: Tensor = step.function(*filled(step.args, [eye])).reshape(len(zero), -1) - constant
    return columns.T.contiguous()


def _backward(run: Any, zeros: list[Tensor]) -> Any:
    """Slopes through an operation's own backward, all rows at once."""
    with torch.enable_grad():
        leaves = [zero.clone().requires_grad_() for zero in zeros]
        out = run(*leaves)

    def back(slopes: Tensor) -> list[Tensor]:
        rows = slopes.reshape(-1, *out.shape)
        found = torch.autograd.grad(
            out, leaves, rows, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        return [
            slopes.new_zeros(len(slopes), len(leaf)) if one is None else one
            for one, leaf in zip(found, leaves, strict=True)
        ]

    return back


def _convolved(step: Step, parent: Value) -> Any:
    """Slopes through a convolution: the transposed one, rows as a batch."""
    weight, stride, padding, dilation, groups = (step.args[n] for n in (1, 3, 4, 5, 8))
    given = torch.zeros(parent.shape, dtype=torch.float64)
    out = step.function(*filled(step.args, [given]))
    extra = [
        edge - ((o - 1) * s - 2 * p + d * (k - 1) + 1)
        for edge, o, s, p, d, k in zip(
            given.shape[2:], out.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]

    def back(slopes: Tensor) -> tuple[Tensor]:
        rows = slopes.reshape(len(slopes), *out.shape[1:])
        found: Tensor = torch.ops.aten.convolution(
            rows, weight, None, stride, padding, dilation, True, extra, groups
        )
        return (found.reshape(len(slopes), -1),)

    return back


def _intervals(step: Step, parents: list[Value], run: Any, pick: int | None) -> Any:
    """Middles through the operation, radii through it with the sizes of its weights."""
    sizes = [one.abs() if isinstance(one, Tensor) and one.is_floating_point() else one for one in step.args]
    if step.name in ("mul", "div"):
        sizes = [abs(one) if isinstance(one, (int, float)) else one for one in sizes]

    def spread(values: list[Tensor]) -> Tensor:
        shaped = [value.reshape(one.shape) for value, one in zip(values, parents, strict=True)]
        out = step.function(*filled(tuple(sizes), shaped), **filled(step.kwargs, shaped))
        return (first(out) if pick is None else out[pick]).reshape(-1)

    def interval(given: Sequence[Interval]) -> Interval:
        centre = run(*[(low + high) / 2 for low, high in given]).reshape(-1)
        radii = [(high - low) / 2 for low, high in given]
        none = [torch.zeros_like(radius) for radius in radii]
        # each parent by itself: of x - y both radii count, whatever sign or alpha says the operation
        alone = [[*none[:at], radius, *none[at + 1 :]] for at, radius in enumerate(radii)]
        base, reach = spread(none), torch.zeros_like(centre)
        for values in alone:
            reach = reach + (spread(values) - base).abs()
        return centre - reach, centre + reach

    return interval


def _values(run: Any) -> Any:
    def value(given: Sequence[Tensor]) -> Tensor:
        return torch.stack([run(*rows).reshape(-1) for rows in zip(*given, strict=True)])

    return value


def windows(step: Step, parent: Value) -> tuple[Tensor, tuple[int, ...]]:
    """Which numbers (n, k) each window of a max pooling holds, -1 where it has fewer, and the result's shape:
    found by pooling their places."""
    *leading, channels, high, across = (1, *parent.shape) if len(parent.shape) < 4 else parent.shape
    pair = _pair(step.args, 1, 1)
    stride, pad, apart, up = (_pair(step.args, n, other) for n, other in ((2, pair), (3, 0), (4, 1), (5, 0)))
    if step.name.startswith("adaptive"):
        if high % pair[0] or across % pair[1]:
            raise refusal(f"{step.name!r} makes windows of unequal size")
        pair = stride = (high // pair[0], across // pair[1])
    count = math.prod(leading) * channels
    places = torch.arange(count * high * across, dtype=torch.float64).reshape(1, count, high, across)
    out = functional.max_pool2d(places, pair, stride, pad, apart, ceil_mode=bool(up[0]))
    tall, wide = (
        max(0, (out.shape[2 + n] - 1) * stride[n] + apart[n] * (pair[n] - 1) + 1 - edge - pad[n])
        for n, edge in enumerate((high, across))
    )
    padded = functional.pad(places + 1, (pad[1], wide, pad[0], tall))
    held = functional.unfold(padded.transpose(0, 1), pair, apart, 0, stride)  # (C, k, windows)
    groups = held.transpose(1, 2).reshape(-1, held.shape[1]).long() - 1
    shape = (*parent.shape[:-2], *out.shape[2:])
    return groups[: math.prod(shape)], shape


def _pair(args: Sequence[Any], at: int, other: Any) -> tuple[int, int]:
    """A setting of a pooling, for two sides; ``other`` where it was not given."""
    value = args[at] if len(args) > at else None
    if value is None or (isinstance(value, (list, tuple)) and not value):
        value = other
    if isinstance(value, (list, tuple)):
        return (int(value[0]), int(value[-1]))
    return (int(value), int(value))


def first(out: Any) -> Tensor:
    found: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return found


def blanks(parents: Sequence[Value]) -> list[Tensor]:
    return [torch.zeros(one.shape, dtype=torch.float64) for one in parents]
