"""From what finite differences measured to an Estimate with everything that checks read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.api import Estimate
from falsefloor.estimators.evidence import SHARED, VANISHED
from falsefloor.estimators.floor import MOST_BALLS, Floor
from falsefloor.estimators.queries import Queries
from falsefloor.estimators.scale_search import Scales
from falsefloor.estimators.secant_slopes import Ball, Probe
from falsefloor.numerics.balls import diameter
from falsefloor.numerics.spectrum import SCALES

NUMBERS = (*SHARED, "plateau_scale", "plateau_slope", "plateau_found", "levels", "ramp_share", "coverage")
"""What every estimate carries; NaN where it does not apply. Slopes are secants at the plateau's scale."""

WORDS = ("fit", "fit_reason", "step_reason")


@dataclass(frozen=True)
class Outcome:
    """One input's result; spectrum (3, A): scales, median, largest; balls: (radius, slope) each."""

    radius: float
    evidence: Mapping[str, float | str]
    spectrum: Tensor
    balls: Sequence[tuple[float, float]]

    @staticmethod
    def nothing_to_lose(targets: Tensor, margin: Tensor, cap: float) -> Outcome:
        """The label does not win: radius 0, and nothing was looked at."""
        slot = int(margin.nan_to_num(nan=-math.inf).argmin())
        evidence: dict[str, float | str] = {
            **dict.fromkeys(NUMBERS, math.nan),
            "target": float(targets[slot]),
            "margin": float(margin[slot]),
            "cap": cap,
            "capped": 0.0,
            "targets_covered": float(len(targets)),
            "fit": "none",
            "fit_reason": "no positive margin",
            "step_reason": "refused: no positive margin",
        }
        return Outcome(0.0, evidence, torch.full((3, len(SCALES)), math.nan), ())

    @staticmethod
    def of(
        probe: Probe,
        floor: Floor,
        ball: Ball,
        scales: Scales,
        *,
        cap: float,
        coverage: float,
        balls: Sequence[tuple[float, float]],
    ) -> Outcome:
        """The floor's radius, with the evidence of its binding target on its ball."""
        slot = floor.slot
        norms = ball.norms[slot].double()
        lo, hi = probe.subject.bounds
        small = VANISHED * float(probe.margin[slot]) / diameter(lo, hi, tuple(probe.centre.shape), probe.norm)
        lipschitz = float(ball.slopes[slot, -1])
        # an extreme of what a subset of the coordinates stands for is no slope that was seen
        largest = max(lipschitz, float(norms.amax())) if probe.coordinates is None else lipschitz
        evidence: dict[str, float | str] = {
            **dict.fromkeys(NUMBERS, math.nan),
            "target": float(probe.targets[slot]),
            "margin": float(probe.margin[slot]),
            "lipschitz": lipschitz,
            "slope": float(ball.slopes[slot, floor.column]),
            "sampling_radius": ball.radius,
            "cap": cap,
            "capped": float(floor.radius >= cap),
            "gradient_norm_median": float(norms.median()),
            "gradient_norm_max": largest,
            "zero_share": float((norms == 0).double().mean()),
            "vanished_share": float((norms <= small).double().mean()),
            "nonfinite_share": float(norms.isinf().double().mean()),
            "distinct_maxima": float(len(set(ball.maxima[slot].tolist()))),
            "maximum": float(norms.amax()),
            "maximum_half": float(norms[: max(1, (len(norms) + 1) // 2)].amax()),
            "targets_covered": float(len(probe.targets)),
            "plateau_scale": probe.scale,
            "plateau_slope": float(scales.plateau.slope[0]),
            "plateau_found": float(scales.plateau.found[0]),
            "levels": float(scales.levels.levels[0]),
            "ramp_share": float(scales.levels.ramp_share[0]),
            "coverage": coverage,
            "fit": "max",
            "fit_reason": "secant slopes are not extrapolated",
            "step_reason": scales.levels.reason[0],
        }
        spectrum = scales.spectrum
        rows = torch.stack(
            [row[0].double().cpu() for row in (spectrum.scales, spectrum.median, spectrum.largest)]
        )
        return Outcome(floor.radius, evidence, rows.float(), tuple(balls))


def assemble(outcomes: Sequence[Outcome], *, like: Tensor, queries: Queries) -> Estimate:
    """Stack outcomes of N inputs into an Estimate on the inputs' device, with what each of them cost."""
    device = like.device
    evidence: dict[str, Tensor | Sequence[str]] = {
        name: torch.tensor([float(o.evidence[name]) for o in outcomes], dtype=torch.float64, device=device)
        for name in NUMBERS
    }
    evidence |= {name: [str(outcome.evidence[name]) for outcome in outcomes] for name in WORDS}
    evidence |= queries.evidence()
    pictures = torch.stack([outcome.spectrum for outcome in outcomes])
    curves = {name: pictures[:, row] for row, name in enumerate(("scales", "spectrum", "spectrum_max"))}
    for column, name in enumerate(("ball_radius", "ball_slope")):
        curves[name] = torch.stack([_padded([ball[column] for ball in o.balls]) for o in outcomes])
    radius = torch.tensor([outcome.radius for outcome in outcomes], dtype=torch.float64, device=device)
    return Estimate(radius=radius, evidence=evidence, curves=curves)


def _padded(values: Sequence[float]) -> Tensor:
    return torch.tensor([*values, *[math.nan] * (MOST_BALLS - len(values))], dtype=torch.float32)


__all__ = ["NUMBERS", "WORDS", "Outcome", "assemble"]
