"""Reads a subject's layers as affine maps with ReLUs between, for a solver that needs to see inside.

What cannot be read is refused in words, and what was read is compared with the subject's own outputs, so that
a module whose forward does something else than its parts in order is never solved by mistake.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from falsefloor.api import Norm, NotApplicable, Subject
from falsefloor.numerics.nodes import Affine, forward

LARGEST = 1 << 22
"""Coefficients of one affine map at most (32 MB): beyond that no exact solver gets anywhere."""

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool1d, nn.AvgPool2d, nn.Flatten, nn.Unflatten)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_NOTHING = (nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class Steps:
    """A staircase at the input: levels per unit, and "ceil", "floor" or "round"."""

    levels: float
    mode: str

    def value(self, x: Tensor) -> Tensor:
        """In float32, as the layer itself: pixels k/255 lie on an edge of 255 levels there and beside it in
        float64."""
        rounding = {"ceil": torch.ceil, "floor": torch.floor, "round": torch.round}[self.mode]
        return (rounding(x.float() * self.levels) / self.levels).to(x.dtype)


@dataclass(frozen=True)
class Network:
    """layers in float64 with ReLUs between; steps, a staircase before the first, or None."""

    layers: list[Affine]
    steps: Steps | None

    def __call__(self, points: Tensor) -> Tensor:
        """Logits (P, K) at flattened points (P, d)."""
        return forward(self.layers, points if self.steps is None else self.steps.value(points))


@dataclass(frozen=True)
class Question:
    """How far from centre (d,), inside the box lo, hi (d,), another class leads ``label``; all in float64."""

    network: Network
    centre: Tensor
    label: int
    lo: Tensor
    hi: Tensor
    norm: Norm


def read_network(subject: Subject, inputs: Tensor) -> Network:
    """The network behind a subject that takes inputs (N, *input).

    Reads Linear, Conv, AvgPool, BatchNorm, Flatten, ReLU, Identity and Dropout, in `nn.Sequential`s or in
    modules that name their parts; steps are known by the attributes ``levels`` and ``mode``. Raises
    `NotApplicable` ("not applicable because …") for anything else, or where the parts do not reproduce the
    subject.
    """
    shape = inputs.shape[1:]
    steps: Steps | None = None
    group: list[nn.Module] = []
    layers: list[Affine] = []
    size = math.prod(shape)
    here: tuple[int, ...] = tuple(shape)
    for name, module in _parts(subject.module, ""):
        if isinstance(module, nn.ReLU):
            affine, here = _affine(group, here)
            layers.append(affine)
            group = []
        elif isinstance(module, (*_LINEAR, *_NORMS)):
            group.append(module)
        elif hasattr(module, "levels") and hasattr(module, "mode"):
            if layers or group or steps is not None:
                raise _refusal(f"the staircase at {name!r} is not at the input")
            steps = Steps(float(str(module.levels)), str(module.mode))
        else:
            raise _refusal(f"{name!r} is a {type(module).__name__}, which is neither linear nor ReLU")
    affine, _ = _affine(group, here)
    network = Network([*layers, affine], steps)
    _compare(network, subject, inputs, size)
    return network


def _refusal(reason: str) -> NotApplicable:
    return NotApplicable(
        f"not applicable because {reason}. The exact solver reads Sequential models of Linear, Conv, AvgPool,"
        " BatchNorm, Flatten and ReLU, with a staircase at the input at most."
    )


def _parts(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Leaves in the order of the data, without those that do nothing in eval mode."""
    if isinstance(module, _NOTHING):
        return
    if isinstance(module, nn.Sequential):
        # `named_children` names a part that stands twice once
        children = [(child, part) for child, part in module._modules.items() if part is not None]
    elif all(isinstance(getattr(module, part, None), nn.Module) for part in ("input", "model", "logits")):
        children = [(part, getattr(module, part)) for part in ("input", "model", "logits")]
    elif isinstance(getattr(module, "part", None), nn.Module) and hasattr(module, "operation_name"):
        children = [(part, module.get_submodule(part)) for part in ("part", str(module.operation_name))]
    else:
        yield name or type(module).__name__, module
        return
    for child, part in children:
        yield from _parts(part, f"{name}.{child}".lstrip("."))


def _affine(group: list[nn.Module], shape: tuple[int, ...]) -> tuple[Affine, tuple[int, ...]]:
    """The affine map of a chain of modules on inputs of ``shape``, flattened, and its output's shape."""
    size = math.prod(shape)
    chain = [copy.deepcopy(module).cpu().double() for module in group]

    def run(values: Tensor) -> Tensor:
        for module in chain:
            values = module(values)
        return values

    with torch.no_grad():
        constant = run(torch.zeros(1, *shape, dtype=torch.float64))
        if size * constant.numel() > LARGEST:
            raise _refusal(f"a layer maps {size} numbers to {constant.numel()}, too many for an exact solver")
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
        columns = (run(basis) - constant).reshape(size, -1)
    return (columns.T.contiguous(), constant.reshape(-1)), tuple(constant.shape[1:])


def _compare(network: Network, subject: Subject, inputs: Tensor, size: int) -> None:
    with torch.no_grad():
        asked = subject(inputs).double().cpu()
        read = network(inputs.reshape(len(inputs), size).cpu().double())
    if asked.shape != read.shape:
        raise _refusal(
            f"its layers give {tuple(read.shape[1:])} logits and the model {tuple(asked.shape[1:])}"
        )
    error = float((asked - read).abs().amax())
    if not error <= 1e-3 * (1 + float(asked.abs().amax())):
        raise _refusal(
            f"its layers, run in order, do not give the model's logits (they differ by {error:.2g})"
        )
