"""Drives a study to its end: the same loop for workers and for `evaluate`.

prepare models ─> plan units ─> executor ⇄ events ─> store + judge (one transaction) ─> follow-ups ─┐
                                   ^────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from falsefloor.plugins import Catalogue
from falsefloor.report.text import roughly, size
from falsefloor.store.records import UnitResult
from falsefloor.store.reuse import Stored
from falsefloor.store.writer import RunWriter
from falsefloor.study.followups import follow_ups, foreseen
from falsefloor.study.forecast import BUSY, LONG, cheaper, forecast
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, plan
from falsefloor.worker.executor import Event, Executor, Finished, Lost, Progressed, Started, StoppedError
from falsefloor.worker.prepare import check_stored, prepare, take_over, tell_changed

CRASHES = 1
"""How often a unit whose process died is tried again: an accident is not the unit's fault, a habit is."""
SAID = 20.0
"""Seconds from which on a forecast is worth a line; it is stored whatever it says."""
ROOM = 0.5
"""Of the free disk, what a run's points may take where nothing else is said."""
MOVE = 0.2
"""Seconds between writes of what moves."""
WAIT = 0.25
"""Seconds to wait for the next event; commands are looked at in between."""

Commands = Callable[[], Iterable[str]]


@dataclass
class Drive:
    """One run's loop. commands: what it is told; by default nothing. installed: what follow-ups are planned
    with; without it there are none."""

    writer: RunWriter
    study: Study
    series: Sequence[Series]
    executor: Executor
    commands: Commands = tuple
    installed: Catalogue | None = None
    reuse: Stored | None = None
    _queue: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    _flight: dict[int, dict[str, Any]] = field(default_factory=dict)
    _crashes: dict[int, int] = field(default_factory=dict)
    _started: set[int] = field(default_factory=set)
    _moves: dict[int, tuple[int, int, Sequence[float]]] = field(default_factory=dict)
    _moved: float = 0.0
    _cancelled: bool = False
    _paused: bool = False

    def run(self) -> str:
        """Compute everything still missing. Returns how it ended: done or cancelled.

        Raises `FalsefloorError` where no model can be loaded, or one is not what the run was started with.
        """
        try:
            models = prepare(self.writer, self.study, self.series, self.executor, stopped=self._stopped)
        except StoppedError:
            self._queue = deque(self.writer.queued())
            return self._end()
        check_stored(self.writer)
        if self.reuse is not None:
            tell_changed(self.writer, self.reuse)
        counts = {name: int(facts["count"]) for name, facts in models.items()}
        self._add(plan(self.study, self.series, counts), self.series)
        self._foresee(models)
        self._forecast(models)
        if self.installed is not None:
            self.writer.set_meta(shown=self.installed.shown({one.estimator.use for one in self.series}))
        self.writer.set_meta(status="paused" if self._paused else "running")
        while self._queue or self._flight or self._follow():
            for command in self.commands():
                self._obey(command)
            if self._cancelled and not self._flight:
                break
            self._feed()
            results: list[tuple[int, UnitResult]] = []
            for event in self.executor.events(WAIT):
                if event.unit in self._flight:
                    results += self._handle(event)
            if results:
                self.writer.store_all(results)
            self._tell()
        return self._end()

    def _end(self) -> str:
        if self._cancelled:
            never = UnitResult("", "cancelled", "cancelled before it ran")
            self.writer.store_all([(unit, never) for unit, _ in self._queue])
            return "cancelled"
        self.writer.skip_foreseen()
        return "done"

    def _foresee(self, models: Mapping[str, Mapping[str, Any]]) -> None:
        """Count the follow-ups that are sure to be asked for from the beginning, so that a total is one."""
        if self.installed is not None:
            judged = {
                name: [
                    number
                    for number, inside in enumerate(facts["inside"])
                    if inside and facts["labels"][number] == facts["predicted"][number]
                ]
                for name, facts in models.items()
            }
            sure = foreseen(self.study, self.series, judged, self.installed)
            self.writer.add_units(sure, foreseen=True)

    def _forecast(self, models: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what the study will cost, and what brings it down, before it is spent."""
        expected = forecast(self.study, self.series, models)
        self.writer.set_meta(forecast=expected.stored())
        free, asked = self.writer.free(), self.study.witness_bytes
        allowed = ROOM * free if asked is None else asked
        self.writer.hold_to(None if math.isinf(allowed) else int(allowed))
        if not self._queue:
            return
        if expected.room > min(allowed, ROOM * free):
            kept = (
                f"at most {size(allowed)} are kept, of what refutes first"
                if allowed < free
                else "all is kept"
            )
            self.writer.event(
                "forecast",
                f"its points may take {size(expected.room)}, and {size(free)} are free where runs are kept:"
                f" {kept} (--witnesses SIZE, all or none; FALSEFLOOR_STORE is another place).",
            )
        if expected.seconds < SAID:
            return
        parts = sorted(expected.by().items(), key=lambda part: -part[1])
        told = [f"{label or 'observing'} {roughly(took)}" for label, took in parts]
        told += [f"{label}: not known" for label in expected.unknown]
        said = f"about {roughly(expected.seconds)} on this machine: {', '.join(told)}"
        if expected.busy > BUSY:
            said += f"; it is busy now, so perhaps {expected.busy:.0f} times as long"
        if expected.seconds > LONG and self.installed is not None:
            ways = cheaper(self.study, models, self.installed, than=expected.seconds)
            said += "".join(f"; {flag}: about {roughly(took)}" for flag, took in ways.items())
        self.writer.event("forecast", f"{said}.")

    def _stopped(self) -> bool:
        """Whether a cancel arrived while a model is loaded."""
        for command in self.commands():
            self._obey(command)
        return self._cancelled

    def _add(self, units: Iterable[Unit], series: Sequence[Series]) -> bool:
        """Plan units and queue what is missing; whether anything is."""
        self.writer.add_series(series)
        self.writer.add_units(units)
        if self.reuse is not None:
            take_over(self.writer, self.reuse)
        self._queue = deque(self.writer.queued())
        return bool(self._queue)

    def _follow(self) -> bool:
        """Whether the stored facts ask for more."""
        if self._cancelled or self.installed is None:
            return False
        more = follow_ups(self.writer.known(), self.study, self.series, self.installed)
        return bool(more) and self._add(more, [unit.series for unit in more if unit.series])

    def _obey(self, command: str) -> None:
        if command == "cancel" and not self._cancelled:
            self._cancelled = True
            self.executor.cancel()
        elif command in ("pause", "resume") and self._paused != (command == "pause"):
            self._paused = command == "pause"
            self.writer.set_meta(status="paused" if self._paused else "running")

    def _feed(self) -> None:
        while self._queue and not self._cancelled and not self._paused and self.executor.capacity > 0:
            unit, spec = self._queue.popleft()
            self._flight[unit] = spec
            self.executor.submit(unit, spec)

    def _handle(self, event: Event) -> list[tuple[int, UnitResult]]:
        """Note what happened; what is to be stored of it."""
        if isinstance(event, Started):
            self._started.add(event.unit)
        elif isinstance(event, Progressed):
            self._moves[event.unit] = (event.done, event.total, event.radius)
        elif isinstance(event, Finished):
            self._leave(event.unit)
            return [(event.unit, event.result)]
        elif isinstance(event, Lost):
            return self._lost(event, self._leave(event.unit))
        return []

    def _leave(self, unit: int) -> dict[str, Any]:
        self._moves.pop(unit, None)
        self._started.discard(unit)
        return self._flight.pop(unit)

    def _lost(self, event: Lost, spec: dict[str, Any]) -> list[tuple[int, UnitResult]]:
        """A unit whose process went away: cancelled, failed, or back to the front of the queue."""
        if self._cancelled:
            return [(event.unit, UnitResult("", "cancelled", "cancelled while it ran"))]
        if event.reason:
            crashes = self._crashes[event.unit] = self._crashes.get(event.unit, 0) + 1
            self.writer.event("lost", f"unit {event.unit}: {event.reason}")
            if event.final or crashes > CRASHES:
                return [(event.unit, UnitResult("", "failed", event.reason))]
        self._queue.appendleft((event.unit, spec))
        return []

    def _tell(self) -> None:
        """Write what moves, often enough to watch and seldom enough to cost nothing."""
        now = time.monotonic()
        if (self._moves or self._started) and now - self._moved > MOVE:
            self.writer.progress(self._moves, running=self._started)
            self._moves, self._moved = {}, now
            self._started = set()
