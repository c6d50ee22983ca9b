"""Finite differences: a lower estimate of the distance to the nearest other class, from function values
alone.

A gradient says how a function moves over an infinitely small step, which a staircase, a saturated output or a
cast hides (Goodfellow, "Gradient masking causes CLEVER to overestimate adversarial perturbation size", 2018).
A secant slope over a step of finite size sees the function itself. So this estimator first measures slopes at
every scale, takes the scale at which they stop depending on it, and then does what CLEVER does (Weng et al.,
ICLR 2018, https://arxiv.org/abs/1801.10578), margin over the largest slope in a ball, with secant slopes.

It needs no gradient and reports what the scales show: the plateau, the steps a unit of input holds, and the
share of the domain that is ramp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from falsefloor.api import NORMS, Claim, Context, Estimate, Norm, Subject, option
from falsefloor.errors import DomainError
from falsefloor.estimators.floor import MOST_BALLS, Bracket, Floor, at_column, linear_crossing
from falsefloor.estimators.queries import Queries
from falsefloor.estimators.scale_search import choose_scale
from falsefloor.estimators.secant_report import Outcome, assemble
from falsefloor.estimators.secant_slopes import (
    GLANCE,
    Ball,
    Probe,
    Sampling,
    look,
    look_closer,
    measure_again,
)
from falsefloor.numerics.balls import diameter, working
from falsefloor.numerics.margins import margins

_SHARES = (1.0, 0.9999, 0.96, 0.92, 0.87, 0.81, 0.73, 0.6, 0.4)
"""Shares of the linearised crossing at which a ball's supports are measured. On a linear model the first is
the distance, and fails where differences in float32 round it away: the second is then the floor."""


@dataclass(frozen=True)
class FiniteDifference:
    """Margin over the largest secant slope in a ball, for the nearest target.

    Costs two forwards a coordinate and point: 2·d·(batches · samples + 13) a ball, about eight balls for an
    auto radius; 2·d·6 forwards for each of 26 scales before; and 36·d·min(classes - 1, 16) for each ball that
    is looked at more closely, one or two. Beyond ``coordinates`` coordinates a random subset stands for
    all, and the ``extremes`` steepest points of the ball that decides are measured again, with directed
    points beside them where ``queries`` forwards allow all coordinates of more points, else with as many
    coordinates as they allow; the evidence ``coverage`` says which share of them that is. In l1, whose slopes
    are the largest coordinate's, a coverage below 1 makes the radius too large.

    Decisions: a margin that is not positive gives 0; slopes of exactly 0 give the cap (``capped`` = 1); a
    slope that is not finite counts as infinitely steep. Step widths are refused in words (``step_reason``)
    where they cannot be told. Raises `DomainError` for a model with fewer than two classes, and for an auto
    radius in a domain without bounds.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = NORMS

    batches: int = option(4, help="batches of points per ball", ge=1, le=100_000)
    samples: int = option(4, help="points per batch", ge=1, le=1_000_000)
    radius: float | Literal["auto"] = option(
        "auto", help="radius of the sampled ball, in input units; auto searches for it", gt=0.0
    )
    box: bool = option(True, help="count only moves that stay inside the input domain")
    directed: bool = option(True, help="also look where the linearised margin falls most")
    coordinates: int = option(
        256, help="difference all coordinates up to this many, else a quarter of it", ge=4
    )
    extremes: int = option(4, help="steepest points to measure again, where coordinates are a subset", ge=1)
    queries: int = option(32_768, help="forwards that measuring again may cost an input", ge=64)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise DomainError(
                "finite-difference compares a class with the others, and this model has one class."
                " Give it two logits, for example (0, f)."
            )
        lo, hi = subject.bounds
        cap = diameter(lo, hi, tuple(inputs.shape[1:]), norm) if self.radius == "auto" else float(self.radius)
        if not math.isfinite(cap):
            raise DomainError(
                "finite-difference looks for its radius inside the input domain, which has no bounds here."
                " Give the model bounds, or the estimator a radius."
            )
        queries = Queries(subject, len(inputs))
        everyone = torch.arange(len(inputs), device=subject.device)
        with torch.no_grad(), queries.of(everyone):
            logits = torch.cat([subject(piece) for piece in torch.split(inputs, max(1, context.rows))])
        table = margins(logits.to(working(logits.dtype)), labels.to(logits.device))
        run = _Run(self, subject, norm, context, cap, len(inputs))
        outcomes = []
        for n in range(len(inputs)):
            with queries.of(everyone[n : n + 1]):
                outcomes.append(run.one(n, inputs[n], int(labels[n]), table[n]))
        return assemble(outcomes, like=inputs, queries=queries)


class _Run:
    """One call over several inputs, one after the other, reporting as it goes."""

    def __init__(
        self,
        options: FiniteDifference,
        subject: Subject,
        norm: Norm,
        context: Context,
        cap: float,
        count: int,
    ) -> None:
        self.options, self.subject, self.norm, self.context, self.cap = options, subject, norm, context, cap
        self.auto = options.radius == "auto"
        self.sampling = Sampling(options.batches, options.samples, GLANCE if options.directed else None)
        # a step is a ball; finding the scale and counting levels cost about as much as one each
        self.share = (MOST_BALLS if self.auto else 1) + 2
        self.done, self.total = 0, self.share * count
        self.radii = torch.full((count,), torch.nan, dtype=torch.float64)

    def tick(self) -> None:
        self.done = min(self.done + 1, self.total)
        self.context.progress(self.done, self.total, radius=self.radii)

    def one(self, index: int, centre: Tensor, label: int, margin: Tensor) -> Outcome:
        others = torch.tensor([k for k in range(self.subject.classes) if k != label], device=centre.device)
        generator = self.context.generators[index]
        if bool((margin[others] > 0).all()):
            outcome = self._search(index, centre, label, others, margin[others], generator)
        else:
            outcome = Outcome.nothing_to_lose(others, margin[others], self.cap)
        self.radii[index] = outcome.radius
        self.done = (index + 1) * self.share - 1
        self.tick()
        return outcome

    def _search(
        self, index: int, centre: Tensor, label: int, others: Tensor, margin: Tensor, generator: Generator
    ) -> Outcome:
        scales = choose_scale(
            self.subject,
            centre,
            label,
            others,
            margin,
            norm=self.norm,
            cap=self.cap,
            auto=self.auto,
            most=self.options.coordinates,
            rows=self.context.rows,
            generator=generator,
        )
        self.tick()
        probe = scales.probe
        at_centre = probe.gradients(centre.unsqueeze(0))[:, 0]
        crossing = self._crossing(probe, at_centre)
        bracket = Bracket(self.cap)
        found: list[tuple[Floor, Ball]] = []
        for radius in bracket.radii() if self.auto else iter([self.cap]):
            ball = look(
                probe,
                radius,
                self._columns(radius, crossing),
                sampling=self.sampling,
                at_centre=at_centre,
                generator=generator,
                extremes=self.options.extremes,
            )
            floor = best_floor(margin, ball)
            bracket.note(radius, floor.radius, float(ball.slopes[floor.slot, floor.column]))
            found.append((floor, ball))
            self.radii[index] = bracket.low
            self.tick()
        floor, ball, coverage = self._settle(probe, found, at_centre, generator)
        return Outcome.of(probe, floor, ball, scales, cap=self.cap, coverage=coverage, balls=bracket.tried)

    def _settle(
        self, probe: Probe, found: list[tuple[Floor, Ball]], at_centre: Tensor, generator: Generator
    ) -> tuple[Floor, Ball, float]:
        """The largest floor that a closer look at its ball leaves standing.

        With a subset of coordinates, whose floors are too low, it is the floor of the smallest ball that
        failed, measured again.
        """
        if probe.coordinates is not None:
            failed = [pair for pair in found if pair[0].radius < pair[1].radius]
            _, ball = min(failed or found, key=lambda pair: pair[1].radius)
            ball, coverage = measure_again(
                probe,
                ball,
                queries=self.options.queries,
                directed=self.options.directed,
                generator=generator,
            )
            return best_floor(probe.margin, ball), ball, coverage
        closer: set[float] = set()
        while True:
            best = _telling(found)
            floor, ball = found[best]
            if not self.options.directed or ball.radius in closer:
                return floor, ball, 1.0
            closer.add(ball.radius)
            ball = look_closer(probe, ball, at_centre=at_centre)
            found[best] = best_floor(probe.margin, ball), ball

    def _crossing(self, probe: Probe, at_centre: Tensor) -> float:
        if not self.options.box:
            return math.inf
        if probe.coordinates is not None:
            lengths = probe.lengths(at_centre.unsqueeze(1), [])[:, 0, -1].double()
            return float((probe.margin.double() / lengths).nan_to_num(nan=math.inf).amin())
        lo, hi = self.subject.bounds
        rows = at_centre.nan_to_num(0.0, 0.0, 0.0).reshape(-1, *probe.centre.shape)
        return linear_crossing(probe.margin, rows, probe.centre, lo, hi, norm=self.norm)

    def _columns(self, radius: float, crossing: float) -> list[float]:
        """Radii whose supports are measured on this ball, falling; none for the plain form."""
        if not self.options.box:
            return []
        near = min(crossing * (1 - 1e-6), radius)
        shares = [near * share for share in _SHARES]
        return shares if near == radius else [radius, *shares]


def _telling(found: Sequence[tuple[Floor, Ball]]) -> int:
    """The index of the smallest ball that failed, or of one that passed where its floor is larger.

    What is steep in a ball is as steep in every larger one, so a larger ball that failed allows no larger
    floor: where it seems to, its few points have missed something (on one digit 1.0008 times the distance).
    """
    failed = [index for index, (floor, ball) in enumerate(found) if floor.radius < ball.radius]
    smallest = min(failed, key=lambda index: found[index][1].radius, default=None)
    telling = [index for index in range(len(found)) if index not in failed or index == smallest]
    return max(telling, key=lambda index: found[index][0].radius)


def best_floor(margin: Tensor, ball: Ball) -> Floor:
    """The largest radius that any of the ball's columns allows."""
    columns: list[tuple[int, float | None]] = [*enumerate(ball.rho), (len(ball.rho), None)]
    eps = torch.finfo(ball.slopes.dtype).eps
    floors = (at_column(margin, ball.slopes[:, c], c, rho, ball.radius, eps=eps) for c, rho in columns)
    return max((floor for floor in floors if floor is not None), key=lambda floor: floor.radius)


__all__ = ["FiniteDifference"]
