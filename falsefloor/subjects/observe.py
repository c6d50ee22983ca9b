"""Observation: what is measured of a subject once, before any estimator, for the checks to read.

One pass per subject, norm and input, shared by all estimators. It trusts no gradient: what it holds against
a claim are values of the function itself. The facts are plain JSON values; arrays are named by their role in
the facts. A subject that raises, answers NaN, changes its mind or is slow on one input costs that input only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from falsefloor.api import Norm
from falsefloor.numerics.balls import diameter
from falsefloor.numerics.margins import predicted
from falsefloor.subjects.counterexample import CANDIDATES, Sighting, join, nearest_counterexample
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.nonfinite import nonfinite_facts, not_finite
from falsefloor.subjects.precision import outputs, precision_ladder
from falsefloor.subjects.scale_agreement import scale_agreement
from falsefloor.subjects.secant_pairs import SecantPairs, secant_facts, secant_pairs
from falsefloor.subjects.site import SCALES, Site
from falsefloor.subjects.stability import ask_again, stability
from falsefloor.subjects.subject import ModelSubject

ELEMENTS = 2**25
"""Numbers held at once for the points of a block of inputs: 128 MB in float32."""
POINTS = 500
"""Points an input of the largest stage, roughly."""

Source = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Observation:
    """Of one input. facts: JSON values, infinities and NaN as words; arrays: by the role that facts name."""

    facts: dict[str, Any]
    arrays: dict[str, Tensor] = field(default_factory=dict)


def observe(
    subject: ModelSubject,
    plain: ModelSubject | None,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: Norm,
    generators: Sequence[Generator],
    sources: Mapping[str, Source] | None = None,
    rows: int = 4096,
) -> list[Observation]:
    """Observe ``subject`` at inputs (N, *input), inside the domain, with labels (N,).

    plain: the unmasked subject, None where the subject is unmasked itself. sources: gradient sources by name
    besides autograd, each a function from inputs to logits, whose gradients are held against the function
    too. rows: how many points one forward may take. For 64 coordinates, 10 classes and no further sources it
    takes about 3,000 forwards and 440 backwards of one margin an input.

    Raises `DomainError` where the subject returns anything else than (N, K) logits, and torch's out-of-memory
    error; nothing else.
    """
    size = max(inputs[0].numel(), subject.classes) if len(inputs) else 1
    block = max(1, ELEMENTS // (POINTS * size))
    observations: list[Observation] = []
    for start in range(0, len(inputs), block):
        part = slice(start, start + block)
        observations += _block(
            subject,
            plain,
            inputs[part].detach(),
            labels[part],
            norm=norm,
            generators=generators[part],
            sources={"autograd": subject, **(sources or {})},
            rows=rows,
        )
    return observations


def _block(
    subject: ModelSubject,
    plain: ModelSubject | None,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: Norm,
    generators: Sequence[Generator],
    sources: Mapping[str, Source],
    rows: int,
) -> list[Observation]:
    logits, errors = Guarded(subject, rows=rows).first(inputs)
    answers = predicted(logits, labels)
    unmasked = None if plain is None else Guarded(plain, rows=rows).first(inputs)[0].argmax(1)
    found = []
    for i, error in enumerate(errors):
        facts: dict[str, Any] = {
            "label": int(labels[i]),
            "classes": subject.classes,
            "dtype": str(subject.dtype).removeprefix("torch."),
            "device": subject.device.type,
            "diameter": diameter(*subject.bounds, tuple(inputs.shape[1:]), norm),
            "queries": {"forward": 1, "backward": 0},
        }
        if error is not None:
            facts["error"] = error
        elif not bool(logits[i].isfinite().all()):
            facts["nonfinite"] = {"distance": 0.0, "share": 1.0}
        else:
            facts["predicted"] = int(answers[i])
            facts["misclassified"] = int(answers[i]) != int(labels[i])
            facts["tied"] = facts["misclassified"] and bool(
                logits[i, int(answers[i])] == logits[i, int(labels[i])]
            )
            facts["agreement"] = unmasked is None or int(unmasked[i]) == int(logits[i].argmax())
        found.append(Observation(facts))
    usable = [i for i, seen in enumerate(found) if seen.facts.get("misclassified") is False]
    if not usable or subject.classes < 2:
        return [Observation(_json(seen.facts), seen.arrays) for seen in found]
    index = torch.tensor(usable, device=inputs.device)
    site = Site(
        subject=subject,
        inputs=inputs[index],
        labels=labels[index],
        logits=logits[index],
        norm=norm,
        generators=[generators[i] for i in usable],
        rows=rows,
    )
    for i, more in zip(usable, _measure(site, sources), strict=True):
        found[i].facts.update(more.facts)
        found[i].arrays.update(more.arrays)
    return [Observation(_json(seen.facts), seen.arrays) for seen in found]


def _measure(site: Site, sources: Mapping[str, Source]) -> list[Observation]:
    seen = [Observation(facts) for facts in stability(site)]
    connected = _connected(site)
    pairs = secant_pairs(site)
    sightings = [Sighting.of(site, pairs.points, pairs.logits, pairs.distance).nearest(CANDIDATES)]
    broken = [not_finite(pairs.points, pairs.logits, pairs.distance)]
    agreements = []
    for radius in _radii(site, pairs):
        agreement = scale_agreement(site, radius, sources=sources)
        points, away = agreement.points, site.away(agreement.points)
        sightings.append(Sighting.of(site, points, agreement.logits, away).nearest(CANDIDATES))
        broken.append(not_finite(points, agreement.logits, away))
        agreements.append(agreement.without_points())
    settled = nearest_counterexample(site, sightings)
    logits = torch.cat([pairs.logits, *(a.logits for a in agreements)], 1)
    ranges, ladder = outputs(logits), precision_ladder(site)
    for i, one in enumerate(seen):
        one.facts.update(
            {
                "margin": float(site.margins[i].min()),
                "runner_up": int(site.runner_up[i]),
                "connected": connected,
                "outputs": ranges[i],
                "precision": ladder[i],
                "gradients": {
                    name: [{"radius": float(a.radius[i]), **a.facts[i][name]} for a in agreements]
                    for name in sources
                },
                "counterexample": None,
            }
        )
        if bool(settled.ok[i]):
            one.facts["counterexample"] = {
                "distance": float(settled.radius[i]),
                "predicted": int(settled.predicted[i]),
                "moved": float(settled.moved[i]),
                "array": "counterexample",
            }
            one.arrays["counterexample"] = settled.points[i].clone()
    for one, (table, ends) in zip(seen, secant_facts(site, pairs), strict=True):
        one.facts["secants"] = table
        one.arrays.update(ends)
    for i, (name, fact, point) in nonfinite_facts(site, join(broken), logits).items():
        seen[i].facts[name] = fact
        seen[i].arrays[fact["array"]] = point
    ask_again(site, [one.facts for one in seen])
    count = len(seen)
    for i, one in enumerate(seen):
        # every stage asks the same number of rows of each input, except settling, which counts its own
        forward = 1 + site.guard.forwards // count + int(settled.queries[i])
        one.facts["queries"] = {"forward": forward, "backward": site.guard.backwards // count}
    return seen


def _radii(site: Site, pairs: SecantPairs) -> list[Tensor]:
    """The common scales and, an input, the distance at which a secant first changed class."""
    flipped = torch.where(pairs.margins.amin(2) < 0, pairs.distance, torch.inf).amin(1)
    common = [torch.full_like(flipped, scale * site.diameter) for scale in SCALES]
    # between the two widest scales where nothing changed class
    return [*common, torch.where(flipped.isfinite(), flipped, 0.2 * site.diameter)]


def _connected(site: Site) -> bool:
    """Whether a gradient path leads from the inputs to the logits; True where that cannot be told."""
    leaf = site.inputs[:1].clone().requires_grad_(True)
    site.guard.forwards += len(site.inputs)
    try:
        with torch.enable_grad():
            logits = site.subject.module(leaf)
            if not logits.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(logits.sum(), leaf, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # a model that answers as soon as nothing is recorded takes no gradient
        return bool(site.guard.alone(site.inputs[:1]).isnan().all())
    return gradient is not None


def _json(value: Any) -> Any:
    """The same value with infinities and NaN as the words "inf", "-inf" and "nan"."""
    if isinstance(value, dict):
        return {key: _json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


__all__ = ["Observation", "observe"]
