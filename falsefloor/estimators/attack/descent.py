"""The gradient-led step of the ensemble: repeated exact projection onto the linearised boundary.

On a piecewise linear net a fixed point of the projection is the nearest boundary point of its neighbourhood,
which is why a few tens of steps do (DeepFool, Moosavi-Dezfooli et al. 2016; FAB, Croce & Hein 2020). Every
row works on one target from one start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from falsefloor.numerics.projections import to_plane

if TYPE_CHECKING:
    from falsefloor.estimators.attack.oracle import Oracle

OVERSHOOTS = (1e-4, 1e-2, 5e-2)
"""How far past the plane a row aims, dealt out in turn. The small one is exact; the large ones leave poor
minima (30 digits, l2, two seeds: worst over the best known 1.030 with 1e-4 alone, 1.002 with 1e-2 alone)."""

STEEP_OVERSHOOTS = (2e-2, 1e-1, 3e-1)
"""The same for secants: a slope that is off by a step of a quantiser stops short of the boundary
otherwise."""

EXACT = 0.02
"""The least overshoot falls to this share in the last fifth of the steps: to 2e-6, within 1e-5 of the
distance and beyond the rounding of a float32 sum."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """The best of each row: radius (R,), inf where nothing was found; point (R, d); history (steps, R)."""

    radius: Tensor
    point: Tensor
    history: Tensor


def descend(
    oracle: Oracle,
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    who: Tensor,
    targets: Tensor,
    *,
    steps: int,
    overshoot: Tensor,
    tick: Callable[[], None],
) -> Trace:
    """Walk every row (R, d) for ``steps`` steps towards its target (R,), from its start.

    The step is the whole way to the projection at first and a twentieth of it at last, since at a kink of the
    boundary whole steps cycle. After 60 % of the steps every row aims exactly. ``overshoot`` (R,).
    """
    centre = oracle.centre[who]
    below, above = centre - oracle.low, oracle.high - centre
    point = oracle.snap(start)
    best = torch.full_like(point[:, 0], torch.inf)
    best_point = centre
    history = []
    for step in range(steps):
        margin, gradient, lead = oracle.slope(function, point, who, targets)
        radius = oracle.distance(point, who)
        better = (lead > 0) & (radius < best)
        best = torch.where(better, radius, best)
        best_point = torch.where(better[:, None], point, best_point)
        history.append(best)
        tick()
        # scaled, so that neither vanishing nor exploding gradients leave the range of the sums
        scale = gradient.abs().amax(1, keepdim=True)
        unit = (gradient / scale).nan_to_num(0.0)
        moved = point - centre
        # a model may answer in more precision than its inputs have, and points are inputs
        fall = (margin.to(moved.dtype) / scale[:, 0]).nan_to_num(0.0) - (unit * moved).sum(1)
        least = overshoot.min() * (1.0 if step < 0.8 * steps else EXACT)
        beyond = overshoot if step < 0.6 * steps else least
        nearest = to_plane(unit, fall * (1 + beyond), below, above, norm=oracle.norm)
        # whole again just before the end: where there is no kink, that is exact
        pull = 1.0 if step == steps - 2 else max(0.05, 1 - step / steps)
        ahead = oracle.snap(centre + moved + pull * (nearest - moved))
        point = torch.where(scale > 0, ahead, point)
    return Trace(best, best_point, torch.stack(history))


__all__ = ["OVERSHOOTS", "STEEP_OVERSHOOTS", "Trace", "descend"]
