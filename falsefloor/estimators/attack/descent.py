"""The gradient-led walks of the ensemble. Every row works on one target from one start.

`descend` projects exactly onto the linearised boundary, again and again: on a piecewise linear net a fixed
point is the nearest boundary point of its neighbourhood, which is why a few tens of steps do. `chase` uses
only the gradient's direction and moves many small steps, so it leaves minima in which exact projections
settle, and is less exact where it ends. `within` stays inside a ball of its own and moves as far as that is
wide, so that it leaves what the other two stop at, and finds a point inside or nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.numerics.balls import directions, vector_norm
from falsefloor.numerics.projections import shrink, to_plane

OVERSHOOTS = (1e-4, 1e-2, 5e-2)
"""How far past the plane a row aims, dealt out in turn. The small one is exact; the large ones leave poor
minima (30 digits, l2, two seeds: worst over the best known 1.030 with 1e-4 alone, 1.002 with 1e-2 alone)."""

STEEP_OVERSHOOTS = (2e-2, 1e-1, 3e-1)
"""The same for secants: a slope that is off by a step of a quantiser stops short of the boundary
otherwise."""

EXACT = 0.02
"""The least overshoot falls to this share in the last fifth of the steps: to 2e-6, within 1e-5 of the
distance and beyond the rounding of a float32 sum."""

NOISE = 0.1
"""How far from a row of `within` its gradient is asked for, as a share of its ball: past small steps."""

SLACK = 1e-5
"""By so much a row on the surface of its ball may lie outside: rounding."""

SHRINK = 0.05
"""Share by which the ball of `chase` changes a step at first."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """The best of each row: radius (R,), inf where nothing was found; point (R, d); history (steps, R)."""

    radius: Tensor
    point: Tensor
    history: Tensor


class _Best:
    """The nearest point of each row at which another class led, as they come."""

    def __init__(self, oracle: Oracle, who: Tensor) -> None:
        self._oracle, self._who = oracle, who
        self._point = oracle.centre[who]
        self.radius = torch.full_like(self._point[:, 0], torch.inf)
        self._history: list[Tensor] = []

    def note(self, point: Tensor, fooled: Tensor) -> None:
        """The rows are at these points (R, d), and misclassified there or not (R,)."""
        radius = self._oracle.distance(point, self._who)
        better = fooled & (radius < self.radius)
        self.radius = torch.where(better, radius, self.radius)
        self._point = torch.where(better[:, None], point, self._point)
        self._history.append(self.radius)

    def trace(self) -> Trace:
        return Trace(self.radius, self._point, torch.stack(self._history))


@dataclasses.dataclass(frozen=True)
class Walker:
    """Walks by one gradient: ``function`` is the subject's with that, ``tick`` is told of every step."""

    oracle: Oracle
    function: Callable[[Tensor], Tensor]
    tick: Callable[[], None]

    def descend(self, start: Tensor, who: Tensor, targets: Tensor, *, steps: int, overshoot: Tensor) -> Trace:
        """Walk every row (R, d) for ``steps`` steps towards its target (R,), from its start.

        Repeated projection (DeepFool, Moosavi-Dezfooli et al. 2016; FAB, Croce & Hein 2020). The step is the
        whole way at first and a twentieth of it at last, since at a kink of the boundary whole steps cycle.
        After 60 % of the steps every row aims exactly. ``overshoot`` (R,).
        """
        oracle = self.oracle
        centre = oracle.centre[who]
        below, above = centre - oracle.low, oracle.high - centre
        point = oracle.snap(start)
        best = _Best(oracle, who)
        for step in range(steps):
            margin, gradient, lead = oracle.slope(self.function, point, who, targets)
            best.note(point, lead > 0)
            self.tick()
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
        return best.trace()

    def chase(self, start: Tensor, who: Tensor, targets: Tensor, *, reach: Tensor, steps: int) -> Trace:
        """Walk every row (R, d) for ``steps`` steps towards its target (R,); -1: whichever class leads.

        Normalised steps inside a ball that shrinks while they succeed (Pintor et al. 2021, FMN). ``reach``
        (R,) is the first ball's radius and the length of the first step. Step length and rate of the ball
        fall with half a cosine.
        """
        oracle = self.oracle
        centre = oracle.centre[who]
        point = oracle.snap(start)
        ball = reach.clone()
        best = _Best(oracle, who)
        for step in range(steps):
            _, gradient, lead = oracle.slope(self.function, point, who, targets)
            fooled = lead > 0
            best.note(point, fooled)
            self.tick()
            cosine = (1 + math.cos(math.pi * step / steps)) / 2
            rate = SHRINK * max(cosine, 0.02)
            ball = torch.where(fooled, torch.minimum(ball, best.radius) * (1 - rate), ball * (1 + rate))
            displacement = (
                point - centre - (reach * max(cosine, 0.01))[:, None] * _steepest(gradient, oracle.norm)
            )
            point = _into(oracle, centre, oracle.snap(centre + displacement), ball)
        return best.trace()

    def within(
        self, start: Tensor, who: Tensor, balls: Tensor, generators: Sequence[Generator], *, steps: int
    ) -> Trace:
        """Walk from start (n, M, d) for ``steps`` steps inside ``balls`` (n, M) around the inputs ``who``
        (n,), which shrink to what was found: of each input its best.

        Projected gradient steps (Madry et al. 2018), normalised, as long as the ball is wide at first and
        down to a hundredth of it by half a cosine, with the gradient of a point near by, three times of four.
        """
        oracle = self.oracle
        count, width, size = start.shape
        owner = who.repeat_interleave(width)
        centre, free = oracle.centre[owner], torch.full_like(owner, -1)
        ball, point = balls.to(start).reshape(-1), oracle.snap(start.reshape(-1, size))
        best = _Best(oracle, owner)
        for step in range(steps):
            asked = point
            if step % 4 != 3:
                noise = [directions((size,), norm=oracle.norm, count=width, generator=g) for g in generators]
                asked = oracle.snap(point + NOISE * ball[:, None] * torch.cat(noise).to(point))
            _, gradient, lead = oracle.slope(self.function, asked, owner, free)
            best.note(asked, (lead > 0) & (oracle.distance(asked, owner) <= ball * (1 + SLACK)))
            self.tick()
            nearest = best.radius.reshape(count, width).amin(1, keepdim=True).expand(count, width)
            ball = torch.minimum(ball, nearest.reshape(-1))
            length = ball * max((1 + math.cos(math.pi * step / steps)) / 2, 0.01)
            ahead = oracle.snap(point - length[:, None] * _steepest(gradient, oracle.norm))
            point = _into(oracle, centre, ahead, ball)
        trace = best.trace()
        radius, column = trace.radius.reshape(count, width).min(1)
        chosen = trace.point.reshape(count, width, size)[torch.arange(count), column]
        return Trace(radius, chosen, trace.history.reshape(steps, count, width).amin(2))


def _into(oracle: Oracle, centre: Tensor, point: Tensor, ball: Tensor) -> Tensor:
    """Points (R, d) projected into balls (R,) around their centres."""
    moved = point - centre
    share = (ball / vector_norm(moved, oracle.norm)).nan_to_num(1.0, 1.0).clamp(max=1)
    return oracle.snap(centre + shrink(moved, share, norm=oracle.norm))


def _steepest(gradient: Tensor, norm: str) -> Tensor:
    """A step of norm about 1 along the gradient: signs for linf, its own direction for l2 and l1."""
    if norm == "linf":
        return gradient.sign()
    unit = (gradient / gradient.abs().amax(1, keepdim=True)).nan_to_num(0.0)
    return (unit / vector_norm(unit, norm)[:, None]).nan_to_num(0.0)
