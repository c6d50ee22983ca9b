"""The inputs asked again: alone and in company, after everything else, and in float64.

A subject that answers the same question twice in two ways has no distance to be estimated. Every function on
a digital computer is a staircase (the note's §4): what float64 would answer, and subnormal gradients, show
where its steps are wide enough to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.settle import in_double
from falsefloor.subjects.subject import ModelSubject

REPEATS = 3
MOVED = 1e-4
"""Relative to the largest logit: less is another order of sums."""
ROUNDINGS = 8.0
"""Units of eps that the same may take in half precision, where 1e-4 is less than one."""


def stability(site: Site) -> list[dict[str, Any]]:
    """Facts an input: ``repeats`` and ``batch``, each with the largest shift of a logit, relative to the
    largest logit, and whether the predicted class changed. A batch of one against a filled batch, where half
    precision's order of sums is no shift.
    """
    again = [site.guard.first(site.inputs)[0] for _ in range(REPEATS)]
    alone = site.guard.regrouped(site.inputs)
    rounding = reordered(site.subject) if _coarse(site) else 0.0
    facts: list[dict[str, Any]] = []
    for i in range(len(site.inputs)):
        first = site.logits[i]
        repeats = [shift(first, other[i]) for other in again]
        mixed, label = shift(first, alone[i])
        facts.append(
            {
                "repeats": {
                    "shift": max(moved for moved, _ in repeats),
                    "label": any(label for _, label in repeats),
                    "count": REPEATS,
                },
                "batch": {"shift": mixed if mixed > rounding else 0.0, "label": label},
            }
        )
    return facts


def reordered(subject: ModelSubject) -> float:
    """How far logits move, relative to the largest, where sums are taken in another order."""
    kind = torch.finfo(subject.resolution)
    return MOVED if kind.bits > 16 else ROUNDINGS * kind.eps


def ask_again(site: Site, facts: Sequence[dict[str, Any]]) -> None:
    """One repeat more, entered into ``facts``: asked after everything else was measured, it meets a subject
    whose answers change with the number of calls."""
    again = site.guard.first(site.inputs)[0]
    for i, fact in enumerate(facts):
        moved, label = shift(site.logits[i], again[i])
        repeats = fact["repeats"]
        repeats["shift"] = max(repeats["shift"], moved)
        repeats["label"] = repeats["label"] or label
        repeats["count"] += 1


def shift(first: Tensor, other: Tensor) -> tuple[float, bool]:
    """How far logits (K,) moved, relative to the largest, and whether the class on top is another."""
    one, two = first.double(), other.double()
    if bool((one == two).all()):
        return 0.0, False
    scale = float(one.abs().max())
    moved = float((one - two).abs().max()) / scale if scale > 0 else float("inf")
    return (moved if moved == moved else float("inf")), bool(one.argmax() != two.argmax())


def precision_ladder(site: Site) -> list[dict[str, object]]:
    """Facts an input: relative shifts of the runner-up's margin and of its gradient's norm in float64; of a
    half-precision model beyond what its own format rounds.

    ``reason`` instead, where the model cannot be run in float64. ``subnormal``: the share of gradient entries
    below the normal range.
    """
    here = site.slopes(site.inputs.unsqueeze(1), against=site.runner_up[:, None]).squeeze(1)
    tiny = torch.finfo(here.dtype).tiny
    flat = here.flatten(1)
    subnormal = ((flat != 0) & (flat.abs() < tiny)).double().mean(1)
    facts: list[dict[str, object]] = [{"subnormal": float(share)} for share in subnormal]
    if site.subject.exact:
        return [fact | {"reason": "the model works in float64"} for fact in facts]
    try:
        wide = _in_double(site)
        margin = (wide.of_runner_up(wide.logits[:, None])).squeeze(1)
        slope = wide.slopes(wide.inputs.unsqueeze(1), against=site.runner_up[:, None]).squeeze(1)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = f"the model does not run in float64 ({type(error).__name__}: {error})"[:300]
        return [fact | {"reason": reason} for fact in facts]
    before = site.of_runner_up(site.logits[:, None]).squeeze(1)
    eps = _coarse(site)
    moved = ((margin - before).abs() - eps * site.logits.double().abs().amax(1)).clamp(min=0) / margin.abs()
    size, wide_size = (vector_norm(g.double(), dual(site.norm)) for g in (here, slope))
    turned = ((size - wide_size).abs() / torch.maximum(size, wide_size) - eps).clamp(min=0)
    for i, fact in enumerate(facts):
        fact["margin_shift"] = _ratio(moved[i])
        fact["gradient_shift"] = _ratio(turned[i])
    return facts


def _coarse(site: Site) -> float:
    """One unit of a half-precision model's own format, which estimates take off their margins too: trained
    bfloat16 nets have another margin in float64 by at most 0.4 of one. Nobody knows of float32 that it
    rounds: there a margin that cancels is what is looked for."""
    kind = torch.finfo(site.subject.resolution)
    return 0.0 if kind.bits > 16 else kind.eps


def _in_double(site: Site) -> Site:
    subject = in_double(site.subject)
    inputs = site.inputs.double()
    with torch.no_grad():
        logits = subject(inputs)
    return replace(site, subject=subject, inputs=inputs, logits=logits)


def _ratio(value: Tensor) -> float:
    """NaN (zero over zero: nothing moved from nothing) as 0."""
    number = float(value)
    return number if number == number else 0.0
