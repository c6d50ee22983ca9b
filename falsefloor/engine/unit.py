"""One unit of work, from its description to what is stored. The same path for workers, `evaluate` and kits.

spec ─> session: model, inputs, subject ─> which inputs can be judged ─> estimator ─> contract held?
     ─> witnesses settled ─> UnitResult
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from falsefloor.api import Cancelled, Estimate, Estimator
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.contract import check_estimate
from falsefloor.engine.observing import observe_inputs
from falsefloor.engine.queries import ACCOUNT, queries
from falsefloor.engine.recover import Choice, choose
from falsefloor.engine.resample import resampled_inputs
from falsefloor.engine.room import is_out_of_memory, less_room
from falsefloor.engine.session import Session
from falsefloor.engine.task import Task
from falsefloor.engine.tensors import curve, pack_tensor, scalar
from falsefloor.engine.trap import trap_inputs
from falsefloor.errors import FalsefloorError
from falsefloor.gradients.through import Through
from falsefloor.numerics.margins import predicted
from falsefloor.plugins.loading import load, make
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.study.identity import fingerprint
from falsefloor.study.units import canonical, digest, estimator_of, kind_of
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.repeats import shift
from falsefloor.subjects.settle import settle

SHIFT = 1e-4
"""Relative move of the logits that is more than a device's own order of sums (FF105's)."""

Sink = Callable[[int, int, dict[str, list[float]]], None]


def run_unit(spec: Mapping[str, Any], session: Session, sink: Sink) -> UnitResult:
    """Compute one unit. What a plugin or a model does becomes a status; nothing but interruption passes."""
    key = digest(canonical(spec))
    start = time.perf_counter()
    try:
        prepared = session.prepared(spec["model"], spec["inputs"])
        subject = session.subject(spec["model"], spec["inputs"], spec["stack"])
        task = Task(spec, prepared, subject, range(*spec["chunk"]))
        before = subject.forward_queries, subject.backward_queries
        kind = kind_of(spec)
        if kind == "observe":
            result = UnitResult(key, observations=observe_inputs(task, session))
        elif kind == "trap":
            result = UnitResult(key, observations=trap_inputs(task, session, sink))
        elif kind == "resample":
            again = replace(task, spec={**spec, "estimator": estimator_of(spec)})
            estimates, _ = _estimate(again, session, sink)
            result = UnitResult(key, observations=resampled_inputs(task, estimates))
        else:
            estimates, seen = _estimate(task, session, sink)
            result = UnitResult(key, estimates=estimates, observations=seen)
        result = replace(
            result,
            fingerprint=fingerprint(spec, prepared.fingerprint),
            forward=subject.forward_queries - before[0],
            backward=subject.backward_queries - before[1],
        )
    except Cancelled:
        result = UnitResult(key, "cancelled", "cancelled while it ran")
    except FalsefloorError as error:
        result = UnitResult(key, "failed", str(error))
    except Exception as error:
        result = UnitResult(key, "failed", describe_error(error))
    return replace(result, seconds=round(time.perf_counter() - start, 4))


def describe_error(error: BaseException) -> str:
    """The error with the last place outside this package that it passed: what a plugin's author needs."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _estimate(
    task: Task, session: Session, sink: Sink
) -> tuple[list[EstimateResult], list[ObservationResult]]:
    """The estimates; and, of other gradients than autograd's, how they agreed with the function."""
    spec = task.spec["estimator"]
    norm = task.spec["norm"]
    cls = load("estimator", spec["use"])
    if norm not in cls.norms:
        why = f"{spec['use']} does not support the norm {norm}; it supports {', '.join(sorted(cls.norms))}"
        return [_row(task, n, status="skipped", error=why) for n in task.numbers], []
    estimator: Estimator = make("estimator", spec["use"], spec["params"])
    together = session.rows
    rows, ready, asked = _gate(task, session)
    choices: dict[int, Choice] = {}
    groups: list[tuple[Any, list[int]]] = [(task.subject, ready)]
    if spec["gradient"] != "autograd":
        chosen = torch.tensor([n - task.numbers.start for n in ready], dtype=torch.long)
        points, labels = task.inputs[chosen], task.labels[chosen]
        found = choose(
            task.subject,
            spec["gradient"],
            points,
            labels,
            norm=norm,
            seed=task.spec["seed"],
            rows=session.rows,
        )
        choices = dict(zip(ready, found, strict=True))
        groups = []
        for number, choice in choices.items():
            if choice.source is None:
                rows[number] = _row(task, number, status="skipped", error=choice.why)
                continue
            same = next((g for g in groups if g[0].source == choice.source), None)
            if same is None:
                groups.append((Through(task.subject, choice.source), [number]))
            else:
                same[1].append(number)
    for judged, numbers in groups:
        if numbers:
            start = time.perf_counter()
            done = _attempt(task, session, sink, estimator, judged, numbers)
            each = (time.perf_counter() - start) / len(numbers)
            rows |= {n: replace(row, seconds=round(each, 5)) for n, row in done.items()}
    for number, choice in choices.items():
        if rows[number].status == "ok":
            rows[number] = replace(rows[number], evidence={**choice.evidence, **rows[number].evidence})
    _ask_again(task, asked, rows, together=together)
    seen = [
        ObservationResult(n, None, {"gradients": {spec["gradient"]: list(c.rows)}})
        for n, c in choices.items()
        if c.rows
    ]
    return [rows[n] for n in task.numbers], seen


def _row(task: Task, number: int, **values: Any) -> EstimateResult:
    facts = task.prepared.facts
    return EstimateResult(
        number, label=facts["labels"][number], predicted=_predicted(facts["predicted"][number]), **values
    )


def _predicted(answer: int) -> int | None:
    return None if answer < 0 else answer


def _ask_again(task: Task, asked: Tensor, rows: dict[int, EstimateResult], *, together: int) -> None:
    """FF105 where a subject's answers (N, K) changed while it was estimated, or since it was loaded.

    What was observed before says nothing about a subject that changes after so many calls. It is asked in
    forwards of the size it was asked in, ``together``: others may move a last bit.
    """
    now = Guarded(task.subject, rows=together).first(task.inputs)[0]
    limit = 0.0 if task.inputs.device.type == "cpu" else SHIFT
    for at, number in enumerate(task.numbers):
        moved, label = shift(asked[at], now[at])
        loaded, first = task.prepared.facts["predicted"][number], int(asked[at].argmax())
        if moved > limit or label:
            said = f"after the estimate the model answers differently: logits moved by {moved:.2g}, relative"
        elif not task.spec["stack"] and first != loaded:
            said = f"the model answered {loaded} when it was loaded, and {first} before the estimate"
        else:
            continue
        if rows[number].status == "ok":
            rows[number] = replace(rows[number], notes=[*rows[number].notes, ("FF105", said)])


def _gate(task: Task, session: Session) -> tuple[dict[int, EstimateResult], list[int], Tensor]:
    """Inputs that never reach an estimator, decided; the numbers of those that do; the logits of all."""
    logits, raised = Guarded(task.subject, rows=session.rows).first(task.inputs)
    finite = logits.isfinite().all(1)
    answers = predicted(logits, task.labels)
    decided: dict[int, EstimateResult] = {}
    ready = []
    for at, number in enumerate(task.numbers):
        answer, label = int(answers[at]), int(task.labels[at])
        row = replace(_row(task, number), predicted=answer if finite[at] else None)
        if not task.prepared.facts["inside"][number]:
            low, high = task.prepared.facts["bounds"]
            why = f"FF602: the input lies outside the domain [{low:g}, {high:g}] or is not finite"
            row = replace(row, status="failed", error=f"{why}; declare --bounds or rescale it.")
        elif raised[at] is not None:
            row = replace(row, status="failed", error=f"the model raised on this input: {raised[at]}")
        elif not finite[at]:
            row = replace(row, status="failed", error="FF403: the logits at the input are not finite.")
        elif answer != label:
            tied = bool(logits[at, answer] == logits[at, label])
            why = f"classes {label} and {answer} tie" if tied else f"its class is {answer}, its label {label}"
            row = replace(row, radius=0.0, notes=[("FF601", f"{why}: the distance is 0")])
        else:
            ready.append(number)
        decided[number] = row
    return decided, ready, logits


def _attempt(
    task: Task, session: Session, sink: Sink, estimator: Estimator, judged: Any, ready: Sequence[int]
) -> dict[int, EstimateResult]:
    """Estimate these inputs together; smaller forwards on out-of-memory; one by one where that fails."""
    while True:
        try:
            return _together(task, session, sink, estimator, judged, ready)
        except (Cancelled, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:  # one that exits fails its own estimate
            if less_room(session, error):
                continue
            if len(ready) == 1:
                said = str(error) if isinstance(error, FalsefloorError) else describe_error(error)
                if is_out_of_memory(error):
                    said = f"out of memory with one row a forward: {said}"
                status = "skipped" if said.startswith("not applicable") else "failed"
                return {ready[0]: _row(task, ready[0], status=status, error=said)}
            alone: dict[int, EstimateResult] = {}
            for number in ready:
                alone |= _attempt(task, session, sink, estimator, judged, [number])
            return alone


def _together(
    task: Task, session: Session, sink: Sink, estimator: Estimator, judged: Any, ready: Sequence[int]
) -> dict[int, EstimateResult]:
    norm = task.spec["norm"]
    chosen = torch.tensor([n - task.numbers.start for n in ready], device=task.inputs.device)
    inputs, labels = task.inputs[chosen], task.labels[chosen]
    seeds = generators(inputs, seed=task.spec["seed"], norm=norm)
    context = RunContext(seeds, rows=session.rows, sink=sink)
    if isinstance(judged, Through):
        judged.prepare(inputs)
    before = task.subject.forward_queries, task.subject.backward_queries
    kept = inputs.clone()
    estimate: Estimate = estimator(judged, inputs, labels, norm=norm, context=context)
    after = task.subject.forward_queries, task.subject.backward_queries
    check_estimate(estimate, inputs, kept, labels, claim=estimator.claim, name=task.spec["estimator"]["use"])
    spent = queries(estimate, forward=after[0] - before[0], backward=after[1] - before[1], count=len(ready))
    radius = estimate.radius.detach().double().cpu()
    arrays: list[dict[str, Array]] = [{} for _ in ready]
    notes: list[list[tuple[str, str]]] = [[] for _ in ready]
    dropped: set[int] = set()
    for code, message, mask in context.notes:
        for at in range(len(ready)):
            if mask is None or mask[at]:
                notes[at].append((code, message))
    if estimate.witness is not None:
        settled = settle(task.subject, kept, labels, estimate.witness, norm=norm, rows=session.rows)
        for at in range(len(ready)):
            claimed = float(radius[at])
            if bool(settled.ok[at]):
                facts = {"distance": float(settled.radius[at]), "predicted": int(settled.predicted[at])}
                arrays[at]["witness"] = pack_tensor(settled.points[at], facts)
                if estimator.claim == "upper_bound":
                    radius[at] = settled.radius[at]
            elif estimator.claim == "upper_bound" and claimed < float("inf"):
                radius[at] = float("inf")
                said = (
                    f"no point within 1e-3 of the witness for {claimed:.4g} changes the class when replayed"
                )
                notes[at].append(("FF504", f"{said}; the ceiling was dropped"))
                dropped.add(at)
    for at in range(len(ready)):
        for name, values in estimate.curves.items():
            arrays[at][f"curve-{name}"] = curve(values[at])
    evidence = [
        {name: scalar(values[at]) for name, values in estimate.evidence.items() if name not in ACCOUNT}
        | ({"unsettled": 1.0} if at in dropped else {})
        for at in range(len(ready))
    ]
    return {
        number: replace(
            _row(task, number),
            predicted=int(labels[at]),
            radius=float(radius[at]),
            capped=evidence[at].get("capped") == 1,
            interval=_interval(evidence[at]),
            evidence=evidence[at],
            notes=notes[at],
            forward=spent[at][0],
            backward=spent[at][1],
            arrays=arrays[at],
        )
        for at, number in enumerate(ready)
    }


def _interval(evidence: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = evidence.get("interval_low"), evidence.get("interval_high")
    if isinstance(low, float) and isinstance(high, float) and low == low and high == high:
        return low, high
    return None
