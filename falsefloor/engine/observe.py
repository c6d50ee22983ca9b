"""An observe unit: what is stored of a subject at some inputs before any estimate is made there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from falsefloor.api import Facts, Norm, Record
from falsefloor.checks.gradient import scales_disagree, vanished
from falsefloor.engine.arrays import pack_tensor
from falsefloor.engine.context import Sink, generators
from falsefloor.engine.session import Session, Task
from falsefloor.store.records import ObservationResult, UnitResult
from falsefloor.subjects.locate import Located, locate
from falsefloor.subjects.observe import Observation, observe
from falsefloor.subjects.subject import ModelSubject

SHARE = 0.2
"""Of the domain's diameter: how far around an input to look where no counterexample says what is near."""
LEVELS = 255
_EIGHT_BITS = re.compile(
    r"\b8[- ]?bits?\b|\buint8\b|(?<!\d)1/255\b|\b255ths\b|\bgr[ae]y levels?\b", re.IGNORECASE
)


def run(task: Task, session: Session, sink: Sink) -> UnitResult:
    """Observe the inputs of a unit; those outside the domain are told apart and not looked at."""
    del sink  # it takes about as long as an estimate's first step
    facts = task.prepared.facts
    inside = [number for number in task.numbers if facts["inside"][number]]
    seen = dict(zip(inside, _look(task, session, inside), strict=True)) if inside else {}
    outside = {"outside": True}
    return UnitResult(
        task.key,
        observations=[
            _observed(task, number, seen[number])
            if number in seen
            else ObservationResult(number, None, outside)
            for number in task.numbers
        ],
    )


def _look(task: Task, session: Session, inside: Sequence[int]) -> list[Observation]:
    """`observe`, with smaller forwards on out-of-memory."""
    spec, norm = task.spec, task.spec["norm"]
    plain = session.subject(spec["model"], spec["inputs"], []) if spec["stack"] else None
    inputs, labels = task.at(inside)
    facts = task.prepared.facts
    # the study's and not the unit's: what is seen of an input does not depend on how inputs are cut
    used = torch.tensor(facts["inside"], device=inputs.device)
    others = task.prepared.inputs[used], task.prepared.labels[used]

    def look() -> list[Observation]:
        seeds = generators(inputs, seed=spec["seed"], norm=f"observe {norm}")
        return observe(
            task.subject, plain, inputs, labels, norm=norm, generators=seeds, others=others, rows=session.rows
        )

    return session.with_room(look)


def _observed(task: Task, number: int, seen: Observation) -> ObservationResult:
    """What was seen at one input, with what its model is said to be and what hides its gradient."""
    known, spec = task.prepared.facts, task.spec
    (point,), (label,) = task.at([number])
    facts = dict(seen.facts)
    if known["training"]:
        facts["training"] = True
    if (grey := grey_level(known["units"], known["bounds"])) is not None:
        facts["grey_level"] = grey
    facts |= located_facts(task.subject, point, int(label), facts, norm=spec["norm"], seed=spec["seed"])
    own = task.prepared.own
    arrays = {role: pack_tensor(own(points), _described(facts, role)) for role, points in seen.arrays.items()}
    arrays["input"] = pack_tensor(own(point), {"distance": 0.0})
    return ObservationResult(number, facts.get("agreement"), facts, arrays)


def _described(facts: Mapping[str, Any], role: str) -> dict[str, Any]:
    described = facts.get(role)
    if not isinstance(described, Mapping):
        return {}
    return {key: described[key] for key in ("distance", "predicted") if key in described}


def grey_level(units: str, bounds: Sequence[float]) -> float | None:
    """One level in the inputs' own units, the same distance in every norm; None where the units differ.

    units: a model's words for one unit of its input, such as "pixel, 8-bit grey levels over 255". bounds: the
    lowest and the highest value of any coordinate. A claim below one grey level says nothing about any image
    that can be stored (FF701).
    """
    low, high = bounds
    if not _EIGHT_BITS.search(units) or not high > low:
        return None
    return (high - low) / LEVELS


def doubtful(facts: Mapping[str, Any], *, norm: Norm) -> bool:
    """Whether autograd's gradient was seen to be cut, to vanish or to disagree with the function."""
    if "gradients" not in facts:
        return False
    radius = reach(facts)
    judged = Record("", "lower_estimate", "autograd", radius, {"sampling_radius": radius})
    seen = Facts(norm, judged, (), facts)
    return facts.get("connected") is False or bool(vanished(seen)) or bool(scales_disagree(seen))


def reach(facts: Mapping[str, Any]) -> float:
    """The distance of the nearest counterexample that was seen, else a share of the domain."""
    found = facts.get("counterexample")
    distance = found.get("distance") if isinstance(found, Mapping) else None
    return (
        float(distance) if isinstance(distance, float) and distance > 0 else SHARE * float(facts["diameter"])
    )


def located_facts(
    subject: ModelSubject, point: Tensor, label: int, facts: Mapping[str, Any], *, norm: Norm, seed: int
) -> dict[str, Any]:
    """{"located": …} of one input (*input): what hides its gradient, or that nothing was found to.

    Empty where nothing was found and nothing is wrong, and where the model raises while it is watched.
    """
    if "gradients" not in facts:
        return {}
    (drawn,) = generators(point.unsqueeze(0), seed=seed, norm=f"locate {norm}")
    try:
        found = locate(subject, point, label, norm=norm, radius=reach(facts), generator=drawn)
    except Exception:
        return {}  # some code cannot be watched; the observation stands without it
    wrong = doubtful(facts, norm=norm)
    # what is uncertain is worth a word only where something is wrong
    kept = [one for one in found if one.certain or wrong]
    return {"located": as_fact(kept)} if kept or wrong else {}


def as_fact(found: Sequence[Located]) -> dict[str, Any]:
    """The gravest as plain values, with its words; ``others``: the words of the rest."""
    if not found:
        return {"operation": None, "certain": False, "words": "not located", "others": []}
    return {**asdict(found[0]), "words": found[0].words, "others": [one.words for one in found[1:]]}
