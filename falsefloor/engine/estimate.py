"""An estimate unit: which inputs can be judged ─> estimator ─> contract held? ─> witnesses settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from falsefloor.api import Cancelled, Estimate, Estimator, NotApplicable
from falsefloor.checks.verdicts import is_lower
from falsefloor.engine.arrays import curve, pack_tensor, scalar
from falsefloor.engine.context import RunContext, Sink, generators
from falsefloor.engine.contract import ACCOUNT, check_estimate, queries, rows_for, told_besides
from falsefloor.engine.recover import IDLE, Choice, choose
from falsefloor.engine.session import Session, Task, declined, describe_error, is_out_of_memory
from falsefloor.errors import FalsefloorError
from falsefloor.gradients.through import Through
from falsefloor.numerics.margins import predicted
from falsefloor.plugins.loading import load, make
from falsefloor.store.records import EstimateResult, ObservationResult, UnitResult
from falsefloor.subjects.draws import averaged, ceiling_interval
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.around import share_of_ball
from falsefloor.subjects.observe.repeats import shift
from falsefloor.subjects.settle import Settled, settle
from falsefloor.subjects.subject import ModelSubject

SHIFT = 1e-4
"""Relative move of the logits that is more than a device's own order of sums (FF105's)."""


@dataclass(frozen=True)
class _Work:
    """An estimator with what it is run on, and where its progress goes."""

    task: Task
    session: Session
    sink: Sink
    estimator: Estimator


def run(task: Task, session: Session, sink: Sink) -> UnitResult:
    """The estimates; and, of other gradients than autograd's, how they agreed with the function."""
    asked, norm = task.estimator, task.spec["norm"]
    cls = load("estimator", asked["use"])
    if norm not in cls.norms:
        why = f"{asked['use']} does not support the norm {norm}; it supports {', '.join(sorted(cls.norms))}"
        skipped = [_row(task, n, status="skipped", error=why) for n in task.numbers]
        return UnitResult(task.key, estimates=skipped)
    work = _Work(task, session, sink, make("estimator", asked["use"], asked["params"]))
    together = session.rows
    rows, ready, first = _gate(task, session)
    choices = {} if asked["gradient"] == "autograd" else _choices(task, session, ready)
    if "recovers" in task.spec:  # what it would repeat stands beside it
        choices = {n: replace(one, source=None, why=IDLE) if one.idle else one for n, one in choices.items()}
    refused = {n: choice.why for n, choice in choices.items() if choice.source is None}
    rows |= {n: _row(task, n, status="skipped", error=why) for n, why in refused.items()}
    for judged, numbers in _subjects(task, ready, choices):
        start = time.perf_counter()
        done = _attempt(work, judged, numbers)
        each = round((time.perf_counter() - start) / len(numbers), 5)
        rows |= {n: replace(row, seconds=each) for n, row in done.items()}
    for number, choice in choices.items():
        if rows[number].status == "ok":
            rows[number] = replace(rows[number], evidence={**choice.evidence, **rows[number].evidence})
    _shares(task, session, rows, claim=work.estimator.claim)
    _ask_again(task, first, rows, together=together)
    seen = [
        ObservationResult(n, None, {"gradients": {asked["gradient"]: list(choice.rows)}})
        for n, choice in choices.items()
        if choice.rows
    ]
    return UnitResult(task.key, estimates=[rows[n] for n in task.numbers], observations=seen)


def blamed(task: Task, result: UnitResult, touched: Sequence[str]) -> UnitResult:
    """What is kept of a unit whose estimator changed the subject: nothing that it computed."""
    if "use" not in task.estimator:  # an observation: whatever changed, no estimator did it
        return result
    named = ", ".join([*touched[:4], *(["more"] if len(touched) > 4 else [])])
    said = (
        f"{task.estimator['use']} changed the subject ({named}), so its estimate is not kept; the next one"
        " gets the subject as it was"
    )
    if not result.estimates:
        return UnitResult(task.key, "failed", said)
    return UnitResult(
        task.key,
        estimates=[
            row if _decided_before(row) else _row(task, row.input, status="failed", error=said)
            for row in result.estimates
        ],
    )


def _decided_before(row: EstimateResult) -> bool:
    """Whether no estimator was asked for this row."""
    return row.status != "ok" or any(code == "FF601" for code, _ in row.notes)


def _row(task: Task, number: int, **values: Any) -> EstimateResult:
    facts = task.prepared.facts
    answer = facts["predicted"][number]
    known = {"label": facts["labels"][number], "predicted": None if answer < 0 else answer}
    return EstimateResult(number, **(known | values))


def _gate(task: Task, session: Session) -> tuple[dict[int, EstimateResult], list[int], Tensor]:
    """Inputs that never reach an estimator, decided; the numbers of those that do; the logits of all."""
    logits, raised = Guarded(task.subject, rows=session.rows).first(task.inputs)
    answers = predicted(logits, task.labels)
    decided: dict[int, EstimateResult] = {}
    ready = []
    for at, number in enumerate(task.numbers):
        row = _decided(task, number, logits[at], int(answers[at]), int(task.labels[at]), raised[at])
        if row is None:
            ready.append(number)
        else:
            decided[number] = row
    return decided, ready, logits


def _decided(
    task: Task, number: int, logits: Tensor, answer: int, label: int, raised: str | None
) -> EstimateResult | None:
    """What is known without an estimator of an input with logits (K,); None where one is to be asked."""
    finite = bool(logits.isfinite().all())
    row = _row(task, number, predicted=answer if finite else None)
    if not task.prepared.facts["inside"][number]:
        return replace(row, status="failed", error=f"FF602: {_outside(task, number)}")
    if raised is not None:
        return replace(row, status="failed", error=f"the model raised on this input: {raised}")
    if not finite:
        return replace(row, status="failed", error="FF403: the logits at the input are not finite.")
    if answer != label:
        tied = bool(logits[answer] == logits[label])
        why = f"classes {label} and {answer} tie" if tied else f"its class is {answer}, its label {label}"
        return replace(row, radius=0.0, notes=[("FF601", f"{why}: the distance is 0")])
    return None


def _outside(task: Task, number: int) -> str:
    values = task.prepared.own(task.prepared.inputs[number])
    if not bool(values.isfinite().all()):
        return "the input holds values that are not finite; no distance from it is known."
    low, high = task.prepared.facts["bounds"]
    return (
        f"the input lies outside the domain [{low:g}, {high:g}], in some coordinate: its values run from"
        f" {float(values.min()):.4g} to {float(values.max()):.4g}; declare bounds=(LOW, HIGH) in Python,"
        " --bounds LOW,HIGH, or rescale it."
    )


def _choices(task: Task, session: Session, ready: Sequence[int]) -> dict[int, Choice]:
    """Which gradient each input is estimated through."""
    found = choose(
        task.subject,
        task.estimator["gradient"],
        *task.at(ready),
        norm=task.spec["norm"],
        seed=task.spec["seed"],
        rows=session.rows,
    )
    return dict(zip(ready, found, strict=True))


def _subjects(task: Task, ready: list[int], choices: Mapping[int, Choice]) -> list[tuple[Any, list[int]]]:
    """Subjects with the inputs that are estimated on each together; refused inputs are on none."""
    if not choices:
        return [(task.subject, ready)] if ready else []
    groups: list[tuple[Through, list[int]]] = []
    for number, choice in choices.items():
        if choice.source is None:
            continue
        same = next((numbers for judged, numbers in groups if judged.source == choice.source), None)
        if same is None:
            groups.append((Through(task.subject, choice.source), [number]))
        else:
            same.append(number)
    return list(groups)


def _attempt(work: _Work, judged: Any, ready: Sequence[int]) -> dict[int, EstimateResult]:
    """Estimate these inputs together; smaller forwards on out-of-memory; one by one where that fails."""
    while True:
        try:
            return _together(work, judged, ready)
        except (Cancelled, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:  # one that exits fails its own estimate
            if work.session.less_room(error):
                continue
            if len(ready) == 1:
                return {ready[0]: _failed(work.task, ready[0], error)}
            alone: dict[int, EstimateResult] = {}
            for number in ready:
                alone |= _attempt(work, judged, [number])
            return alone


def _failed(task: Task, number: int, error: BaseException) -> EstimateResult:
    if isinstance(error, NotApplicable):
        said = declined(error, who=str(task.estimator["use"]))
        return _row(task, number, status="skipped", error=said)
    said = str(error) if isinstance(error, FalsefloorError) else describe_error(error)
    if is_out_of_memory(error):
        said = f"out of memory with one row a forward: {said}"
    return _row(task, number, status="failed", error=said)


def _together(work: _Work, judged: Any, ready: Sequence[int]) -> dict[int, EstimateResult]:
    task, session, estimator = work.task, work.session, work.estimator
    subject, norm = task.subject, task.spec["norm"]
    inputs, labels = task.at(ready)
    context = RunContext(
        generators(inputs, seed=task.spec["seed"], norm=norm),
        rows=rows_for(estimator, session.rows, name=task.estimator["use"]),
        sink=work.sink,
    )
    if isinstance(judged, Through):
        judged.prepare(inputs)
    forward, backward = subject.forward_queries, subject.backward_queries
    kept = inputs.clone()
    estimate: Estimate = estimator(judged, inputs, labels, norm=norm, context=context)
    forward, backward = subject.forward_queries - forward, subject.backward_queries - backward
    check_estimate(estimate, inputs, kept, labels, claim=estimator.claim, name=task.estimator["use"])
    spent = queries(estimate, forward=forward, backward=backward, count=len(ready))
    estimate = told_besides(estimator, estimate, name=task.estimator["use"])
    rows = [
        replace(
            _told(task, number, estimate, at),
            notes=[(code, said) for code, said, mask in context.notes if mask is None or mask[at]],
            forward=spent[at][0],
            backward=spent[at][1],
        )
        for at, number in enumerate(ready)
    ]
    if estimate.witness is not None:
        settled = settle(subject, kept, labels, estimate.witness, norm=norm, rows=session.rows)
        own = task.prepared.own
        rows = [_settled(row, settled, at, claim=estimator.claim, own=own) for at, row in enumerate(rows)]
        if estimator.claim == "upper_bound" and averaged(subject.module) is not None:
            rows = [_between(row, subject, kept[at], settled.points[at]) for at, row in enumerate(rows)]
    return dict(zip(ready, rows, strict=True))


def _told(task: Task, number: int, estimate: Estimate, at: int) -> EstimateResult:
    """What the estimator says of the ``at``-th of its inputs."""
    evidence = {name: scalar(told[at]) for name, told in estimate.evidence.items() if name not in ACCOUNT}
    return _row(
        task,
        number,
        predicted=task.prepared.facts["labels"][number],
        radius=float(estimate.radius[at].detach().double()),
        capped=evidence.get("capped") == 1,
        interval=_interval(evidence),
        evidence=evidence,
        arrays={f"curve-{name}": curve(values[at]) for name, values in estimate.curves.items()},
    )


def _settled(
    row: EstimateResult, settled: Settled, at: int, *, claim: str, own: Callable[[Tensor], Tensor]
) -> EstimateResult:
    """With its witness where that settled, in the inputs' ``own`` units; an upper bound without one found
    nothing."""
    if bool(settled.ok[at]):
        distance = float(settled.radius[at])
        facts = {"distance": distance, "predicted": int(settled.predicted[at])}
        arrays = {"witness": pack_tensor(own(settled.points[at]), facts), **row.arrays}
        return replace(row, arrays=arrays, radius=distance if claim == "upper_bound" else row.radius)
    claimed = float("inf") if row.radius is None else row.radius
    if claim != "upper_bound" or claimed == float("inf"):
        return row
    alone = bool(settled.batch_only[at])
    said = (
        f"the witness for {claimed:.4g} changes the class in a batch and not alone"
        if alone
        else f"no point within 1e-3 of the witness for {claimed:.4g} changes the class when replayed"
    )
    return replace(
        row,
        radius=float("inf"),
        notes=[*row.notes, ("FF504", f"{said}; the ceiling was dropped")],
        evidence={**row.evidence, "unsettled": 1.0, **({"batch_only": 1.0} if alone else {})},
    )


def _between(row: EstimateResult, subject: ModelSubject, point: Tensor, witness: Tensor) -> EstimateResult:
    """A ceiling of a mean over draws, with the interval of the expectation's."""
    if row.radius is None or not 0 < row.radius < float("inf") or row.label is None:
        return row
    ends = ceiling_interval(subject.module, point, witness, label=row.label, distance=row.radius)
    return row if ends is None else replace(row, interval=ends)


def _shares(task: Task, session: Session, rows: dict[int, EstimateResult], *, claim: str) -> None:
    """What share of the ball of each lower claim answers otherwise, as far as uniform points tell."""
    for number, row in list(rows.items()):
        if not (is_lower(claim) and row.status == "ok" and row.radius):
            continue
        told = _share(task, session, number, row.radius)
        rows[number] = replace(row, evidence={**row.evidence, **told})


def _share(task: Task, session: Session, number: int, radius: float) -> dict[str, float]:
    """By a generator of the input and the norm alone, so that all claims about it look at the same points, up
    to their radius."""
    point, label = task.at([number])
    norm = task.spec["norm"]
    (drawn,) = generators(point, seed=task.spec["seed"], norm=f"share {norm}")
    return session.with_room(
        lambda: share_of_ball(
            task.subject, point[0], label[0], drawn, norm=norm, radius=radius, rows=session.rows
        )
    )


def _interval(evidence: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = evidence.get("interval_low"), evidence.get("interval_high")
    if isinstance(low, float) and isinstance(high, float) and low == low and high == high:
        return low, high
    return None


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
