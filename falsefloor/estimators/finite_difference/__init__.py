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

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from falsefloor.api import NORMS, Claim, Context, Estimate, Norm, NotApplicable, Subject, option
from falsefloor.errors import DomainError
from falsefloor.estimators.finite_difference.scale import Scales, choose_scale, crossing
from falsefloor.estimators.finite_difference.secants import (
    GLANCE,
    STARE,
    Ball,
    Probe,
    Sampling,
    look,
    look_closer,
    measure_again,
)
from falsefloor.estimators.finite_difference.whole import LOOKS, Whole
from falsefloor.estimators.slopes import (
    SHARED,
    VANISHED,
    Form,
    Outcome,
    Progress,
    View,
    estimate,
    farthest,
    need_rivals,
)
from falsefloor.estimators.slopes.search import MOST_BALLS, Bracket, Floor, at_column
from falsefloor.numerics.spectrum import SCALES
from falsefloor.observed import LEAST, too_few

OWN = ("plateau_slope", "plateau_found", "coverage")
"""Evidence of its own: the median slope at the plateau's scale, whether there is a plateau, and the share of
the coordinates that was differenced at the points that decide."""

_FORM = Form(
    (*SHARED, "plateau_scale", "spectrum_radius", "levels", "ramp_share", "step_reason"),
    OWN,
    {
        **dict.fromkeys(("scales", "spectrum", "spectrum_max"), len(SCALES)),
        **dict.fromkeys(("ball_radius", "ball_slope"), MOST_BALLS),
    },
)

_SHARES = (1.0, 0.9999, 0.96, 0.92, 0.87, 0.81, 0.73, 0.6, 0.4)
"""Shares of the linearised crossing at which a ball's supports are measured. On a linear model the first is
the distance, and fails where differences in float32 round it away: the second is then the floor."""


@dataclass(frozen=True)
class FiniteDifference:
    """CLEVER's quotient from differences of the function instead of gradients: it sees through most masks.

    Costs two forwards a coordinate and point: 2·d·(batches · samples + 13) a ball, about four balls for an
    auto radius; 2·d·6 forwards for each of 26 scales before; and 36·d·min(classes - 1, 16) for each ball that
    is looked at more closely, one or two. Beyond ``coordinates`` coordinates a random subset stands for all
    while the ball is looked for. Then balls inside it are seen through all coordinates at as many directed
    points as ``queries`` forwards allow, d + 1 each, or where those are fewer than five, the ``extremes``
    steepest points through as many coordinates as they allow; the evidence ``coverage`` says which share of
    them that is. With less than one in a hundred it declines. In l1, whose slopes are the largest
    coordinate's, a coverage below 1 makes the radius too large.

    Decisions: a margin that is not positive gives 0; slopes of exactly 0 give the cap (``capped`` = 1); a
    slope that is not finite counts as infinitely steep. Step widths are refused in words (``step_reason``)
    where they cannot be told. Raises `NotApplicable` as above, `DomainError` for a model with fewer than two
    classes, and for an auto radius in a domain without bounds.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = NORMS

    batches: int = option(4, help="batches of points per ball", ge=1, le=100_000, quick=2, thorough=16)
    samples: int = option(4, help="points per batch", ge=1, le=1_000_000)
    radius: float | Literal["auto"] = option(
        "auto", help="radius of the sampled ball, in input units; auto searches for it", gt=0.0
    )
    box: bool = option(True, help="count only moves that stay inside the input domain")
    directed: bool = option(True, help="also look where the linearised margin falls most")
    coordinates: int = option(
        256, help="difference all coordinates up to this many, else a quarter of it", ge=4, quick=64
    )
    extremes: int = option(
        4, help="steepest points to measure again, where coordinates are a subset", ge=1, quick=1, thorough=8
    )
    queries: int = option(
        32_768, help="forwards that measuring again may cost an input", ge=64, quick=1024, thorough=131_072
    )

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        need_rivals(subject, "finite-difference")
        self._need_coverage(inputs[0].numel())
        cap = farthest(subject, inputs, norm=norm, radius=self.radius)
        if not math.isfinite(cap):
            raise DomainError(
                "finite-difference looks for its radius inside the input domain, which has no bounds here."
                " Give the model bounds, or the estimator a radius."
            )

        # where one range covers features of different units, its width is no step for the smaller ones
        span: float | None = getattr(subject, "span", None)
        widths = (None,) if span is None else (None, math.sqrt(span * cap), span)

        def one(view: View, generator: Generator, progress: Progress) -> Outcome:
            found = [self._one(view, cap, generator, progress, width=width) for width in widths]
            return min(found, key=lambda outcome: outcome.radius)

        # a share is a ball; finding the scale and counting levels cost about as much as one each
        share = (MOST_BALLS if self.radius == "auto" else 1) + 2
        return estimate(one, _FORM, subject, inputs, labels, norm=norm, context=context, cap=cap, share=share)

    def _need_coverage(self, size: int) -> None:
        if too_few(size, coordinates=self.coordinates, queries=self.queries, extremes=self.extremes):
            seen = self.queries // (2 * self.extremes)
            enough = math.ceil(size * LEAST) * 2 * self.extremes
            raise NotApplicable(
                f"differences at {seen:,} coordinates would stand for {size:,}, fewer than one in a hundred."
                f" Give it finite-difference:queries={enough}, so many forwards an input, or leave it out."
            )

    def _one(
        self, view: View, cap: float, generator: Generator, progress: Progress, *, width: float | None
    ) -> Outcome:
        """One input whose label wins."""
        auto = self.radius == "auto"
        most = self.coordinates
        scales = choose_scale(view, cap=cap, auto=auto, most=most, generator=generator, width=width)
        progress.tick(1)
        probe = scales.probe
        at_centre = probe.gradients(view.centre.unsqueeze(0))[:, 0]
        whole = Whole.of(probe, queries=self.queries) if self.directed else None
        known = probe, at_centre
        if whole is not None:
            known = whole.probe, whole.at_centre
            probe = whole.held_against(probe, at_centre)
        near = crossing(*known) if self.box else math.inf
        sampling = Sampling(self.batches, self.samples, GLANCE if self.directed else None)
        bracket = Bracket(cap, auto, near)
        balls: dict[float, Ball] = {}
        for radius in bracket:
            balls[radius] = look(
                probe,
                radius,
                self._columns(radius, near),
                sampling=sampling,
                at_centre=at_centre,
                generator=generator,
                extremes=self.extremes,
            )
            if whole is not None:
                balls[radius] = whole.glance(balls[radius])
            _note(bracket, view, balls[radius])
            progress.reached(bracket.low, work=1)
        if whole is not None:
            first = balls[min(bracket.high, max(balls))]
            floor, ball, coverage = *self._close_in(whole, first, near, progress), 1.0
        else:
            floor, ball, coverage = self._settle(probe, bracket, balls, at_centre, generator)
        return report(scales, floor, ball, cap=cap, coverage=coverage, bracket=bracket)

    def _close_in(self, whole: Whole, first: Ball, near: float, progress: Progress) -> tuple[Floor, Ball]:
        """The floor of ``first``, the smallest ball that a subset or falls failed, and of balls inside it, by
        all coordinates of as many points as can be afforded."""
        view, bracket = whole.probe.view, Bracket(first.radius, self.radius == "auto")
        balls: dict[float, Ball] = {}
        whole.see(first.extremes[:1])
        each = max(2, min(STARE.along, whole.left // LOOKS)) if bracket.auto else whole.left
        radius = first.radius
        while whole.left > 0:
            ball = dataclasses.replace(first, radius=radius, rho=self._columns(radius, near))
            balls[radius] = whole.walk(ball, points=each)
            _note(bracket, view, balls[radius])
            progress.reached(bracket.low)
            radius = bracket.standing if bracket.closed or not bracket.auto else bracket.between
        ball = balls[bracket.standing]
        return best_floor(view.margin, ball), ball

    def _settle(
        self,
        probe: Probe,
        bracket: Bracket,
        balls: dict[float, Ball],
        at_centre: Tensor,
        generator: Generator,
    ) -> tuple[Floor, Ball, float]:
        """The floor that a closer look at its ball leaves standing.

        With a subset of coordinates, whose floors are too low, it is the floor of the smallest ball that
        failed, measured again.
        """
        if probe.coordinates is not None:
            again = balls[min(bracket.high, max(balls))]
            ball, coverage = measure_again(probe, again, queries=self.queries, generator=generator)
            return best_floor(probe.view.margin, ball), ball, coverage
        closer: set[float] = set()
        while self.directed and bracket.standing not in closer:
            radius = bracket.standing
            closer.add(radius)
            balls[radius] = look_closer(probe, balls[radius], at_centre=at_centre)
            _note(bracket, probe.view, balls[radius])
        ball = balls[bracket.standing]
        return best_floor(probe.view.margin, ball), ball, 1.0

    def _columns(self, radius: float, crossing: float) -> list[float]:
        """Radii whose supports are measured on this ball, falling; none for the plain form."""
        if not self.box:
            return []
        near = min(crossing * (1 - 1e-6), radius)
        shares = [near * share for share in _SHARES]
        return shares if near == radius else [radius, *shares]


def _note(bracket: Bracket, view: View, ball: Ball) -> None:
    floor = best_floor(view.margin, ball)
    bracket.note(ball.radius, floor.radius, float(ball.slopes[floor.slot, floor.column]))


def best_floor(margin: Tensor, ball: Ball) -> Floor:
    """The largest radius that any of the ball's columns allows."""
    columns: list[tuple[int, float | None]] = [*enumerate(ball.rho), (len(ball.rho), None)]
    eps = torch.finfo(ball.slopes.dtype).eps
    floors = (at_column(margin, ball.slopes[:, c], c, rho, ball.radius, eps=eps) for c, rho in columns)
    return max((floor for floor in floors if floor is not None), key=lambda floor: floor.radius)


def report(
    scales: Scales, floor: Floor, ball: Ball, *, cap: float, coverage: float, bracket: Bracket
) -> Outcome:
    """The floor's radius, with the evidence of its binding target on its ball."""
    probe, plateau, levels, slot = scales.probe, scales.plateau, scales.levels, floor.slot
    view, norms = probe.view, ball.norms[slot].double()
    small = VANISHED * float(view.margin[slot]) / view.across
    lipschitz = float(ball.slopes[slot, -1])
    evidence = replace(
        view.told(slot, radius=floor.radius, cap=cap),
        lipschitz=lipschitz,
        slope=float(ball.slopes[slot, floor.column]),
        sampling_radius=ball.radius,
        gradient_norm_median=float(norms.median()),
        # an extreme of what a subset of the coordinates stands for is no slope that was seen
        gradient_norm_max=max(lipschitz, float(norms.amax())) if probe.coordinates is None else lipschitz,
        zero_share=float((norms == 0).double().mean()),
        vanished_share=float((norms <= small).double().mean()),
        nonfinite_share=float(norms.isinf().double().mean()),
        maximum=float(norms.amax()),
        maximum_half=float(norms[: max(1, (len(norms) + 1) // 2)].amax()),
        distinct_maxima=float(len(set(ball.maxima[slot].tolist()))),
        fit="max",
        fit_reason="secant slopes are not extrapolated",
        plateau_scale=probe.scale,
        spectrum_radius=scales.ball,
        levels=float(levels.levels[0]),
        ramp_share=float(levels.ramp_share[0]),
        step_reason=levels.reason[0],
    )
    own = {
        "plateau_slope": float(plateau.slope[0]),
        "plateau_found": float(plateau.found[0]),
        "coverage": coverage,
    }
    spectrum = scales.spectrum
    curves = {
        "scales": spectrum.scales[0].tolist(),
        "spectrum": spectrum.median[0].tolist(),
        "spectrum_max": spectrum.largest[0].tolist(),
    }
    return Outcome(floor.radius, evidence, own, {**curves, **bracket.curves})
