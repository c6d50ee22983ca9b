"""From a measured ball to the floor that it allows, and what checks read of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from falsefloor.estimators.clever.ball import Ball
from falsefloor.estimators.slopes import Outcome, View
from falsefloor.estimators.slopes.search import Bracket, Floor, at_column, passes, ratios
from falsefloor.evidence import Evidence
from falsefloor.numerics import weibull


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


def decide(view: View, ball: Ball, *, fitted: bool) -> Decision:
    """The fixed-radius form on one ball: the largest of its radii that passes, or the plain form."""
    largest = ball.largest.double()
    least = ratios(view.margin.unsqueeze(1), largest).amin(dim=0).tolist()
    eps = torch.finfo(view.centre.dtype).eps
    # S falls with the radius: the largest that passes gives the largest floor
    columns: list[tuple[int, float | None]] = [*enumerate(ball.rho), (len(ball.rho), None)]
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
    view: View,
    decision: Decision,
    *,
    cap: float,
    bracket: Bracket,
    covered: int,
    dropped: float | None = None,
) -> Outcome:
    """Everything that checks read of the deciding ball, for the binding target. covered: how many targets
    were looked at, in this ball or in one around it."""
    ball, floor, slopes = decision.ball, decision.floor, decision.slopes
    column, slot, plain = floor.column, floor.slot, len(ball.rho)
    fits = weibull.fit(ball.maxima[slot, [column, plain]]) if decision.fitted else None
    lipschitz = slopes[slot]
    if column != plain:
        lipschitz = ball.largest[slot, plain].double()
        if fits is not None:
            lipschitz = torch.maximum(lipschitz, fits.location[1])
    maxima = ball.maxima[slot, column].double()
    margin, directed = float(view.margin[slot]), float(ball.directed[slot, column])
    evidence = replace(
        view.told(slot, radius=floor.radius, cap=cap),
        targets_covered=float(covered),
        lipschitz=float(lipschitz),
        slope=float(slopes[slot]),
        sampling_radius=ball.radius,
        gradient_norm_median=float(ball.norms[slot].median()),
        gradient_norm_max=float(ball.largest[slot, plain]),
        zero_share=float(ball.zero[slot]),
        vanished_share=float(ball.vanished[slot]),
        nonfinite_share=float(ball.nonfinite[slot]),
        maximum=float(maxima.amax()),
        maximum_half=float(maxima[: max(1, (len(maxima) + 1) // 2)].amax()),
        directed_maximum=directed if directed > -math.inf else None,
        distinct_maxima=float((maxima.sort().values.diff() > 0).sum() + 1),
        dropped_distance=dropped,
        fit="max",
        fit_reason="asked for",
    )
    if fits is not None:
        evidence = _with_fit(evidence, fits, margin, limit=min(ball.radius, cap))
    running = torch.clamp(maxima.cummax(dim=0).values, min=directed)
    score = torch.where(running > 0, margin / running, torch.inf).clamp(max=ball.radius)
    curves = {"maxima": maxima.tolist(), "score": score.tolist(), **bracket.curves}
    return Outcome(floor.radius, evidence, curves=curves)


def _with_fit(evidence: Evidence, fits: weibull.WeibullFit, margin: float, *, limit: float) -> Evidence:
    """The first fit's numbers and words, and the radius's interval by it."""
    low, high = (float(end[0]) for end in (fits.low, fits.high))
    known = not math.isnan(low) and bool(fits.fitted[0])
    # a slope that was seen at a directed point bounds the interval's slopes from below as well
    seen = evidence.directed_maximum
    if known and seen is not None:
        low, high = max(low, seen), max(high, seen)
    reason = weibull.REASONS[int(fits.reason[0])]
    return replace(
        evidence,
        fit="max" if reason else "weibull",
        fit_reason=reason,
        fit_location=float(fits.location[0]),
        fit_shape=float(fits.shape[0]),
        fit_scale=float(fits.scale[0]),
        interval_low=min(limit, margin / high) if known else None,
        interval_high=min(limit, margin / low) if known else None,
    )
