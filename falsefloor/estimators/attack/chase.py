"""The second gradient-led walk: normalised steps inside a ball that shrinks while they succeed.

Fast minimum-norm attacks (Pintor et al. 2021, FMN). It uses only the gradient's direction and moves many
small steps, so it leaves minima in which exact projections (`descent`) settle, and is less exact where it
ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from falsefloor.estimators.attack.descent import Trace
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.projections import shrink

if TYPE_CHECKING:
    from falsefloor.estimators.attack.oracle import Oracle

SHRINK = 0.05
"""Share by which the ball changes a step at first."""


def chase(
    oracle: Oracle,
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    who: Tensor,
    targets: Tensor,
    *,
    reach: Tensor,
    steps: int,
    tick: Callable[[], None],
) -> Trace:
    """Walk every row (R, d) for ``steps`` steps towards its target (R,); -1: whichever class leads there.

    ``reach`` (R,) is the first ball's radius and the length of the first step. Step length and rate of the
    ball fall with half a cosine.
    """
    centre = oracle.centre[who]
    point = oracle.snap(start)
    ball = reach.clone()
    best = torch.full_like(point[:, 0], torch.inf)
    best_point = centre
    history = []
    for step in range(steps):
        _, gradient, lead = oracle.slope(function, point, who, targets)
        radius = oracle.distance(point, who)
        fooled = lead > 0
        better = fooled & (radius < best)
        best = torch.where(better, radius, best)
        best_point = torch.where(better[:, None], point, best_point)
        history.append(best)
        tick()
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        rate = SHRINK * max(cosine, 0.02)
        ball = torch.where(fooled, torch.minimum(ball, best) * (1 - rate), ball * (1 + rate))
        displacement = (
            point - centre - (reach * max(cosine, 0.01))[:, None] * _steepest(gradient, oracle.norm)
        )
        inside = oracle.snap(centre + displacement) - centre
        share = (ball / vector_norm(inside, oracle.norm)).nan_to_num(1.0, 1.0).clamp(max=1)
        point = oracle.snap(centre + shrink(inside, share, norm=oracle.norm))
    return Trace(best, best_point, torch.stack(history))


def _steepest(gradient: Tensor, norm: str) -> Tensor:
    """A step of norm about 1 along the gradient: signs for linf, its own direction for l2 and l1."""
    if norm == "linf":
        return gradient.sign()
    unit = (gradient / gradient.abs().amax(1, keepdim=True)).nan_to_num(0.0)
    return (unit / vector_norm(unit, norm)[:, None]).nan_to_num(0.0)


__all__ = ["chase"]
