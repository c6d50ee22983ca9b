"""From a measured ball to a radius, and from outcomes to an Estimate with everything that checks read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.api import Estimate
from falsefloor.estimators.clever_ball import Ball
from falsefloor.estimators.evidence import SHARED
from falsefloor.estimators.floor import MOST_BALLS, Floor, at_column, passes, ratios
from falsefloor.estimators.queries import Queries
from falsefloor.estimators.slopes import View
from falsefloor.numerics import weibull

# 4 kB an estimate hold 1,024 floats: 640 maxima, 128 scores, two times 14 balls
_KEPT_MAXIMA = 640
_KEPT_SCORES = 128
_NAN = math.nan

WORDS = ("fit", "fit_reason")
NUMBERS = (*SHARED, "directed_maximum", "fit_location", "fit_scale", "curvature")
"""What every estimate carries; NaN where it does not apply."""


@dataclass(frozen=True)
class Outcome:
    """One input's result. curves: maxima and score of the binding target, balls (B, 2) of an auto radius."""

    radius: float
    evidence: Mapping[str, float | str]
    maxima: Tensor
    score: Tensor
    balls: Sequence[tuple[float, float]] = field(default=())

    @staticmethod
    def nothing_to_lose(view: View, slot: int, cap: float) -> Outcome:
        """The label does not win: radius 0, and nothing was looked at."""
        evidence = dict.fromkeys(NUMBERS, _NAN) | {
            "target": float(view.targets[slot]),
            "margin": float(view.margin[slot]),
            "cap": cap,
            "capped": 0.0,
            "targets_covered": float(len(view.targets)),
        }
        empty = torch.empty(0, dtype=torch.float64)
        return Outcome(0.0, {**evidence, "fit": "none", "fit_reason": "no positive margin"}, empty, empty)


@dataclass(frozen=True)
class Decision:
    """The floor of one ball, the slopes (T,) it rests on, and whether fits were to raise them."""

    ball: Ball
    floor: Floor
    slopes: Tensor
    fitted: bool

    @property
    def ball_slope(self) -> float:
        """The slope of the binding target at the ball's own radius."""
        return float(self.ball.largest[self.floor.slot, 0])


def decide(view: View, ball: Ball, *, fitted: bool, beat: float = 0.0) -> Decision:
    """The fixed-radius form on one ball: the largest of its radii that passes, or the plain form.

    A fit only lowers a floor: where no column could reach ``beat``, the best floor so far, none is made.
    """
    largest = ball.largest.double()
    least = ratios(view.margin.unsqueeze(1), largest).amin(dim=0).tolist()
    eps = torch.finfo(view.centre.dtype).eps
    # S falls with the radius: the largest that passes gives the largest floor
    columns: list[tuple[int, float | None]] = [*enumerate(ball.rho), (len(ball.rho), None)]
    open_ = (least[column] for column, rho in columns if rho is None or passes(least[column], rho))
    fitted = fitted and min(ball.radius, max(open_)) >= beat
    for column, rho in columns:
        # a fit never lowers a slope: what fails without it needs none
        if rho is not None and not passes(least[column], rho):
            continue
        slopes = largest[:, column]
        if fitted:
            slopes = _raised(view, ball.maxima[:, column], slopes, least[column])
        found = at_column(view.margin, slopes, column, rho, ball.radius, eps=eps)
        if found is not None:
            return Decision(ball, found, slopes, fitted)
    raise AssertionError("the plain form has no condition to fail")


def _raised(view: View, maxima: Tensor, slopes: Tensor, least: float) -> Tensor:
    """Slopes (T,) raised by the fits to maxima (T, batches), of the targets that a fit could let bind."""
    binding = view.margin.double() / least if least > 0 else slopes
    open_ = weibull.may_exceed(maxima, torch.maximum(binding, slopes)).nonzero().flatten()
    if not len(open_):
        return slopes
    raised = torch.maximum(slopes[open_], weibull.fit(maxima[open_]).location)
    return slopes.index_copy(0, open_, raised)


def report(
    view: View, decision: Decision, *, cap: float, balls: Sequence[tuple[float, float]] = ()
) -> Outcome:
    """Everything that checks read of the deciding ball, for the binding target."""
    ball, floor, slopes = decision.ball, decision.floor, decision.slopes
    column, slot = floor.column, floor.slot
    plain = len(ball.rho)
    fits = weibull.fit(ball.maxima[slot, [column, plain]]) if decision.fitted else None
    lipschitz = slopes[slot]
    if column != plain:
        lipschitz = ball.largest[slot, plain].double()
        if fits is not None:
            lipschitz = torch.maximum(lipschitz, fits.location[1])
    maxima = ball.maxima[slot, column].double()
    margin = float(view.margin[slot])
    directed = float(ball.directed[slot, column])
    half = maxima[: max(1, (len(maxima) + 1) // 2)]
    norms = ball.norms[slot]
    largest = float(ball.largest[slot, plain])
    row = {
        "target": float(view.targets[slot]),
        "margin": margin,
        "lipschitz": float(lipschitz),
        "slope": float(slopes[slot]),
        "sampling_radius": ball.radius,
        "cap": cap,
        "capped": float(floor.radius >= cap),
        "gradient_norm_median": float(norms.median()),
        "gradient_norm_max": largest,
        "zero_share": float(ball.zero[slot]),
        "vanished_share": float(ball.vanished[slot]),
        "nonfinite_share": float(ball.nonfinite[slot]),
        "maximum": float(maxima.amax()),
        "maximum_half": float(half.amax()),
        "directed_maximum": directed if directed > -math.inf else _NAN,
        "targets_covered": float(len(view.targets)),
        "curvature": _NAN,
    }
    words = _fit_evidence(row, fits, maxima, limit=min(ball.radius, cap))
    running = torch.clamp(maxima.cummax(dim=0).values, min=directed)
    score = torch.where(running > 0, margin / running, torch.inf).clamp(max=ball.radius)
    return Outcome(floor.radius, {**row, **words}, maxima.cpu(), score.cpu(), tuple(balls))


def _fit_evidence(
    row: dict[str, float], fits: weibull.WeibullFit | None, maxima: Tensor, *, limit: float
) -> dict[str, str]:
    """Add the first fit's numbers to a row of evidence; return its words."""
    row.update(
        dict.fromkeys(("fit_location", "fit_shape", "fit_scale", "interval_low", "interval_high"), _NAN)
    )
    row["distinct_maxima"] = float((maxima.sort().values.diff() > 0).sum() + 1)
    if fits is None:
        return {"fit": "max", "fit_reason": "asked for"}
    row["fit_location"] = float(fits.location[0])
    row["fit_shape"] = float(fits.shape[0])
    row["fit_scale"] = float(fits.scale[0])
    # a slope that was seen at a directed point bounds the interval's slopes from below as well
    seen = row["directed_maximum"]
    low, high = (float(end[0]) for end in (fits.low, fits.high))
    if not math.isnan(low) and bool(fits.fitted[0]):
        low, high = (end if math.isnan(seen) else max(end, seen) for end in (low, high))
        row["interval_low"] = min(limit, row["margin"] / high)
        row["interval_high"] = min(limit, row["margin"] / low)
    reason = weibull.REASONS[int(fits.reason[0])]
    return {"fit": "max" if reason else "weibull", "fit_reason": reason}


def assemble(
    outcomes: Sequence[Outcome], *, batches: int, auto: bool, like: Tensor, queries: Queries
) -> Estimate:
    """Stack outcomes of N inputs into an Estimate on the inputs' device, with what each of them cost."""
    device = like.device
    radius = torch.tensor([outcome.radius for outcome in outcomes], dtype=torch.float64, device=device)
    evidence: dict[str, Tensor | Sequence[str]] = {
        name: torch.tensor([float(o.evidence[name]) for o in outcomes], dtype=torch.float64, device=device)
        for name in NUMBERS
    }
    evidence |= {name: [str(outcome.evidence[name]) for outcome in outcomes] for name in WORDS}
    evidence |= queries.evidence()
    kept = min(batches, _KEPT_MAXIMA)
    curves = {
        "maxima": torch.stack([_thin(outcome.maxima, kept) for outcome in outcomes]),
        "score": torch.stack([_thin(outcome.score, min(batches, _KEPT_SCORES)) for outcome in outcomes]),
    }
    if auto:
        for column, name in enumerate(("ball_radius", "ball_slope")):
            curves[name] = torch.stack(
                [_padded([ball[column] for ball in outcome.balls], MOST_BALLS) for outcome in outcomes]
            )
    return Estimate(radius=radius, evidence=evidence, curves=curves)


def _thin(values: Tensor, count: int) -> Tensor:
    """At most ``count`` of the values, evenly spaced, the last included; padded with NaN."""
    if len(values) <= count:
        return _padded(values.tolist(), count)
    index = (torch.arange(1, count + 1) * len(values)) // count - 1
    return values[index].float()


def _padded(values: Sequence[float], count: int) -> Tensor:
    return torch.tensor([*values, *[_NAN] * (count - len(values))], dtype=torch.float32)


__all__ = ["NUMBERS", "WORDS", "Decision", "Outcome", "assemble", "decide", "report"]
