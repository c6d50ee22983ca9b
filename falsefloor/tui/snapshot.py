"""All that the app reads of a run, as immutable values: taken in a thread, posted, shown.

A run may be half written, locked, from a newer version or gone: what was read last stays and `problem` says
in a sentence why there is nothing newer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.report.cells import brief
from falsefloor.report.comparison import Comparison, compare
from falsefloor.store.cells import Cell
from falsefloor.store.reader import UNREADABLE, RunReader, reading
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import ENDED, RunInfo

SUBJECT = ("model", "masker", "norm")
SLOW_INPUTS = 20_000
"""Above this many estimates the table shows summaries only: one row an input would be no help."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. ``per_input``: whether the rows of the comparison are single inputs."""

    run: RunDir
    info: RunInfo | None = None
    series: tuple[SeriesRow, ...] = ()
    cells: Mapping[int, Cell] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=lambda: Comparison((), ()))
    per_input: bool = False
    within: Place | None = None
    """the subject whose inputs are shown one by one"""
    problem: str = ""
    taken: float = 0.0
    """by the monotonic clock"""

    @property
    def status(self) -> str:
        return self.info.status if self.info else ("unreadable" if self.problem else "queued")

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float:
        """How long the run has taken, counted on since it was read."""
        if self.info is None:
            return 0.0
        return self.info.seconds + (0.0 if self.ended else time.monotonic() - self.taken)

    @property
    def too_many(self) -> bool:
        """Whether there are more estimates than single inputs are shown of."""
        return sum(sum(cell.verdicts.values()) for cell in self.cells.values()) > SLOW_INPUTS


class RunWatch:
    """Follows one run. `take` is called from one thread at a time and is quick where nothing changed."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._reader: RunReader | None = None
        self._file: tuple[int, int] | None = None
        self._last = Snapshot(run)
        self._asked: tuple[bool, Place | None] = (False, None)
        self._busy = threading.Lock()
        self._closed = False

    def take(self, *, per_input: bool = False, within: Place | None = None) -> Snapshot | None:
        """The run now, or None where it is as it was. Never raises for what a run on disk can be.

        per_input: a row an input, of all subjects or ``within`` one.
        """
        with self._busy:
            try:
                reader = None if self._closed else self._open()
                return self._take(reader, per_input, within) if reader is not None else None
            except UNREADABLE as error:
                self._drop()
                return self._problem(_sentence(self.run, error))
            finally:
                if self._closed:
                    self._drop()

    def _open(self) -> RunReader | None:
        try:
            found = self.run.db.stat()
        except OSError as error:
            if self.run.study.exists() and self._reader is None:
                return None if self._last.taken else self._problem_reader("the run is being prepared.")
            raise StoreError(f"run {self.run.id} is gone: {self.run.path} was moved or deleted.") from error
        file = (found.st_dev, found.st_ino)
        if self._reader is None or file != self._file:
            self._drop()
            self._reader, self._file = RunReader(self.run), file
        return self._reader

    def _problem_reader(self, message: str) -> RunReader:
        raise StoreError(message)

    def _take(self, reader: RunReader, per_input: bool, within: Place | None) -> Snapshot | None:
        last, changed = self._last, reader.changed()
        same = not changed and (per_input, within) == self._asked and not last.problem
        now = time.monotonic()
        if same and (last.ended or now - last.taken < 1.0):
            return None
        info = reader.info()
        if same and last.info and info.status == last.info.status:
            # Only the clock moved: who shows it counts by itself.
            self._last = replace(last, taken=now)
            return None
        cells = reader.cells()
        series = last.series if len(last.series) == len(cells) else tuple(reader.series())
        self._asked = (per_input, within)
        made = Snapshot(self.run, info, series, cells, within=within, taken=now)
        briefs = None
        if within is not None or (per_input and not made.too_many):
            where = {} if within is None else dict(zip(SUBJECT, within, strict=False))
            found = islice(reader.estimates(**where), SLOW_INPUTS)
            briefs = {(record["series"], record["input"]): brief(record) for record in found}
        shown = compare(
            series,
            cells,
            agreement=reader.agreement(),
            briefs=briefs,
            ended=made.ended,
            said=reader.said(),
            before=last.comparison,
        )
        self._last = replace(made, comparison=shown, per_input=briefs is not None)
        return self._last

    def _problem(self, sentence: str) -> Snapshot | None:
        if self._last.problem == sentence:
            return None
        self._last = replace(self._last, problem=sentence, taken=time.monotonic())
        return self._last

    def close(self) -> None:
        """Let go of the run; at once, or when the look that is under way in another thread has ended.

        SQLite crashes the process where a connection is closed under a statement that runs.
        """
        self._closed = True
        if self._busy.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._busy.release()

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None


def _sentence(run: RunDir, error: Exception) -> str:
    if isinstance(error, FalsefloorError):
        return str(error)
    return f"run {run.id} cannot be read now: {error or type(error).__name__}."


LATER = "not read yet"
"""What a run's line says before it is read."""


@dataclass(frozen=True)
class RunLine:
    """One run in the list of runs."""

    run: RunDir
    info: RunInfo | None
    problem: str = ""
    size: int = 0
    """bytes on disk"""

    @property
    def status(self) -> str:
        return self.info.status if self.info else "" if self.problem == LATER else "unreadable"


class RunList:
    """The runs of a store; a run that ended is read once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, RunLine]] = {}

    def take(self, runs: list[RunDir], *, seconds: float = math.inf) -> tuple[RunLine, ...]:
        """A line a run. What would take longer than that is read at the next call, and says so till then."""
        until = time.monotonic() + seconds
        return tuple(
            self._line(run)
            if run.id in self._known or time.monotonic() < until
            else RunLine(run, None, LATER)
            for run in runs
        )

    def _line(self, run: RunDir) -> RunLine:
        try:
            moved = run.db.stat().st_mtime
        except OSError:
            return RunLine(run, None, "being prepared" if run.is_alive() else "no run.db")
        known = self._known.get(run.id)
        if known and known[0] == moved and known[1].info and known[1].info.status in ENDED - {"lost"}:
            return known[1]
        try:
            with reading(run) as reader:
                line = RunLine(run, reader.info(), size=run.size())
        except StoreError as error:
            line = RunLine(run, None, str(error))
        self._known[run.id] = (moved, line)
        return line
