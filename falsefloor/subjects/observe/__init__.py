"""Observation: what is measured of a subject once, before any estimator, for the checks to read.

One pass per subject, norm and input, shared by all estimators. It trusts no gradient: what it holds against
a claim are values of the function itself. The facts are plain JSON values; arrays are named by their role in
the facts. A subject that raises, answers NaN, changes its mind or is slow on one input costs that input only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Generator, Tensor

from falsefloor.api import Norm
from falsefloor.jsonable import finite
from falsefloor.numerics.margins import predicted
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.observe.stages import STAGES, Observation, Seen
from falsefloor.subjects.subject import ModelSubject

ELEMENTS = 2**25
"""Numbers held at once for the points of a block of inputs: 128 MB in float32."""
POINTS = 500
"""Points an input of the largest stage, roughly."""


def observe(
    subject: ModelSubject,
    plain: ModelSubject | None,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: Norm,
    generators: Sequence[Generator],
    others: tuple[Tensor, Tensor] | None = None,
    rows: int = 4096,
) -> list[Observation]:
    """Observe ``subject`` at inputs (N, *input), inside the domain, with labels (N,).

    plain: the unmasked subject, None where the subject is unmasked itself. others: further inputs (R, *input)
    that the subject is used with, and their classes (R,). rows: how many points one forward may take. For 64
    coordinates and 10 classes it takes about 3,500 forwards and 520 backwards of one margin an input.

    Raises `DomainError` where the subject returns anything else than (N, K) logits, and torch's out-of-memory
    error; nothing else.
    """
    size = max(inputs[0].numel(), subject.classes) if len(inputs) else 1
    block = max(1, ELEMENTS // (POINTS * size))
    observations: list[Observation] = []
    for start in range(0, len(inputs), block):
        part = slice(start, start + block)
        points = inputs[part].detach()
        logits, errors = Guarded(subject, rows=rows).first(points)
        asked = Site(subject, points, labels[part], logits, norm, generators[part], rows)
        found = _first_facts(asked, plain, errors)
        usable = [i for i, one in enumerate(found) if one.facts.get("misclassified") is False]
        if usable and subject.classes > 1:
            beside = (inputs[:0], labels[:0]) if others is None else others
            seen = Seen(asked.at(usable), [found[i] for i in usable], *beside)
            for stage in STAGES:
                stage(seen)
        observations += [Observation(finite(one.facts), one.arrays) for one in found]
    return observations


def _first_facts(site: Site, plain: ModelSubject | None, errors: Sequence[str | None]) -> list[Observation]:
    """What the answers at the inputs themselves say; ``errors`` are what the subject raised there."""
    subject, logits, labels = site.subject, site.logits, site.labels
    answers = predicted(logits, labels)
    unmasked = None if plain is None else Guarded(plain, rows=site.rows).first(site.inputs)[0].argmax(1)
    found = []
    for i, error in enumerate(errors):
        facts: dict[str, Any] = {
            "label": int(labels[i]),
            "classes": subject.classes,
            "dtype": str(subject.dtype).removeprefix("torch."),
            "device": subject.device.type,
            "diameter": site.diameter,
            "queries": {"forward": 1, "backward": 0},
        }
        if error is not None:
            facts["error"] = error
        elif not bool(logits[i].isfinite().all()):
            facts["nonfinite"] = {"distance": 0.0, "share": 1.0}
        else:
            answer, label = int(answers[i]), int(labels[i])
            facts["predicted"] = answer
            facts["misclassified"] = answer != label
            facts["tied"] = answer != label and bool(logits[i, answer] == logits[i, label])
            facts["agreement"] = unmasked is None or int(unmasked[i]) == int(logits[i].argmax())
        found.append(Observation(facts))
    return found


__all__ = ["Observation", "observe"]
