"""A trap unit: one estimator on planted subjects, whose class change lies at a verified distance (FF205)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from falsefloor.api import Cancelled, Estimate, Estimator, NotApplicable
from falsefloor.engine.arrays import pack_tensor
from falsefloor.engine.context import RunContext, Sink, generators
from falsefloor.engine.contract import check_estimate
from falsefloor.engine.session import Session, Task
from falsefloor.gradients.through import Through
from falsefloor.numerics.margins import predicted
from falsefloor.plugins.loading import make
from falsefloor.store.records import ObservationResult, UnitResult
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.settle import settle
from falsefloor.subjects.trap import Trap, plant

ROLE = "trap"


def run(task: Task, session: Session, sink: Sink) -> UnitResult:
    """What the estimator says of each input's planted subject, as observed facts.

    {"trap": {label: {"radius", "distance", "natural", "slack", "array", "forward", "backward"}}}, or
    {"reason": …} where nothing could be planted or the estimator failed. Inputs not judged have none.
    """
    asked = task.estimator
    estimator: Estimator = make("estimator", asked["use"], asked["params"])
    norm = task.spec["norm"]
    if norm not in estimator.norms:
        return UnitResult(task.key)
    inside = task.prepared.facts["inside"]
    answers = predicted(Guarded(task.subject, rows=session.rows).first(task.inputs)[0], task.labels)
    found = []
    for at, number in enumerate(task.numbers):
        if inside[number] and int(answers[at]) == int(task.labels[at]):
            facts, trap = _one(task, session, sink, estimator, at)
            arrays = {}
            if trap is not None:
                seen = {"distance": trap.distance, "predicted": trap.predicted, "seed": task.spec["seed"]}
                arrays[ROLE] = pack_tensor(task.prepared.own(trap.point), seen)
            found.append(ObservationResult(number, None, {"trap": {asked["label"]: facts}}, arrays))
    return UnitResult(task.key, observations=found)


def planted_at(session: Session, spec: Mapping[str, Any], x: Tensor, label: Tensor) -> Trap | None:
    """The trap of a unit's subject for one input (1, *input): the same one whenever it is asked for."""
    prepared = session.prepared(spec["model"], spec["inputs"])
    stack = [(make("masker", layer["use"], layer["params"]), layer["at"]) for layer in spec["stack"]]
    (drawn,) = generators(x, seed=spec["seed"], norm=f"trap {spec['norm']}")
    subject = session.subject(spec["model"], spec["inputs"], spec["stack"])
    return plant(
        prepared.module, stack, subject, x, label, norm=spec["norm"], generator=drawn, rows=session.rows
    )


def _one(
    task: Task, session: Session, sink: Sink, estimator: Estimator, at: int
) -> tuple[dict[str, Any], Trap | None]:
    x, label = task.inputs[at : at + 1], task.labels[at : at + 1]
    asked, norm = task.estimator, task.spec["norm"]
    trap = planted_at(session, task.spec, x, label)
    if trap is None:
        return {"reason": "no class change could be planted nearer than the subject's own"}, None
    before = trap.subject.forward_queries, trap.subject.backward_queries
    subject: Any = trap.subject
    if asked["gradient"] != "autograd":
        subject = Through(trap.subject, make("gradient", asked["gradient"], {}))
    context = RunContext(generators(x, seed=task.spec["seed"], norm=norm), rows=session.rows, sink=sink)
    try:
        estimate: Estimate = estimator(subject, x.clone(), label, norm=norm, context=context)
        check_estimate(estimate, x, x, label, claim=estimator.claim, name=asked["use"])
    except Cancelled:
        raise
    except NotApplicable as error:
        return {"reason": f"the estimator declines the planted subject: {error}"[:300]}, None
    except Exception as error:
        return {"reason": f"the estimator failed on the planted subject: {error}"[:300]}, None
    radius = float(estimate.radius[0])
    if estimator.claim == "upper_bound" and estimate.witness is not None:
        radius = float(settle(trap.subject, x, label, estimate.witness, norm=norm).radius[0])
    # the unit's own count, beside the estimator's share in the facts
    task.subject.forward_queries += trap.subject.forward_queries
    task.subject.backward_queries += trap.subject.backward_queries
    return {
        "radius": radius,
        "distance": trap.distance,
        "natural": trap.natural,
        "slack": _slack(task),
        "array": ROLE,
        "forward": trap.subject.forward_queries - before[0],
        "backward": trap.subject.backward_queries - before[1],
    }, trap


def _slack(task: Task) -> float:
    """How far the maskers at the input may move a point: by so much an honest estimate may be off."""
    dimension = task.inputs[0].numel()
    share = {"linf": 1.0, "l2": math.sqrt(dimension), "l1": float(dimension)}[task.spec["norm"]]
    total = 0.0
    for layer in task.spec["stack"]:
        if layer["at"] == "input":
            displacement = getattr(make("masker", layer["use"], layer["params"]), "displacement", None)
            moved = displacement() if callable(displacement) else None
            total += 0.0 if moved is None else share * float(moved)
    return total
