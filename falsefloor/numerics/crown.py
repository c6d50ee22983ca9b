"""Certified bounds of a small ReLU network over a ball cut with a box, by linear relaxation.

CROWN (Zhang et al. 2018, https://arxiv.org/abs/1811.00866): every ReLU whose input may have either sign is
enclosed between two lines, the lines are substituted backwards to the input, and the linear function that is
left is minimised over the input set in closed form. An exact solver needs these bounds twice: they fix the
neurons that cannot change sign, and they are the constants of its big-M constraints.

Layers are affine maps (W (m, n), b (m,)) with a ReLU between each two. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Affine = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Region:
    """The points of the box [lo, hi] (n,) whose l1 distance from centre (n,) is at most ``budget``.

    An linf ball is a smaller box: its budget is inf.
    """

    centre: Tensor
    lo: Tensor
    hi: Tensor
    budget: float = math.inf

    def minimum(self, slopes: Tensor) -> Tensor:
        """min of slopes (m, n) · x over the region, (m,)."""
        caps = torch.where(slopes > 0, self.centre - self.lo, self.hi - self.centre).clamp_min(0)
        size = slopes.abs()
        if math.isinf(self.budget):
            fall = (size * caps).sum(dim=1)
        else:
            order = size.argsort(dim=1, descending=True, stable=True)
            room = caps.gather(1, order)
            used = torch.minimum((self.budget - (room.cumsum(dim=1) - room)).clamp_min(0), room)
            fall = (size.gather(1, order) * used).sum(dim=1)
        return slopes @ self.centre - fall


def region(centre: Tensor, lo: Tensor, hi: Tensor, *, norm: str, radius: float) -> Region:
    """The ball of ``radius`` around centre (n,), cut with the box; norm "linf" or "l1"."""
    if norm not in ("linf", "l1"):
        raise ValueError(f"There is no exact region for norm {norm!r}: use linf or l1.")
    low, high = torch.maximum(lo, centre - radius), torch.minimum(hi, centre + radius)
    return Region(centre, low, high, radius if norm == "l1" else math.inf)


def hidden_bounds(layers: Sequence[Affine], inside: Region) -> list[tuple[Tensor, Tensor]]:
    """Lower and upper bounds of every hidden layer's input to its ReLU, first layer first."""
    bounds: list[tuple[Tensor, Tensor]] = []
    for index in range(len(layers) - 1):
        weight, bias = layers[index]
        below = lower_bound(layers[:index], bounds, weight, bias, inside)
        above = -lower_bound(layers[:index], bounds, -weight, -bias, inside)
        if index:
            # interval arithmetic is sometimes tighter, and never wrong
            low, high = (bound.clamp_min(0) for bound in bounds[-1])
            positive, negative = weight.clamp_min(0), weight.clamp_max(0)
            below = torch.maximum(below, positive @ low + negative @ high + bias)
            above = torch.minimum(above, positive @ high + negative @ low + bias)
        bounds.append((below, torch.maximum(above, below)))
    return bounds


def lower_bound(
    layers: Sequence[Affine],
    bounds: Sequence[tuple[Tensor, Tensor]],
    weight: Tensor,
    bias: Tensor,
    inside: Region,
) -> Tensor:
    """Lower bounds (m,) of weight (m, n) · a + bias, where a is the output of the ReLU after the last layer.

    The better of two relaxations from below for each row: the slope nearer to the neuron's interval, or 0.
    """
    best: Tensor | None = None
    for adaptive in (True, False):
        slopes, offset = weight, bias
        for (w, b), (low, high) in zip(reversed(layers), reversed(bounds), strict=True):
            unstable = (low < 0) & (high > 0)
            upper_slope = torch.where(
                unstable, high / (high - low).clamp_min(1e-300), (low >= 0).to(low.dtype)
            )
            upper_offset = torch.where(unstable, -upper_slope * low, 0.0)
            rising = (high > -low) if adaptive else torch.zeros_like(unstable)
            lower_slope = torch.where(unstable, rising.to(low.dtype), upper_slope)
            positive, negative = slopes.clamp_min(0), slopes.clamp_max(0)
            offset = offset + negative @ upper_offset
            slopes = positive * lower_slope + negative * upper_slope
            offset = offset + slopes @ b
            slopes = slopes @ w
        value = inside.minimum(slopes) + offset
        best = value if best is None else torch.maximum(best, value)
    assert best is not None
    return best


def forward(layers: Sequence[Affine], points: Tensor) -> Tensor:
    """The network itself on points (P, n): (P, K)."""
    values = points
    for index, (weight, bias) in enumerate(layers):
        values = (values.clamp_min(0) if index else values) @ weight.T + bias
    return values
