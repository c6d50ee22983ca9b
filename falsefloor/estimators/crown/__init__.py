"""crown: the largest radius that a linear relaxation proves, of whatever network it can read.

Zhang et al., "Efficient neural network robustness certification with general activation functions", NeurIPS
2018, https://arxiv.org/abs/1811.00866; optimised slopes as in Xu et al., "Fast and complete", ICLR 2021,
https://arxiv.org/abs/2011.13824. Where `milp` is exact for small ReLU networks and a few seconds a digit,
this is a lower bound for large and smooth ones, in all three norms, and takes milliseconds to seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, NotApplicable, Subject, option
from falsefloor.estimators.crown.network import read_network
from falsefloor.numerics.balls import diameter
from falsefloor.numerics.crown import OUTWARD, Node, Plane, region, relax
from falsefloor.numerics.margins import margins
from falsefloor.numerics.support import support

TOLERANCE = 2e-6
"""Taken off every radius, as a share of the domain's width, as `milp` does: float32 may move an edge."""
ROUNDING = 64.0
"""Units of eps·max|logit| by which the label must lead: the model's own rounding, what settling asks for."""
LOOKS = 10
"""Relaxations an input at most; three to six are usual."""
CLOSE = 2e-3
"""Relative: a relaxation whose planes prove a radius this near to its own is not made again."""
FIRST = 1e-4
"""Share of the diameter of a ball in which the network is nearly linear: where the first guess is from."""
NEAR = 1.5
"""Targets whose planes reach up to this many times as far as the first get slopes of their own."""
RISES = 40
"""Steps to where a plane meets 0; four to ten come within 1e-5 of it."""
GUESS = 0.8
"""Of the distance that the linear function there has: what is proved is 0.6 to 0.95 of it."""

OWN = ("looks", "cut")
"""Evidence of its own: relaxations made; neurons whose bounds are interval arithmetic's alone."""


@dataclass(frozen=True)
class Crown:
    """The largest radius at which every class stays behind the label in a linear relaxation of the network.

    Reads what torch computes on one input: linear, convolution, batch norm in eval mode, pooling, residuals,
    concatenation; ReLU, leaky ReLU, tanh, sigmoid, GELU, SiLU and their like; steps (ceil, floor, round),
    whose closure counts. The input stays in the domain as well as in the ball. A certificate of the network
    in real arithmetic, computed in float64 with bounds moved outward, and with room for float32's rounding.
    Slopes of 8 million numbers (64 MB) are held at once, whatever the network's size.

    Raises `NotApplicable`, "not applicable because …", for every other subject.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l1", "l2", "linf"))

    steps: int = option(10, help="steps of optimised slopes (alpha-CROWN); 0: fixed slopes", ge=0)
    work: float = option(5e7, help="rows x units that bound one activation; beyond it, intervals do", gt=0.0)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise NotApplicable(
                "not applicable because the model has one class: no other is at any distance."
            )
        shape = tuple(inputs.shape[1:])
        lo, hi = (bound.detach().double().cpu().expand(shape).reshape(-1) for bound in subject.bounds)
        if not bool((lo.isfinite() & hi.isfinite()).all()):
            raise NotApplicable(
                "not applicable because the input domain has no bounds. Give the model bounds."
            )
        nodes = read_network(subject, inputs, generator=context.generators[0])
        with torch.no_grad():
            logits = subject(inputs).double().cpu()
        flat = inputs.detach().double().cpu().reshape(len(inputs), -1)
        cap = diameter(lo, hi, (flat.shape[1],), norm)
        least = ROUNDING * torch.finfo(subject.dtype).eps * logits.abs().amax(1)
        radii = torch.full((len(inputs),), torch.nan, dtype=torch.float64)
        found: list[Certified] = []
        for index, (centre, label) in enumerate(zip(flat, labels.tolist(), strict=True)):
            asked = Question(nodes, centre, lo, hi, norm, int(label), float(least[index]), self)
            found.append(certified(asked, cap=cap))
            radii[index] = found[-1].radius
            context.progress(index + 1, len(inputs), radius=radii)
        slack = TOLERANCE * float((hi - lo).amax())
        return _estimate(found, margins(logits, labels.cpu()), cap=cap, slack=slack, like=inputs)


@dataclass(frozen=True)
class Question:
    """Up to where around centre (d,), inside the box lo, hi (d,), ``label`` leads by more than ``least``."""

    nodes: list[Node | None]
    centre: Tensor
    lo: Tensor
    hi: Tensor
    norm: str
    label: int
    least: float
    options: Crown


@dataclass
class Certified:
    """The largest radius proved, the class that binds it, relaxations made, and neurons that were cut."""

    radius: float = 0.0
    target: int = -1
    looks: int = 0
    cut: int = 0


def certified(asked: Question, *, cap: float) -> Certified:
    """The largest radius up to ``cap`` that is proved.

    A relaxation over the ball of R gives planes below every lead, which hold in all smaller balls; they prove
    the radius r(R) at which the first of them meets 0, or R if that is less. r falls as R grows, so what is
    looked for is where they meet: by secants in logarithms.
    """
    found = Certified()
    targets = [k for k in range(len(asked.nodes[-1].constant)) if k != asked.label]  # type: ignore[union-attr]
    linear, binding = _reach(asked, targets, radius=FIRST * cap, cap=cap, most=0.0)[:2]
    found.target = binding
    radius = min(cap, max(GUESS * linear, 1e-9 * cap))
    points: list[tuple[float, float]] = []
    for _ in range(LOOKS):
        reached, binding, ahead, cut = _reach(asked, targets, radius=radius, cap=cap, most=asked.options.work)
        found.looks += 1
        if min(reached, radius) > found.radius:
            found.radius, found.target, found.cut = min(reached, radius), binding, cut
        if reached >= radius >= cap or (1 - CLOSE) * radius <= reached <= radius:
            break
        if radius < reached <= (1 + CLOSE) * radius:
            radius = min(cap, reached)
            continue
        if reached < radius:
            # whoever is proved behind all over this ball is so in every smaller one
            targets = [k for k, there in zip(targets, ahead, strict=True) if there < radius] or targets
        points.append((radius, reached))
        radius = min(cap, _next(points))
        if radius <= found.radius:
            break
    return found


def _next(points: list[tuple[float, float]]) -> float:
    """Where radius and what it proves meet, by the last two points (R, r), and between those around it."""
    radius, reached = points[-1]
    low = max((one[0] for one in points if one[1] >= one[0]), default=0.0)
    high = min((one[0] for one in points if one[1] < one[0]), default=math.inf)
    if reached <= radius / 8:
        return math.sqrt(low * radius) if low else radius / 8
    guess = math.sqrt(radius * reached)
    if len(points) > 1 and points[-2][1] > 0:
        # log r falls by ``tilt`` for one of log R; half is usual
        run, fall = math.log(points[-2][0] / radius), math.log(points[-2][1] / reached)
        tilt = min(max(-fall / run, 0.0), 4.0) if run else 1.0
        guess = radius * (reached / radius) ** (1 / (1 + tilt))
    return min(max(guess, 1.0001 * low), 0.9999 * high) if high > 1.0003 * low else low


def _reach(
    asked: Question, targets: list[int], *, radius: float, cap: float, most: float
) -> tuple[float, int, list[float], int]:
    """What a relaxation over the ball of ``radius`` proves: the distance at which its first plane meets 0,
    maybe beyond the radius; which target's that is; each target's; and the neurons that were cut."""
    inside = region(asked.centre, asked.lo, asked.hi, norm=asked.norm, radius=radius)
    steps = asked.options.steps if most else 0
    known = relax(asked.nodes, inside, outward=OUTWARD, most=most, steps=steps)
    last = len(asked.nodes) - 1
    slopes = inside.centre.new_zeros(len(targets), len(known.intervals[last][0]))
    slopes[:, asked.label] = 1.0
    slopes[range(len(targets)), targets] = -1.0
    planes = known.planes(last, slopes)
    ahead = _meets(asked, planes, cap=cap)
    if steps:
        near = (ahead <= NEAR * ahead.amin()).nonzero().squeeze(1)
        within = min(radius, max(float(ahead.amin()), radius / 8))
        ball = region(asked.centre, asked.lo, asked.hi, norm=asked.norm, radius=within)
        better = known.raised(last, slopes[near], ball, steps=steps)
        ahead[near] = torch.maximum(ahead[near], _meets(asked, [better], cap=cap))
    first = int(ahead.argmin())
    return float(ahead[first]), targets[first], ahead.tolist(), known.cut


def _meets(asked: Question, planes: list[Plane], *, cap: float) -> Tensor:
    """The largest radii (T,) up to ``cap`` in whose ball the best of each target's planes is positive.

    lead / S_ρ at any smaller ρ is below it (`falsefloor.numerics.support`: S falls as ρ grows), so the
    distances rise to it from below and hold wherever they are left.
    """
    best = torch.zeros(len(planes[0].offset), dtype=torch.float64)
    centre, lo, hi = (one.unsqueeze(0) for one in (asked.centre, asked.lo, asked.hi))
    for plane in planes:
        lead = (plane.slopes @ asked.centre + plane.offset - asked.least).clamp_min(0)
        reached = torch.full_like(lead, 1e-9 * cap)
        for _ in range(RISES):
            rho = reached.unsqueeze(1)
            steep = support(plane.slopes, centre, lo, hi, norm=asked.norm, rho=rho).squeeze(1)
            further = torch.where(steep > 0, lead / steep, cap * (lead > 0)).clamp_max(cap)
            gained = bool((further > reached * (1 + 1e-5)).any())
            reached = torch.maximum(further, reached)
            if not gained:
                break
        best = torch.maximum(best, torch.where(lead > 0, reached, 0.0))
    return best


def _estimate(found: list[Certified], lead: Tensor, *, cap: float, slack: float, like: Tensor) -> Estimate:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=like.device)

    radius = column([max(one.radius - slack, 0.0) for one in found])
    evidence = {
        "target": column([float(one.target) for one in found]),
        "margin": column([float(row[one.target]) for row, one in zip(lead, found, strict=True)]),
        "cap": torch.full_like(radius, cap),
        "capped": (radius >= cap - slack).to(radius.dtype),
        "targets_covered": torch.full_like(radius, float(lead.shape[1] - 1)),
        "looks": column([float(one.looks) for one in found]),
        "cut": column([float(one.cut) for one in found]),
    }
    return Estimate(radius=radius, evidence=evidence)
