"""Drives a study to its end: prepare, plan, submit, store, follow up. The same for workers and `evaluate`.

prepare models ─> plan units ─> executor ⇄ events ─> store + judge (one transaction) ─> follow-ups ─┐
                                   ^────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from falsefloor.errors import FalsefloorError, StudyError
from falsefloor.store.records import UnitResult
from falsefloor.store.writer import RunWriter
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, model_json, plan, stack_json
from falsefloor.worker.executor import Executor, Finished, Lost, Progressed, Started

CRASHES = 1
"""How often a unit whose process died is tried again: an accident is not the unit's fault, a habit is."""
MOVE = 0.2
"""Seconds between writes of what moves."""
WAIT = 0.25
"""Seconds to wait for the next event; commands are looked at in between."""

Commands = Callable[[], Iterable[str]]
FollowUp = Callable[[RunWriter, Study, Sequence[Series]], list[Unit]]


class ChangedError(StudyError):
    """A model or its inputs are not what the run was started with."""


def drive(
    writer: RunWriter,
    study: Study,
    series: Sequence[Series],
    executor: Executor,
    *,
    commands: Commands = lambda: (),
    follow_up: FollowUp | None = None,
) -> str:
    """Compute everything still missing. Returns how it ended: done or cancelled.

    Raises `FalsefloorError` where nothing can be computed at all.
    """
    counts = _prepare(writer, study, series, executor)
    writer.add_series(series)
    writer.add_units(plan(study, series, counts))
    queue = deque(writer.queued())
    flight: dict[int, dict[str, Any]] = {}
    crashes: dict[int, int] = {}
    moves: dict[int, tuple[int, int, Sequence[float]]] = {}
    cancelled, paused, moved = False, False, time.monotonic()
    _status(writer, "running")
    while True:
        for command in commands():
            if command == "cancel" and not cancelled:
                cancelled = True
                executor.cancel()
            elif command == "pause" and not paused:
                paused = True
                _status(writer, "paused")
            elif command == "resume" and paused:
                paused = False
                _status(writer, "running")
        while queue and not cancelled and not paused and executor.capacity > 0:
            unit, spec = queue.popleft()
            flight[unit] = spec
            executor.submit(unit, spec)
        if not flight and (cancelled or not queue):
            more = [] if cancelled or follow_up is None else follow_up(writer, study, series)
            if not more:
                break
            writer.add_series([unit.series for unit in more if unit.series])
            writer.add_units(more)
            queue.extend(writer.queued())
            if not queue:
                break
            continue
        for event in executor.events(WAIT):
            if event.unit not in flight:
                continue
            if isinstance(event, Started):
                writer.running(event.unit)
            elif isinstance(event, Progressed):
                moves[event.unit] = (event.done, event.total, event.radius)
            elif isinstance(event, Finished):
                moves.pop(event.unit, None)
                writer.store(event.unit, event.result)
                del flight[event.unit]
            elif isinstance(event, Lost):
                moves.pop(event.unit, None)
                spec = flight.pop(event.unit)
                _lost(writer, event, spec, queue, crashes, cancelled=cancelled)
        if moves and time.monotonic() - moved > MOVE:
            writer.progress(moves)
            moves, moved = {}, time.monotonic()
    if cancelled:
        for unit, _ in list(queue):
            writer.store(unit, UnitResult("", "cancelled", "cancelled before it ran"))
    return "cancelled" if cancelled else "done"


def _lost(
    writer: RunWriter,
    event: Lost,
    spec: dict[str, Any],
    queue: deque[tuple[int, dict[str, Any]]],
    crashes: dict[int, int],
    *,
    cancelled: bool,
) -> None:
    if cancelled:
        writer.store(event.unit, UnitResult("", "cancelled", "cancelled while it ran"))
        return
    if event.reason:
        crashes[event.unit] = crashes.get(event.unit, 0) + 1
        writer.event("lost", f"unit {event.unit}: {event.reason}")
        if "time limit" in event.reason or crashes[event.unit] > CRASHES:
            writer.store(event.unit, UnitResult("", "failed", event.reason))
            return
    queue.appendleft((event.unit, spec))


def _status(writer: RunWriter, status: str) -> None:
    writer.set_meta(status=status)


def _prepare(writer: RunWriter, study: Study, series: Sequence[Series], executor: Executor) -> dict[str, int]:
    """Load every model; the number of inputs of each. A model that cannot be loaded fails its units alone."""
    counts: dict[str, int] = {}
    failures: dict[str, Mapping[str, Any]] = {}
    for model in study.models:
        stacks = {one.stack.name: stack_json(one.stack) for one in series if one.model.name == model.name}
        answer = executor.prepare(model_json(model), study.inputs, list(stacks.values()))
        if "error" in answer:
            failures[model.name] = answer
            continue
        before = writer.fingerprint(model.name)
        if before is not None and before != answer["fingerprint"]:
            raise ChangedError(_what_changed(model.name, before, answer["fingerprint"]))
        facts = answer["facts"]
        writer.add_model(model.name, spec=model_json(model), facts=facts, fingerprint=answer["fingerprint"])
        versions = dict(writer.meta().get("versions", {})) | answer["versions"]
        writer.set_meta(device=answer["device"], threads=answer["threads"], versions=versions)
        if facts["training"]:
            writer.event("note", f"FF603: {model.name} came in training mode; it is judged in eval mode.")
        counts[model.name] = facts["count"]
    if failures and not counts:
        first = next(iter(failures.values()))
        raise _error(first)
    for name, failed in failures.items():
        writer.event("failed", f"{name}: {failed['error']}")
        writer.set_meta(exit_code=failed["exit_code"], error=f"{name}: {failed['error']}")
        _fail_units(writer, study, series, name, str(failed["error"]))
    return counts


def _fail_units(writer: RunWriter, study: Study, series: Sequence[Series], model: str, error: str) -> None:
    """One failed unit a cell, so that the table, the JSON and `resume` all know of them."""
    writer.add_series(series)
    mine = [one for one in series if one.model.name == model]
    units = [
        Unit("estimate", one.model, one.stack, one.norm, study.inputs, (0, 1), study.seed, series=one)
        for one in mine
    ]
    writer.add_units(units)
    for id_, spec in writer.queued():
        if spec["model"] == model_json(mine[0].model):
            writer.store(id_, UnitResult("", "failed", error))


def _error(answer: Mapping[str, Any]) -> FalsefloorError:
    error = FalsefloorError(str(answer["error"]))
    error.exit_code = int(answer["exit_code"])
    return error


def _what_changed(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    parts = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return (
        f"{name} is not what this run was started with: {', '.join(parts)} changed. What is stored would not"
        " fit the rest; start a new run (falsefloor run … --reuse RUN keeps what is unchanged)."
    )
