"""Follow-up units: an estimator on planted subjects, with more samples, or its attack asked from nearby.

Trap: the class change of a planted subject lies at a verified distance (FF205). Resample: more samples, as
facts for the checks that asked for it. Closer: where a ceiling is loose, or hardly above a floor that is
held, walks start at the nearest known point, around it, and on the shell of that floor, which they may prove
wrong; nothing is estimated then, and whatever nearer point the subject answers otherwise at is settled,
stored and held against every claim there as all others are (`falsefloor.engine.unit`).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from falsefloor.api import Cancelled, Estimate, Estimator, Norm, NotApplicable
from falsefloor.engine import estimate
from falsefloor.engine.arrays import pack_tensor, unpack_tensor
from falsefloor.engine.context import RunContext, Sink, generators
from falsefloor.engine.contract import check_estimate
from falsefloor.engine.session import Session, Task
from falsefloor.estimators.attack import again
from falsefloor.evidence import NAMES
from falsefloor.gradients.through import Through
from falsefloor.numerics.balls import directions, fold, wide
from falsefloor.numerics.margins import predicted
from falsefloor.observed import MoreSamples
from falsefloor.plugins.loading import make
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.settle import settle
from falsefloor.subjects.trap import Trap, plant

ROLE = "trap"


def run_trap(task: Task, session: Session, sink: Sink) -> UnitResult:
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


KEPT = tuple(name for name in NAMES if name in MoreSamples.__dataclass_fields__)
"""Evidence of the estimate with more samples that is stored beside the first one's."""


def run_resample(task: Task, session: Session, sink: Sink) -> UnitResult:
    """The estimates with more samples, as facts beside the first ones and never in their place."""
    estimates = estimate.run(task, session, sink).estimates
    return UnitResult(task.key, observations=resampled_facts(task, estimates))


def resampled_facts(task: Task, rows: Iterable[EstimateResult]) -> list[ObservationResult]:
    """What estimates with more samples say, as observed facts.

    {"resampled": {label: {"times", "samples", "dimension", "radius", "forward", "backward", …KEPT}}}, where
    samples is the number of random points a ball that the first estimate took: its ``samples`` field, times
    its ``batches`` field where it has one. {"reason": …} where the estimator failed.
    """
    asked = task.estimator
    batches = asked["params"].get("batches")
    known = {
        "times": asked["times"],
        "samples": asked["params"]["samples"]
        // asked["times"]
        * (batches if type(batches) is int and batches > 0 else 1),
        "dimension": task.inputs[0].numel(),
    }
    found = []
    for row in rows:
        facts: dict[str, Any] = {"reason": f"{row.status}: {row.error}"[:300]}
        if row.status == "ok":
            kept = {name: row.evidence[name] for name in KEPT if name in row.evidence}
            facts = {**known, **kept, "radius": row.radius, "forward": row.forward, "backward": row.backward}
        found.append(ObservationResult(row.input, None, {"resampled": {asked["label"]: facts}}))
    return found


SHELL, NEAR = 16, 8
"""Starts of an input on the floor's shell, and at and around the known point."""
APART = 0.05
"""How far around it, as a share of its distance."""


def run_closer(task: Task, session: Session, sink: Sink) -> UnitResult:
    """{"closer": {label: {"radius", "forward", "backward"}}} of each input."""
    asked, norm = task.estimator, task.spec["norm"]
    label, steps = asked["label"], asked["params"]["steps"]
    subject, inputs = task.subject, task.inputs

    def look() -> tuple[Tensor, dict[str, int]]:
        drawn = generators(inputs, seed=task.spec["seed"], norm=f"closer {norm}")
        before = subject.forward_queries, subject.backward_queries
        context = RunContext(drawn, rows=session.rows, sink=sink)
        starts, balls = _starts(task, drawn, norm)
        radius = again(subject, inputs, task.labels, starts, balls, steps=steps, norm=norm, context=context)
        spent = subject.forward_queries - before[0], subject.backward_queries - before[1]
        return radius, dict(zip(("forward", "backward"), (n // len(inputs) for n in spent), strict=True))

    radius, each = session.with_room(look)
    found = [
        ObservationResult(number, None, {"closer": {label: {"radius": float(reached), **each}}})
        for number, reached in zip(task.numbers, radius, strict=True)
    ]
    return UnitResult(task.key, observations=found)


def _starts(task: Task, drawn: list[torch.Generator], norm: Norm) -> tuple[Tensor, Tensor]:
    """Starts (N, M, *input), and for each (N, M) the radius of the ball that it is to stay in."""
    lo, hi = task.subject.bounds
    first, asked = task.spec["chunk"][0], task.estimator
    starts, balls = [], []
    for number, x, generator in zip(task.numbers, task.inputs, drawn, strict=True):
        known, floor = asked["known"][number - first], asked["floor"][number - first]
        ways = directions(tuple(x.shape), norm=norm, count=SHELL + NEAR, generator=generator).to(x)
        ball = torch.tensor([floor] * SHELL + [known["distance"]] * NEAR, dtype=x.dtype, device=x.device)
        reach = ball.clone()
        reach[SHELL], reach[SHELL + 1 :] = 0.0, APART * known["distance"]
        centre = torch.cat([x.expand(SHELL, *x.shape), _point(task, known, x).expand(NEAR, *x.shape)])
        starts.append(fold(centre + wide(reach, ways) * ways, lo, hi))
        balls.append(ball)
    return torch.stack(starts), torch.stack(balls)


def _point(task: Task, known: Mapping[str, Any], like: Tensor) -> Tensor:
    stored = Array(known["dtype"], tuple(like.shape), base64.b64decode(known["data"]))
    return task.prepared.judged(unpack_tensor(stored).to(like.device)).to(like)
