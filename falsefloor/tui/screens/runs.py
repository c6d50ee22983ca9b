"""All runs of the store: what state they are in, what they found, and what can be done with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.binding import BindingType

from falsefloor.errors import UsageError
from falsefloor.report.text import clean, outcome, share
from falsefloor.store.forms import RunInfo
from falsefloor.store.run_dir import list_dirs
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import RunLine, RunList
from falsefloor.tui.widgets.cells import Cell, Column
from falsefloor.tui.widgets.live_table import LiveTable

COLUMNS = (
    Column("run", "run", frozen=True),
    Column("state", "state"),
    Column("age", "age", "right"),
    Column("took", "took", "right"),
    Column("units", "units", "right"),
    Column("failed", "failed", "right"),
    Column("refuted", "refuted", "right"),
    Column("suspect", "suspect", "right"),
    Column("held", "held", "right"),
    Column("tag", "tag", widest=16),
    Column("models", "models"),
)
TONES = {
    "running": "live",
    "lost": "error",
    "unreadable": "error",
    "failed": "error",
    "cancelled": "dim",
    "done": "",
}


class Runs(ListPage[RunLine]):
    """Newest first; Enter watches one."""

    WHERE = "runs"
    TITLE_TEXT = "runs"
    COLUMNS = COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self._list = RunList()
        self._reading = False

    def opened(self) -> None:
        self._load()
        self.set_interval(1.0, self._load)

    def _load(self) -> None:
        if self._reading or not self.standing:
            return
        self._reading = True
        self.bench.do(lambda: self._list.take(list_dirs(self.bench.root)), self._show)

    def _show(self, lines: tuple[RunLine, ...]) -> None:
        self._reading = False
        if not self.standing:
            return
        self.show({line.run.id: line for line in lines})
        live = sum(line.status == "running" for line in lines)
        self.head([(words.many(len(lines), "run"), ""), (f"{live} under way" if live else "", "live")])

    def cells(self, line: RunLine) -> Iterator[Cell]:
        info = line.info
        yield Cell(clean(line.run.id), "", line.run.id)
        yield Cell(line.status, TONES.get(line.status, ""), line.status)
        if info is None:
            yield from [Cell("")] * (len(COLUMNS) - 3)
            yield Cell(clean(line.problem), "dim")
            return
        age, study = max(0.0, time.time() - info.started), _study(info)
        models = ", ".join(model.name for model in study.models) if study else ""
        yield Cell(words.roughly(age), "dim", age)
        yield Cell(words.roughly(info.seconds), "dim", info.seconds)
        yield Cell(f"{info.units_done}/{info.units_total}", "", float(info.units_done))
        for verdict in ("failed", "refuted", "suspect", "held"):
            number = info.counts.get(verdict, 0)
            yield Cell(str(number) if number else "", verdict, float(number))
        yield Cell(clean(info.tag), "", info.tag or None)
        yield Cell(clean(models), "dim", models)

    def about(self, line: RunLine | None) -> Iterator[Line]:
        if line is None:
            yield ("There are no runs here yet: n composes one.", "dim")
            return
        info = line.info
        if said := line.problem or (info.error if info else ""):
            yield (clean(said), "error")
        if line.status == "lost":
            yield ("Its worker is gone; space resumes it where it stopped.", "error")
        if info is not None:
            planned = info.units()["planned"]
            waiting = f", {planned} planned" if planned else ""
            yield (f"{share(info.units())}{waiting}; {outcome(info.counts)}", "")
        if info is not None and (study := _study(info)) is not None:
            yield (clean(f"maskers {', '.join(stack.name for stack in study.maskers)}"), "")
            estimators = ", ".join(estimator.name for estimator in study.estimators)
            yield (clean(f"estimators {estimators}; norms {', '.join(study.norms)}"), "")
        yield (clean(str(line.run.path)), "dim")

    # Keys

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        if (line := self.current) is not None:
            self.bench.open_run(line.run)

    def action_cancel(self) -> None:
        if (line := self.current) is not None:
            self.bench.ask_cancel(line.run, line.status)

    def action_pause(self) -> None:
        if (line := self.current) is not None:
            self.bench.pause_or_go_on(line.run, line.info)

    def action_again(self) -> None:
        if (line := self.current) is not None:
            self.bench.again(line.run)

    def action_export(self) -> None:
        if (line := self.current) is not None:
            self.bench.ask_export(line.run)

    def action_delete(self) -> None:
        if (line := self.current) is not None:
            self.bench.ask_delete(line.run, self._load)

    def action_log(self) -> None:
        if (line := self.current) is not None:
            self.bench.open_log(line.run)

    def action_copy(self) -> None:
        if (line := self.current) is not None:
            self.bench.copy(line.run.id, "the run's id")


def _study(info: RunInfo) -> Study | None:
    """The study of a run, where this version can read it."""
    try:
        return study_from(info.study)
    except UsageError:
        return None
