"""Exact projections inside a box: onto a linearised decision boundary, and towards the centre.

Minimum-norm attacks take both at every step. Each is the closed form over sorted breakpoints, row by row, so
a row's result does not depend on its neighbours.

Shapes: R rows, d coordinates. A displacement is what is added to a centre; ``below`` and ``above`` are how
far each coordinate may go down and up before it leaves the box, both >= 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_plane(gradient: Tensor, fall: Tensor, below: Tensor, above: Tensor, *, norm: str) -> Tensor:
    """The displacement of least norm inside the box along which a linear function falls by ``fall``.

    gradient, below, above (R, d), fall (R,). Where the box is too small for that, the displacement of the
    largest fall there is; where fall <= 0, none. For linf and l2 the coordinates go at speed 1 and |g_i|
    until they meet the box; for l1 those of largest |g_i| go first (Croce & Hein 2020, FAB, appendix A).
    """
    weight = gradient.abs()
    room = torch.where(gradient > 0, below, above)
    room = torch.where(weight > 0, room, torch.zeros_like(room))
    if norm == "l1":
        size = _greedy(weight, room, fall)
    else:
        size = _together(weight, torch.ones_like(weight) if norm == "linf" else weight, room, fall)
    return -size * gradient.sign()


def _greedy(weight: Tensor, room: Tensor, fall: Tensor) -> Tensor:
    order = weight.argsort(dim=1, descending=True, stable=True)
    steep, space = weight.gather(1, order), room.gather(1, order)
    gains = (steep * space).cumsum(1)
    # not the sums less the gains: without bounds both are infinite
    before = torch.cat([torch.zeros_like(gains[:, :1]), gains[:, :-1]], 1)
    wanted = ((fall[:, None] - before).clamp(min=0) / steep).nan_to_num(0.0)
    return torch.zeros_like(room).scatter(1, order, torch.minimum(wanted, space))


def _together(weight: Tensor, speed: Tensor, room: Tensor, fall: Tensor) -> Tensor:
    """min(t * speed, room) with the smallest t at which the sum of weight * that reaches ``fall``."""
    arrival = torch.where(weight > 0, room / speed, torch.zeros_like(room))
    times, order = arrival.sort(dim=1, stable=True)
    filled = (weight * room).gather(1, order).cumsum(1)
    rate = (weight * speed).gather(1, order)
    # summed from the far end: a difference of cumulative sums would cancel where it matters
    rates = rate.flip(1).cumsum(1).flip(1)
    # inf times 0, where a coordinate without a bound is the last one
    reached = (filled + times * (rates - rate)).nan_to_num(torch.inf, torch.inf)
    last = torch.searchsorted(reached, fall[:, None].contiguous())
    index = last.clamp(max=weight.shape[1] - 1)
    before = torch.where(
        last > 0, filled.gather(1, (index - 1).clamp(min=0)), torch.zeros_like(fall)[:, None]
    )
    time = (fall[:, None] - before) / rates.gather(1, index)
    time = torch.where(last >= weight.shape[1], times[:, -1:], time).nan_to_num(0.0).clamp(min=0)
    return torch.minimum(time * speed, room)


def shrink(displacement: Tensor, share: Tensor, *, norm: str) -> Tensor:
    """The displacement (R, d) projected onto the ball of ``share`` (R,) in [0, 1] times its own norm.

    linf cuts the coordinates, l2 scales, l1 soft-thresholds (Duchi et al. 2008): each coordinate moves
    towards zero, so a point inside a box around the centre stays there.
    """
    size = displacement.abs()
    if norm == "linf":
        top = size.amax(1, keepdim=True) * share[:, None]
        return torch.maximum(torch.minimum(displacement, top), -top)
    if norm == "l2":
        return displacement * share[:, None]
    total = size.sum(1, keepdim=True) * share[:, None]
    ordered = size.sort(dim=1, descending=True).values
    rank = torch.arange(1, size.shape[1] + 1, device=size.device, dtype=size.dtype)
    levels = (ordered.cumsum(1) - total) / rank
    kept = (ordered > levels).sum(1, keepdim=True).clamp(min=1)
    level = levels.gather(1, kept - 1).clamp(min=0)
    smaller = displacement.sign() * (size - level).clamp(min=0)
    return torch.where(share[:, None] >= 1, displacement, smaller)
