"""The largest radius that a relaxation proves: few relaxations, cheap ones first.

A relaxation over the ball of R says two things: how far the label leads at least all over that ball, and up
to which smaller radius its planes prove a lead. What the lead loses grows like a power of R that changes
slowly, so two relaxations tell where it is used up, and one just below that proves it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.api import Norm
from falsefloor.numerics.crown import OUTWARD, Heads, Plane, relax
from falsefloor.numerics.envelopes import FLAT, NEARER
from falsefloor.numerics.nodes import Node, evaluate
from falsefloor.numerics.support import Region, region, support

LOOKS = 12
"""Relaxations an input at most; three or four are usual."""
CLOSE = 3e-3
"""Relative: where the lead is expected to end this near to what is proved, nothing more is asked for."""
FIRST = 1e-8
"""Share of the diameter of a ball in which the network is nearly linear, even to interval arithmetic."""
GUESS: dict[Norm, float] = {"linf": 0.5, "l2": 0.35, "l1": 0.15}
"""Of the distance that the linear function there has: what is proved is 0.4 to 0.95, 0.1 to 0.8, 0.03 to 0.4
of it."""
POWERS = (1.0, 8.0)
"""By which the lost lead may grow with the radius; 3 is usual."""
HALVES = 60
"""Of the interval in which the lead is expected to end."""
NEAR = 1.5
"""Targets whose planes reach up to this many times as far as the first get slopes of their own."""
RISES = 40
"""Steps to where a plane meets 0; four to ten come within 1e-5 of it."""


@dataclass(frozen=True)
class Question:
    """Up to where around centre (d,), inside the box lo, hi (d,), ``label`` leads by more than ``least``;
    cap: the farthest that a point of the box can lie. work, steps: as `Crown` takes them."""

    nodes: list[Node | None]
    heads: Heads
    centre: Tensor
    lo: Tensor
    hi: Tensor
    norm: Norm
    label: int
    least: float
    cap: float
    work: float
    steps: int


@dataclass
class Certified:
    """The largest radius proved, the class that binds it, relaxations made, and neurons that were cut."""

    radius: float = 0.0
    target: int = -1
    looks: int = 0
    cut: int = 0


@dataclass(frozen=True)
class Look:
    """What one relaxation over the ball of ``radius`` says of targets (T,): the least lead in that ball, and
    where planes meet 0, maybe beyond it."""

    radius: float
    lead: Tensor
    ahead: Tensor
    cut: int

    @property
    def proved(self) -> float:
        return min(self.radius, float(self.ahead.amin()))


@dataclass
class Trail:
    """How the ``whole`` lead at the input is lost as the radius grows: ``steep`` of it for each unit, which
    is what the linear function there loses, and a power of the radius."""

    whole: float
    steep: float
    cap: float
    power: float = 3.0
    last: tuple[float, float] | None = None

    def ends(self, seen: Look) -> float:
        """Where all of it is expected to be lost, after one more look."""
        lost = self.whole - float(seen.lead.amin())
        if not math.isfinite(lost):
            return seen.radius / 8
        bent = lost - self.steep * seen.radius
        if bent <= 0:
            return min(self.cap, seen.radius * self.whole / lost) if lost > 0 else self.cap
        if self.last is not None and self.last[0] != seen.radius:
            power = math.log(bent / self.last[1]) / math.log(seen.radius / self.last[0])
            self.power = min(max(power, POWERS[0]), POWERS[1])
        self.last = seen.radius, bent
        low, high = 0.0, self.cap
        for _ in range(HALVES):
            end = (low + high) / 2
            left = self.whole - self.steep * end - bent * (end / seen.radius) ** self.power
            low, high = (end, high) if left > 0 else (low, end)
        return high

    def below(self, end: float) -> float:
        """The next radius: so much before the end as the lead there is bent, and may end earlier."""
        bent = 1 - min(self.steep * end / self.whole, 1.0) if self.whole > 0 else 0.0
        return end * (1 - bent * CLOSE / 3) if end < self.cap else end


def certified(asked: Question) -> Certified:
    """The largest radius up to ``cap`` that is proved."""
    found = Certified()
    centre = evaluate(asked.nodes, asked.centre.unsqueeze(0))[0]
    every = torch.tensor([k for k in range(len(centre)) if k != asked.label])
    open_, behind = every, math.inf
    whole = max(float((centre[asked.label] - centre[every]).amin()) - asked.least, 0.0)
    first = look(asked, every, radius=FIRST * asked.cap, work=0.0, steps=0)
    linear = max(float(first.ahead.amin()), FIRST * asked.cap)
    found.target = int(every[first.ahead.argmin()])
    trail = Trail(whole, whole / linear, asked.cap)
    radius, least, most = GUESS[asked.norm] * linear, 0.0, math.inf
    for count in range(LOOKS):
        steps = asked.steps if count else 0
        targets = open_ if radius <= behind else every
        seen = look(asked, targets, radius=radius, work=asked.work, steps=steps)
        found.looks += 1
        if seen.proved > found.radius:
            found.radius, found.target = seen.proved, int(targets[seen.ahead.argmin()])
            found.cut = seen.cut
        if seen.proved >= asked.cap:
            break
        end = trail.ends(seen)
        if float(seen.lead.amin()) >= 0:
            least = max(least, radius)
        elif count or not asked.steps:
            most = min(most, radius)
        # whoever is proved behind all over this ball is so in every smaller one, and in no larger one
        if end < radius:
            open_, behind = targets[seen.lead < 0], radius
        if found.radius >= (1 - CLOSE) * end and (steps or not asked.steps):
            break
        if not count:
            trail.last = None  # slopes are optimised from here on
        radius = _within(trail.below(end), least, most)
        if radius <= found.radius:
            break
    return found


def _within(radius: float, low: float, high: float) -> float:
    """The next radius, strictly between the largest that proved itself and the smallest that did not."""
    if radius >= high:
        return math.sqrt(low * high) if low else high / 2
    return radius if radius > low else min((1 + CLOSE) * low, (low + high) / 2)


def look(asked: Question, targets: Tensor, *, radius: float, work: float, steps: int) -> Look:
    """One relaxation over the ball of ``radius``, of the label's lead over targets (T,)."""
    inside = region(asked.centre, asked.lo, asked.hi, norm=asked.norm, radius=radius)
    known = relax(asked.nodes, inside, heads=asked.heads, outward=OUTWARD, most=work, steps=steps)
    last = len(asked.nodes) - 1
    slopes = torch.zeros(len(targets), len(known.intervals[last][0]), dtype=torch.float64)
    slopes[:, asked.label] = 1.0
    slopes[torch.arange(len(targets)), targets] = -1.0
    lead, ahead = [], []
    for head in known.heads_of(last, slopes):
        planes = [known.plane(head, way) for way in (NEARER, FLAT)]
        least, meets = _least(asked, planes, inside), _meets(asked, planes)
        if steps:
            near = meets <= NEAR * meets.amin()
            within = min(radius, max(float(meets.amin()), radius / 8))
            ball = region(asked.centre, asked.lo, asked.hi, norm=asked.norm, radius=within)
            better = [known.raised(head.rows(near), ball, steps=steps)]
            least[near] = torch.fmax(least[near], _least(asked, better, inside))
            meets[near] = torch.maximum(meets[near], _meets(asked, better))
        lead.append(least)
        ahead.append(meets)
    return Look(radius, torch.cat(lead), torch.cat(ahead), known.cut)


def _least(asked: Question, planes: list[Plane], inside: Region) -> Tensor:
    found = [plane.least(inside) for plane in planes]
    return torch.stack(found).nan_to_num(-math.inf).amax(0) - asked.least


def _meets(asked: Question, planes: list[Plane]) -> Tensor:
    """The largest radii (T,) up to ``cap`` in whose ball the best of each target's planes is positive.

    lead / S_ρ at any smaller ρ is below it (`falsefloor.numerics.support`: S falls as ρ grows), so the
    distances rise to it from below and hold wherever they are left.
    """
    best = torch.zeros(len(planes[0].offset), dtype=torch.float64)
    centre, lo, hi = (one.unsqueeze(0) for one in (asked.centre, asked.lo, asked.hi))
    for plane in planes:
        lead = (plane.slopes @ asked.centre + plane.offset - asked.least).clamp_min(0)
        reached = torch.full_like(lead, 1e-9 * asked.cap)
        for _ in range(RISES):
            rho = reached.unsqueeze(1)
            steep = support(plane.slopes, centre, lo, hi, norm=asked.norm, rho=rho).squeeze(1)
            further = torch.where(steep > 0, lead / steep, asked.cap * (lead > 0)).clamp_max(asked.cap)
            gained = bool((further > reached * (1 + 1e-5)).any())
            reached = torch.maximum(further, reached)
            if not gained:
                break
        best = torch.maximum(best, torch.where(lead > 0, reached, 0.0))
    return best
