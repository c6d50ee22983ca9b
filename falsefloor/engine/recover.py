"""Which gradient, input by input, says what the function does: repaired ones are chosen by evidence.

A mask may be taken off (straight-through) or stepped over (coarse secants). Either is a guess until it
agrees with the function's own secants at the scales that a claim is about, by the very rule that raises FF102
(Uesato et al. 2018; Athalye, Carlini & Wagner 2018). Where no guess agrees, nothing is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from falsefloor.api import GradientSource, Norm, NotApplicable
from falsefloor.engine.context import generators
from falsefloor.engine.session import declined
from falsefloor.estimators.finite_difference.scale import Scales, choose_scale, domain_width
from falsefloor.estimators.slopes import View
from falsefloor.gradients.secant import Secant
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.numerics import agreement
from falsefloor.plugins.loading import make
from falsefloor.subjects.observe.agreement import scale_agreement
from falsefloor.subjects.observe.counterexample import nearest_by_secants
from falsefloor.subjects.observe.site import SCALES, Site
from falsefloor.subjects.subject import ModelSubject

AUTO, RAW = "auto", "autograd"
NEAR = 8.0
"""Scales farther than this factor from where the class changes say nothing about a claim."""
COORDINATES = 256
"""Coordinates that the scale spectrum steps at most."""

REFUSED = "no gradient source agrees with the function's own secants"
IDLE = "nothing to recover: no operation hides the gradient, and it agrees with the function's own secants"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """One input's gradient. source: None where refused, and ``why`` says how each guess failed.

    rows: how the chosen gradient agreed, radius by radius, as observations store it. evidence: in words and
    numbers, for the estimate. idle: it is autograd's own wherever it was looked at.
    """

    source: GradientSource | None
    why: str = ""
    rows: Sequence[Row] = ()
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    idle: bool = False


def choose(
    subject: ModelSubject, gradient: str, inputs: Tensor, labels: Tensor, *, norm: Norm, seed: int, rows: int
) -> list[Choice]:
    """The gradient source for each of inputs (N, *input) with labels (N,), and how it agrees there.

    A source that is named is taken as asked. ``auto`` takes the first that agrees with the subject's secants:
    in order straight-through, then secants with a step from the plateau of the scale spectrum; none may. The
    inputs are correctly classified and inside the domain. An input's choice depends on itself and ``seed``
    alone.
    """
    drawn = generators(inputs, seed=seed, norm=f"gradient {norm}")
    sites = [
        Site.of(subject, inputs[i : i + 1], labels[i : i + 1], norm, drawn[i], rows)
        for i in range(len(inputs))
    ]
    if gradient == AUTO:
        return [_guarded(site) for site in sites]
    source = make("gradient", gradient, {})
    return [_named(site, source, name=gradient) for site in sites]


def _named(site: Site, source: GradientSource, *, name: str) -> Choice:
    """A source that declines a subject, or the neighbourhood of one input, costs those inputs only."""
    try:
        return Choice(source, rows=_agreement(site, source(site.subject), _flip(site), name=name)[0])
    except NotApplicable as error:
        return Choice(None, why=declined(error, who=f"the gradient source {name}"))


def _guarded(site: Site) -> Choice:
    """A subject that cannot be measured around one input costs that input only."""
    try:
        return _first_that_agrees(site)
    except Exception as error:
        return Choice(None, why=f"{REFUSED}: around this input it raises {type(error).__name__}: {error}")


def _first_that_agrees(site: Site) -> Choice:
    flip = _flip(site)
    failures = []
    scales: Scales | None = None
    for name in ("straight-through", "secant"):
        source: GradientSource
        if name == "straight-through":
            source = StraightThrough()
        else:
            scales = _scales(site)
            source = Secant(h=_share_of_width(site, scales))
        table, idle = _agreement(site, source(site.subject), flip, name=AUTO)
        failure = disagreement(table)
        if failure is None:
            scales = scales or _scales(site)
            told = _evidence(name, source, table, flip, scales)
            return Choice(source, rows=table, evidence=told, idle=idle)
        failures.append(f"{name}: {failure}")
    return Choice(None, why=f"{REFUSED}: {'; '.join(failures)}")


def disagreement(rows: Sequence[Row]) -> str | None:
    """What is wrong with a gradient at the first of its rows' radii, in words; None where it agrees there."""
    if not any(step["ratio"] is not None for row in rows for step in row["steps"]):
        return "nothing could be measured"
    radius = rows[0]["radius"]
    # coarse half steps first: they are the scales that a perturbation lives on
    for step in sorted(rows[0]["steps"], key=lambda step: -step["h"]):
        if step["ratio"] is not None:
            what = agreement.disagreement(step["ratio"], step["correlation"], share=step["h"])
            if what is not None:
                return f"over steps of {step['h'] * radius:.3g} the gradient {what}"
    return None


def _flip(site: Site) -> float:
    """The distance at which the function was seen to change class; a fifth of the domain where it was not."""
    found = nearest_by_secants(site)
    return float(found.radius[0]) if bool(found.ok[0]) else 0.2 * site.diameter


def _agreement(
    site: Site, function: Callable[[Tensor], Tensor], flip: float, *, name: str
) -> tuple[list[Row], bool]:
    """FF102's pairs at the radii that a claim may be about, without the fine steps: those see the mask's own,
    which a repair leaves out on purpose. And whether autograd's gradients give the same numbers."""
    radii = [flip, *(s * site.diameter for s in SCALES if 1 / NEAR <= s * site.diameter / flip <= NEAR)]
    table: list[Row] = []
    idle = True
    for radius in radii:
        found = scale_agreement(
            site,
            torch.full((1,), radius, dtype=torch.float64, device=site.inputs.device),
            sources={name: function, RAW: site.subject},
        )
        facts = dict(found.facts[0][name])
        idle = idle and facts == found.facts[0][RAW]
        facts["steps"] = [step for step in cast("list[Row]", facts["steps"]) if step["h"] >= agreement.FINE]
        table.append({"radius": radius, **facts})
    return table, idle


def _scales(site: Site) -> Scales:
    view = View.of(
        site.subject,
        site.inputs[0],
        int(site.labels[0]),
        site.margins[0].to(torch.float32),
        norm=cast("Norm", site.norm),
        rows=site.rows,
    )
    return choose_scale(view, cap=site.diameter, auto=True, most=COORDINATES, generator=site.generators[0])


def _share_of_width(site: Site, scales: Scales) -> float:
    lo, hi = site.subject.bounds
    width = domain_width(lo, hi, tuple(site.inputs.shape[1:]), otherwise=site.diameter)
    return min(0.5, max(1e-6, scales.probe.scale / width))


def _evidence(
    name: str, source: GradientSource, rows: Sequence[Row], flip: float, scales: Scales
) -> dict[str, float | str]:
    """How well it agreed where the class changes: the ratio farthest from 1, the lowest correlation."""
    steps = [step for step in rows[0]["steps"] if step["ratio"] is not None]
    ratio = max(
        (float(s["ratio"]) for s in steps), key=lambda r: abs(math.log(max(r, 1e-30))), default=math.nan
    )
    levels = float(scales.levels.levels[0])
    return {
        "gradient_source": name,
        "gradient_step": source.h if isinstance(source, Secant) else 0.0,
        "gradient_ratio": ratio,
        "gradient_correlation": min((float(s["correlation"]) for s in steps), default=math.nan),
        "gradient_radius": flip,
        "levels": levels,
        "ramp_share": float(scales.levels.ramp_share[0]),
        "step_reason": scales.levels.reason[0],
    }
