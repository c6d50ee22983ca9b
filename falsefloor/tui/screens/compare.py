"""The comparison: home. Rows are subjects, columns estimators; the numbers move while the run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean, fact
from falsefloor.store.reader import SeriesRow
from falsefloor.tui import sentences, words
from falsefloor.tui.actions import bindings
from falsefloor.tui.comparison import Subject, View, compare, entry, factor
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.widgets.bars import Piece
from falsefloor.tui.widgets.inputs import Search
from falsefloor.tui.widgets.live_table import LiveTable

REST = 0.12
"""Seconds the cursor rests before the estimate under it is read."""


class Compare(Page):
    """The table of a run, with what the estimate under the cursor says below it."""

    WHERE = "compare"
    PARTS = ("problem", "table", "says", "more")
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self._seen: tuple[object, ...] = ()

    def body(self) -> Iterable[Widget]:
        yield Static(id="problem", markup=False)
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        yield table
        with Horizontal(id="below"):
            with VerticalScroll(id="story", can_focus=False):
                yield Static(id="says", markup=False)
            with VerticalScroll(id="aside", can_focus=False):
                yield Static(id="more", markup=False)

    def opened(self) -> None:
        self.set_interval(1.0, self._tick)

    # What is shown

    def seen(self, snapshot: Snapshot) -> None:
        self._show(snapshot)

    def on_resize(self, event: Resize) -> None:
        self.view = replace(self.view, wide=event.size.width >= 110)
        if self.bench.snapshot is not None and self.standing:
            self._show(self.bench.snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        self._tick()
        problem = self.query_one("#problem", Static)
        problem.display = bool(snapshot.problem or (snapshot.info and snapshot.info.error))
        said = snapshot.problem or (snapshot.info.error if snapshot.info else "") or ""
        problem.update(styled([(f"! {clean(said)}", "error")]))
        columns, rows = compare(snapshot, self.view, self.bench.glyphs)
        table = self.query_one(LiveTable)
        table.show(columns, rows, gap=1)
        self._tell()

    def _tick(self) -> None:
        if self.standing and (snapshot := self.bench.snapshot) is not None:
            self.head(list(self._pieces(snapshot)))

    def _pieces(self, snapshot: Snapshot) -> Iterator[Piece]:
        info = snapshot.info
        yield (f"run {snapshot.run.id}", "")
        if info is None:
            yield (snapshot.status, "live")
            return
        if info.tag:
            yield (clean(info.tag), "")
        yield (f"{info.units_done}/{info.units_total} units", "")
        refuted = info.counts.get("refuted", 0)
        yield (f"{refuted} refuted", "refuted" if refuted else "quiet")
        yield (words.clock(self.bench.elapsed(snapshot)), "quiet")
        running = snapshot.status == "running"
        if running and info.units_done and info.seconds > 1:
            left = info.seconds / info.units_done * (info.units_total - info.units_done)
            yield (f"{words.roughly(left)} left", "quiet")
            yield (f"{words.magnitude((info.forward + info.backward) / info.seconds)} queries/s", "quiet")
        yield (clean(info.device), "quiet")
        for name in ("model", "norm"):
            # What all rows share is said once, up here.
            shared = {getattr(row, name) for row in snapshot.series}
            if len(shared) == 1:
                yield (clean(shared.pop()), "quiet")
        yield (_STATUS.get(snapshot.status, snapshot.status), "live" if running else "")

    # What the cursor is on

    def target(self) -> tuple[SeriesRow, int | None] | None:
        """The series and input under the cursor."""
        table, snapshot = self.query_one(LiveTable), self.bench.snapshot
        key = table.current
        if snapshot is None or not isinstance(key, Subject):
            return None
        label = key.label or table.current_column.removeprefix("e:")
        row = snapshot.find(key.model, key.masker, key.norm, label)
        return (row, key.input) if row is not None else None

    @on(LiveTable.Moved)
    def _tell(self) -> None:
        """Say what the cell under the cursor says: at once from the table, soon from the stored record."""
        if not self.standing:
            return
        target, snapshot = self.target(), self.bench.snapshot
        says, more = self.query_one("#says", Static), self.query_one("#more", Static)
        if target is None or snapshot is None:
            empty = (
                "No row contains these words; escape shows all." if self.query_one(LiveTable).count else ""
            )
            says.update(styled([(empty, "dim")]))
            more.update("")
            self._seen = ()
            return
        row, number = target
        shown = entry(snapshot, row, number, self.bench.glyphs)
        fresh = (row.id, number, shown.radius, shown.verdict, shown.count, shown.reason, snapshot.run.id)
        if fresh == self._seen:
            return
        self._seen = fresh
        if shown.radius is None and shown.verdict is None and shown.state not in ("failed", "skipped"):
            name = f"{clean(row.label)} on {clean(row.masker)}"
            says.update(styled([(name, "strong"), (sentences.wait(shown.state), "dim")]))
            more.update("")
            return
        self.set_timer(REST, lambda: self._read(fresh, row, number))

    def _read(self, fresh: tuple[object, ...], row: SeriesRow, number: int | None) -> None:
        snapshot = self.bench.snapshot
        if fresh != self._seen or snapshot is None:
            return
        run = snapshot.run

        def read() -> None:
            from falsefloor.report.detail import worst_record
            from falsefloor.tui.snapshot import reading

            try:
                with reading(run) as reader:
                    record = worst_record(reader, row.id, number)
            except FalsefloorError as error:
                self.app.call_from_thread(self._untold, fresh, str(error))
                return
            if record is not None:
                self.app.call_from_thread(self._told, fresh, row, number, record)

        self.run_worker(read, thread=True, group="story", exclusive=True)

    def _untold(self, fresh: tuple[object, ...], reason: str) -> None:
        if fresh == self._seen and self.standing:
            self.query_one("#says", Static).update(styled([(clean(reason), "error")]))

    def _told(
        self, fresh: tuple[object, ...], row: SeriesRow, number: int | None, record: Mapping[str, Any]
    ) -> None:
        snapshot = self.bench.snapshot
        if fresh != self._seen or not self.standing or snapshot is None:
            return
        g = self.bench.glyphs
        lines = [(sentences.says(record), "strong"), *sentences.judged(record, g)]
        self.query_one("#says", Static).update(styled(lines))
        self.query_one("#more", Static).update(styled(self._facts(snapshot, row, number, record)))

    def _facts(
        self, snapshot: Snapshot, row: SeriesRow, number: int | None, record: Mapping[str, Any]
    ) -> Iterator[sentences.Line]:
        g = self.bench.glyphs
        shown = entry(snapshot, row, number, g)
        counts = snapshot.cells[row.id].verdicts if row.id in snapshot.cells else {}
        if number is None and shown.total > 1:
            yield (f"over {words.many(shown.total, 'input')}, the median is shown", "dim")
            yield (", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n), "")
        if (times := factor(snapshot, shown, number, g)) is not None:
            yield (f"{g.ratio(times)} the unmasked model's number", "strong")
        params = ", ".join(f"{k}={fact(v)}" for k, v in row.params.items())
        yield (f"{row.claim.replace('_', ' ')} by {clean(row.estimator)}", "heading")
        yield (params, "dim")
        yield (f"gradient {row.gradient}", "dim")
        queries = record["queries"]
        total = words.magnitude(queries["forward"] + queries["backward"])
        yield (f"{total} queries, {record['seconds']:.2f} s an input", "dim")

    # Keys

    @on(LiveTable.Selected)
    def action_detail(self) -> None:
        if (target := self.target()) is not None:
            self.bench.open_detail(*target)

    def action_warnings(self) -> None:
        self.bench.open_warnings()

    def action_cancel(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.ask_cancel(snapshot.run, snapshot.status)

    def action_pause(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.pause_or_go_on(snapshot.run, snapshot.info)

    def action_export(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.ask_export(snapshot.run)

    def action_again(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.again(snapshot.run)

    def action_log(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.open_log(snapshot.run)

    def action_pivot(self) -> None:
        self.view = self.view.turned()
        self._again()

    def action_inputs(self) -> None:
        self.view = replace(self.view, per_input=not self.view.per_input)
        self.bench.per_input = self.view.per_input
        self._again()

    def _again(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self._show(snapshot)

    async def action_find(self) -> None:
        if not self.query(Search):
            await self.mount(Search(self.query_one(LiveTable)))
        self.query_one(Search).begin()

    def action_sort(self) -> None:
        table = self.query_one(LiveTable)
        self._sort(table.current_column)

    def action_sort_verdict(self) -> None:
        table = self.query_one(LiveTable)
        table.sort_by(None if table.sorted_by == ("verdict", False) else "verdict")

    @on(LiveTable.HeaderClicked)
    def _header(self, event: LiveTable.HeaderClicked) -> None:
        self._sort(event.column)

    def _sort(self, column: str) -> None:
        table = self.query_one(LiveTable)
        largest_first = column != "verdict"
        if table.sorted_by == (column, largest_first):
            table.sort_by(column, largest_first=not largest_first)
        elif table.sorted_by == (column, not largest_first):
            table.sort_by(None)
        elif column:
            table.sort_by(column, largest_first=largest_first)

    def action_copy(self) -> None:
        target, snapshot = self.target(), self.bench.snapshot
        if target is None or snapshot is None:
            return
        shown = entry(snapshot, *target, self.bench.glyphs)
        if shown.radius is None:
            self.bench.say("There is no radius here yet.")
        else:
            self.bench.copy(repr(shown.radius), "the radius")

    def action_copy_command(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.copy_command(snapshot)


_STATUS = {"running": "live", "lost": "LOST: no worker", "unreadable": "unreadable"}
