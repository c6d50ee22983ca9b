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
from falsefloor.subjects.counterexample import Sighting, nearest_counterexample
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.precision import outputs, precision_ladder
from falsefloor.subjects.scale_agreement import Agreement, scale_agreement
from falsefloor.subjects.secant_pairs import SecantPairs, secant_pairs
from falsefloor.subjects.site import SCALES, Site
from falsefloor.subjects.stability import stability
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
    agreements = [scale_agreement(site, radius, sources=sources) for radius in _radii(site, pairs)]
    sightings = [
        Sighting.of(site, pairs.points, pairs.logits, pairs.distance),
        *(Sighting.of(site, a.points, a.logits, site.away(a.points)) for a in agreements),
    ]
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
    _add_secants(site, pairs, seen)
    _add_nonfinite(site, pairs, agreements, seen)
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
        return True
    return gradient is not None


def _add_secants(site: Site, pairs: SecantPairs, seen: list[Observation]) -> None:
    """Per scale, the largest slope a target, and the pair that contradicts most where one must bind."""
    for one in seen:
        one.facts["secants"] = []
    for scale in SCALES:
        radius = scale * site.diameter
        ratio, which = pairs.best(radius)
        for i, one in enumerate(seen):
            targets = site.targets[i]
            slopes = ratio[i, targets]
            binding = int(targets[(site.margins[i, targets] / slopes.clamp(min=1e-300)).argmin()])
            pair = int(which[i, binding])
            role = f"pair-{scale:g}"
            one.facts["secants"].append(
                {
                    "radius": radius,
                    "ratios": {str(int(t)): float(s) for t, s in zip(targets, slopes, strict=True)},
                    "target": binding,
                    "ratio": float(ratio[i, binding]),
                    "distance": float(pairs.distance[i, pair]),
                    "margins": [float(site.margins[i, binding]), float(pairs.margins[i, pair, binding])],
                    "array": role,
                }
            )
            one.arrays[role] = torch.stack([site.inputs[i], pairs.points[i, pair]])


def _add_nonfinite(
    site: Site, pairs: SecantPairs, agreements: list[Agreement], seen: list[Observation]
) -> None:
    """The nearest point whose logits are not finite, or on which the subject raised: asked again, alone."""
    logits = torch.cat([pairs.logits, *(a.logits for a in agreements)], 1)
    bad = ~logits.isfinite().all(2)
    if not bool(bad.any()):
        return
    points = torch.cat([pairs.points, *(a.points for a in agreements)], 1)
    nearest = Sighting(points, bad, site.away(points)).nearest(1)
    guard = Guarded(site.subject, rows=site.rows)
    for i, one in enumerate(seen):
        if not bool(nearest.flipped[i, 0]):
            continue
        again, errors = guard.first(nearest.points[i])
        fact: dict[str, Any] = {
            "distance": float(nearest.distance[i, 0]),
            "share": float(bad[i].double().mean()),
            "array": "nonfinite",
        }
        if errors[0] is not None:
            one.facts["raises"] = {**fact, "message": errors[0]}
        elif not bool(again.isfinite().all()):
            one.facts["nonfinite"] = fact
        else:
            continue
        one.arrays["nonfinite"] = nearest.points[i, 0].clone()


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
