"""What the measured balls allow: the floor of each, the one that stands, and what checks read of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from falsefloor.estimators.finite_difference.scale import Scales
from falsefloor.estimators.finite_difference.secants import Ball
from falsefloor.estimators.slopes.outcome import Outcome
from falsefloor.estimators.slopes.search import Bracket, Floor, at_column
from falsefloor.estimators.slopes.view import VANISHED


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
