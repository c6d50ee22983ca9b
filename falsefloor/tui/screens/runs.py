"""All runs of the store: what state they are in, what they found, and what can be done with them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.errors import UsageError
from falsefloor.store.paths import RunDir, list_dirs
from falsefloor.store.reader import RunInfo
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.snapshot import RunLine, RunList
from falsefloor.tui.widgets.live_table import Cell, Column, LiveTable, Row
from falsefloor.tui.widgets.search import Search

COLUMNS = (
    Column("run", "run", frozen=True),
    Column("state", "state"),
    Column("age", "age", "right"),
    Column("took", "took", "right"),
    Column("units", "units", "right"),
    Column("refuted", "refuted", "right"),
    Column("suspect", "suspect", "right"),
    Column("held", "held", "right"),
    Column("tag", "tag", widest=16),
    Column("models", "models"),
)
TONES = {"running": "live", "lost": "error", "failed": "error", "cancelled": "dim", "done": ""}


class Runs(Page):
    """Newest first; Enter watches one."""

    WHERE = "runs"
    PARTS = ("table", "words")
    TITLE_TEXT = "runs"
    BINDINGS: ClassVar[list[BindingType]] = bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self._list = RunList()
        self._lines: dict[str, RunLine] = {}
        self._reading = False

    def body(self) -> Iterable[Widget]:
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        yield table
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="words", markup=False)
        yield Search(table)

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
        self._lines = {line.run.id: line for line in lines}
        self.query_one(LiveTable).show(COLUMNS, [self._row(line) for line in lines], gap=1)
        live = sum(line.info is not None and line.info.status == "running" for line in lines)
        self.head([(words.many(len(lines), "run"), ""), (f"{live} under way" if live else "", "live")])
        self._tell()

    def _row(self, line: RunLine) -> Row:
        info, clean = line.info, self.bench.clean
        if info is None:
            cells = [Cell(clean(line.run.id), "", line.run.id), Cell("unreadable", "error", "unreadable")]
            cells += [Cell("")] * (len(COLUMNS) - 3) + [Cell(clean(line.problem), "dim")]
            return Row(line.run.id, tuple(cells))
        age, counts = max(0.0, time.time() - info.started), info.counts
        study = _study(info)
        models = ", ".join(model.name for model in study.models) if study else ""

        def count(verdict: str) -> Cell:
            number = counts.get(verdict, 0)
            return Cell(str(number) if number else "", verdict, float(number))

        return Row(
            line.run.id,
            (
                Cell(clean(line.run.id), "", line.run.id),
                Cell(info.status, TONES.get(info.status, ""), info.status),
                Cell(words.roughly(age), "dim", age),
                Cell(words.roughly(info.seconds), "dim", info.seconds),
                Cell(f"{info.units_done}/{info.units_total}", "", float(info.units_done)),
                count("refuted"),
                count("suspect"),
                count("held"),
                Cell(clean(info.tag), "", info.tag or None),
                Cell(clean(models), "dim", models),
            ),
        )

    def _line(self) -> RunLine | None:
        return self._lines.get(str(self.query_one(LiveTable).current))

    @on(LiveTable.Moved)
    def _tell(self) -> None:
        if not self.standing:
            return
        line, clean = self._line(), self.bench.clean
        about = self.query_one("#words", Static)
        if line is None:
            about.update(styled([("There are no runs here yet: n composes one.", "dim")]))
        elif line.info is None:
            about.update(styled([(line.problem, "error"), (clean(str(line.run.path)), "dim")]))
        else:
            info = line.info
            lines = [(clean(str(line.run.path)), "dim")]
            if (study := _study(info)) is not None:
                maskers = ", ".join(stack.name for stack in study.maskers)
                estimators = ", ".join(estimator.name for estimator in study.estimators)
                lines.insert(0, (clean(f"maskers {maskers}"), ""))
                lines.insert(1, (clean(f"estimators {estimators}; norms {', '.join(study.norms)}"), ""))
            if info.status == "lost":
                lines.insert(0, ("Its worker is gone; space resumes it where it stopped.", "error"))
            if info.error:
                lines.insert(0, (clean(info.error), "error"))
            about.update(styled(lines))

    # Keys

    def _run(self) -> RunDir | None:
        line = self._line()
        return line.run if line else None

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        if (run := self._run()) is not None:
            self.bench.open_run(run)

    def action_cancel(self) -> None:
        if (line := self._line()) is not None:
            self.bench.ask_cancel(line.run, line.info.status if line.info else "unreadable")

    def action_pause(self) -> None:
        if (line := self._line()) is not None and line.info is not None:
            if line.info.status == "done" and not line.info.units_failed:
                self.bench.say(f"Run {line.run.id} is done.")
            else:
                self.bench.pause_or_go_on(line.run, line.info.status)

    def action_again(self) -> None:
        if (run := self._run()) is not None:
            self.bench.again(run)

    def action_export(self) -> None:
        if (run := self._run()) is not None:
            self.bench.ask_export(run)

    def action_delete(self) -> None:
        if (run := self._run()) is not None:
            self.bench.ask_delete(run, self._load)

    def action_log(self) -> None:
        if (run := self._run()) is not None:
            self.bench.open_log(run)

    def action_find(self) -> None:
        self.query_one(Search).begin()

    def action_copy(self) -> None:
        if (run := self._run()) is not None:
            self.bench.copy(run.id, "the run's id")


def _study(info: RunInfo) -> Study | None:
    """The study of a run, where this version can read it."""
    try:
        return study_from(info.study)
    except UsageError:
        return None


__all__ = ["Runs"]
