"""One gradient source's whole attempt: which targets, from which starts, how often.

Nearest targets first from the inputs themselves, then from random points around them at the scale of what was
found, then from around the incumbents. On digits the last two find what the first misses by up to 8 %. Or
asked again, from starts that somebody chose, inside balls that claims stand on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from falsefloor.api import Context, Norm, Subject
from falsefloor.estimators.attack.descent import OVERSHOOTS, Trace, Walker
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import move_back, tighten
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.numerics.balls import diameter, sample
from falsefloor.numerics.projections import to_plane

Function = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much one source may spend on an input.

    targets are tried first, of which the ``kept`` nearest get ``restarts`` random starts of ``steps`` steps
    each; then ``chases`` walks for each of these, and as many without a target, of twice the steps; then
    ``rounds`` times ``restarts`` starts around the incumbent, of half the steps.
    """

    steps: int
    targets: int
    kept: int
    restarts: int
    rounds: int
    chases: int = 0
    overshoots: tuple[float, ...] = OVERSHOOTS

    @property
    def first(self) -> int:
        return max(2, self.steps // 3)

    @property
    def half(self) -> int:
        return max(2, self.steps // 2)

    @property
    def total(self) -> int:
        """All steps, one after the other."""
        spread = self.half + self.steps if self.restarts else 0
        return self.first + spread + 2 * self.steps * bool(self.chases) + self.rounds * self.half

    def queries(self, classes: int) -> int:
        """What `explore` asks for an input at most, forwards and backwards together."""
        others = classes - 1
        ranked = 1 + (1 + min(3 * self.targets, others) if self.targets < others else 0)
        spread = 3 * self.targets * self.half + self.kept * self.restarts * self.steps
        chased = self.chases * (self.kept + 1) * 2 * self.steps
        walked = self.targets * self.first + (spread + chased) * bool(self.restarts)
        return ranked + 2 * (walked + self.rounds * max(self.restarts, 1) * self.half)

    @property
    def widest(self) -> int:
        """The most rows an input takes at once."""
        return max(3 * self.targets, self.kept * self.restarts, self.restarts)


@dataclasses.dataclass(frozen=True)
class Found:
    """Of n inputs: radius (n,), inf where nothing was found; point (n, d); target (n,); history (steps,
    n)."""

    radius: Tensor
    point: Tensor
    target: Tensor
    history: Tensor

    def and_then(self, later: Found) -> Found:
        better = later.radius < self.radius
        return Found(
            torch.where(better, later.radius, self.radius),
            torch.where(better[:, None], later.point, self.point),
            torch.where(better, later.target, self.target),
            torch.cat([self.history, torch.minimum(later.history, self.radius)]),
        )


@dataclasses.dataclass(frozen=True)
class Campaign:
    """One gradient source's attempt for the inputs ``who`` (n,), each with its generator."""

    walker: Walker
    who: Tensor
    generators: Sequence[Generator]
    effort: Effort

    def explore(self) -> Found:
        """The whole attempt."""
        walker, effort = self.walker, self.effort
        targets = nearest_targets(walker.oracle, walker.function, self.who, count=effort.targets)
        centre = walker.oracle.centre[self.who][:, None, :]
        found, nearness = self._walk(centre.expand(-1, targets.shape[1], -1), targets, effort.first)
        if effort.restarts:
            reach = torch.where(nearness.isfinite(), nearness, found.radius[:, None]).repeat(1, 3)
            start = self._spread(reach, 0.5, 1.5, 3)
            later, spread = self._walk(start, targets.repeat(1, 3), effort.half)
            found = found.and_then(later)
            nearness = torch.minimum(nearness, spread.reshape(len(self.who), 3, -1).amin(1))
            order = nearness.argsort(dim=1, stable=True)[:, : effort.kept]
            chosen = targets.gather(1, order)
            again = chosen.repeat(1, effort.restarts)
            start = self._spread(found.radius[:, None].expand_as(again), 0.1, 1.8, effort.restarts)
            found = found.and_then(self._walk(start, again, effort.steps)[0])
            if effort.chases:
                found = found.and_then(self._chase(chosen, found))
        return self.hop(found)

    def hop(self, found: Found) -> Found:
        """Start again from around the incumbents, ``effort.rounds`` times."""
        effort = self.effort
        count = max(effort.restarts, 1)
        for _ in range(effort.rounds):
            targets = found.target[:, None].expand(-1, count)
            reach = torch.where(found.radius.isfinite(), found.radius, 0.0)[:, None].expand(-1, count)
            reach = reach * _factors(0.02, 0.6, count, 1, like=reach)
            start = around(self.walker.oracle, found.point[:, None, :], reach, self.generators)
            found = found.and_then(self._walk(start, targets, effort.half)[0])
        return found

    def _walk(self, start: Tensor, targets: Tensor, steps: int) -> tuple[Found, Tensor]:
        return _walk(self.walker, start, self.who, targets, steps, overshoots=self.effort.overshoots)

    def _chase(self, targets: Tensor, found: Found) -> Found:
        """`chase` towards targets (n, T) and without one, from around the inputs."""
        free = torch.cat([targets, torch.full_like(targets[:, :1], -1)], 1).repeat(1, self.effort.chases)
        reach = found.radius[:, None].expand(free.shape)
        start = self._spread(reach, 0.0, 1.5, self.effort.chases).flatten(0, 1)
        who, wide = self.who.repeat_interleave(free.shape[1]), self._known(reach).reshape(-1)
        steps = 2 * self.effort.steps
        trace = self.walker.chase(start, who, free.reshape(-1), reach=wide, steps=steps)
        return _best(trace, free)[0]

    def _spread(self, reach: Tensor, least: float, most: float, times: int) -> Tensor:
        """Starts (n, M, d) around the inputs, as far as ``reach`` (n, M) times a factor for each of ``times``
        as many columns."""
        reach = self._known(reach)
        factors = _factors(least, most, times, reach.shape[1] // times, like=reach)
        centre = self.walker.oracle.centre[self.who][:, None]
        return around(self.walker.oracle, centre, reach * factors, self.generators)

    def _known(self, reach: Tensor) -> Tensor:
        """How far out starts make sense: a quarter of the box where nothing was found."""
        return torch.where(reach.isfinite(), reach, _quarter(self.walker.oracle))


def begin(walker: Walker, start: Tensor, who: Tensor, *, steps: int) -> Found:
    """From points start (n, M, d) that somebody chose, towards whichever class leads there."""
    free = torch.full(start.shape[:2], -1, device=who.device)
    return _walk(walker, start, who, free, steps, overshoots=OVERSHOOTS)[0]


def nearest_targets(oracle: Oracle, function: Function, who: Tensor, *, count: int) -> Tensor:
    """(n, T) classes other than the label, nearest first by the linearised distance (DeepFool's choice).

    Where all can be tried, or no gradient tells them apart, they are in the order of their margins.
    """
    points = oracle.centre[who]
    labels = oracle.labels[who]
    logits = oracle.logits(points, who).to(points.dtype).nan_to_num(-torch.inf)
    order = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    # a label whose own logit is -inf need not sort last
    mine = (order == labels[:, None]).to(torch.int8).argsort(dim=1, stable=True)
    others = order.gather(1, mine)[:, :-1]
    if count >= others.shape[1]:
        return others
    others = others[:, : 3 * count]
    below, above = points - oracle.low, oracle.high - points
    distance = []
    for margin, gradient in oracle.slopes(function, points, who, others):
        scale = gradient.abs().amax(1, keepdim=True)
        unit = (gradient / scale).nan_to_num(0.0)
        fall = (margin / scale[:, 0]).nan_to_num(0.0)
        step = to_plane(unit, fall, below, above, norm=oracle.norm)
        short = -(unit * step).sum(1) < fall * (1 - 1e-4)
        unknown = (scale[:, 0] == 0) | short
        distance.append(torch.where(unknown, torch.inf, oracle.distance(points + step, who)))
    nearest = torch.stack(distance, 1).argsort(dim=1, stable=True)[:, :count]
    return others.gather(1, nearest)


def _walk(
    walker: Walker, start: Tensor, who: Tensor, targets: Tensor, steps: int, *, overshoots: tuple[float, ...]
) -> tuple[Found, Tensor]:
    """Descend from start (n, M, d) towards targets (n, M): the best of each input, and all radii (n, M)."""
    count, width = targets.shape
    overshoot = start.new_tensor(overshoots)[torch.arange(width) % len(overshoots)].repeat(count)
    rows, owner = start.reshape(count * width, -1), who.repeat_interleave(width)
    trace = walker.descend(rows, owner, targets.reshape(-1), steps=steps, overshoot=overshoot)
    return _best(trace, targets)


def _best(trace: Trace, targets: Tensor) -> tuple[Found, Tensor]:
    """The best of each input over its rows (n, M), and all radii."""
    count, width = targets.shape
    radii = trace.radius.reshape(count, width)
    radius, column = radii.min(1)
    point = trace.point.reshape(count, width, -1)[torch.arange(count), column]
    target = targets.gather(1, column[:, None]).squeeze(1)
    return Found(radius, point, target, trace.history.reshape(-1, count, width).amin(2)), radii


def _factors(least: float, most: float, restarts: int, targets: int, *, like: Tensor) -> Tensor:
    """One radius factor for each of restarts × targets columns, spread over every target alike."""
    grid = torch.linspace(least, most, restarts * targets, dtype=like.dtype, device=like.device)
    return grid.reshape(restarts, targets).reshape(-1)


def around(oracle: Oracle, centre: Tensor, radius: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Random points (n, M, d), one in each ball around centre (n, 1, d) with radius (n, M); inf: a quarter
    box."""
    width = radius.shape[1]
    radius = torch.where(radius.isfinite(), radius, _quarter(oracle))
    return torch.stack(
        [
            sample(
                middle.expand(width, -1),
                norm=oracle.norm,
                radius=ball,
                count=1,
                generators=[generator] * width,
                lo=oracle.low,
                hi=oracle.high,
            )[:, 0]
            for middle, ball, generator in zip(centre, radius, generators, strict=True)
        ]
    )


def _quarter(oracle: Oracle) -> float:
    return diameter(oracle.low, oracle.high, tuple(oracle.low.shape), oracle.norm) / 4


def again(
    subject: Subject,
    inputs: Tensor,
    labels: Tensor,
    starts: Tensor,
    balls: Tensor,
    *,
    steps: int,
    norm: Norm,
    context: Context,
) -> Tensor:
    """How far (N,) walks from ``starts`` (N, M, *input) inside ``balls`` (N, M) get, or inf where none meets
    another class. Through autograd and, where its gradient is another, straight-through.

    A walk of minimum norm stops at the first boundary it meets; inside a fixed ball the same gradient goes
    on. Behind soft steps in l2 (tanh staircases and waves on two digits models) 16 such walks of 40 steps
    found a point in 64 of 76 balls, 0.5 to 9 % larger than the best known distance; without noise in 56.
    """
    oracle = Oracle.of(subject, inputs, labels, norm=norm, rows=context.rows)
    who = torch.arange(len(inputs), device=inputs.device)
    flat, repaired = starts.flatten(2).to(oracle.centre), StraightThrough()(subject)
    radius, point = torch.full_like(oracle.centre[:, 0], torch.inf), oracle.centre.clone()
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        context.progress(done, 3 * steps, radius=radius)

    for function in (subject, repaired):
        free = torch.full_like(who, -1)
        place = who if function is subject else who[oracle.apart(subject, repaired, flat, who, free)]
        if len(place):
            draws = [context.generators[at] for at in place.tolist()]
            walker = Walker(oracle, function, tick)
            found = walker.within(flat[place], place, balls[place], draws, steps=steps)
            nearer = found.radius < radius[place]
            radius[place[nearer]], point[place[nearer]] = found.radius[nearer], found.point[nearer]
    place = who[radius.isfinite()]
    if not len(place):
        return radius
    walker = Walker(oracle, subject, tick)
    exact = begin(walker, point[place][:, None], place, steps=max(4, steps // 2))
    nearer = exact.radius < radius[place]
    point[place[nearer]] = exact.point[nearer]
    settled = tighten(oracle, move_back(oracle, tighten(oracle, point[place], place), place), place)
    return radius.index_copy(0, place, oracle.distance(settled, place))
