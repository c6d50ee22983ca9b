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

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError
from falsefloor.report.cells import Entry
from falsefloor.report.text import clean, clock, fact, share
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import sentences, words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.table import View, table
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
        said = snapshot.problem or (snapshot.info.error if snapshot.info else "") or ""
        if not said and snapshot.status == "lost":
            again = f"space, or `falsefloor resume {snapshot.run.id}`, goes on where it stopped"
            said = f"The process that computed this run is gone: {again}."
        problem = self.query_one("#problem", Static)
        lines = [*([said] if said else []), *snapshot.comparison.said]
        problem.display = bool(lines)
        problem.update(styled([("\n".join(f"! {clean(line)}" for line in lines), "error")]))
        columns, rows = table(snapshot.comparison, self.view, self.bench.glyphs)
        self.query_one(LiveTable).show(columns, rows, gap=1)
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
        yield (share(info.units()), "")
        # One piece: what failed may not be left out where there is room for "0 refuted".
        refuted, failed = info.counts.get("refuted", 0), info.counts.get("failed", 0)
        found = f"{refuted} refuted" + (f", {failed} failed" if failed else "")
        yield (found, "refuted" if refuted or failed else "quiet")
        yield (clean(info.tag), "")
        yield (clock(self.bench.elapsed(snapshot)), "quiet")
        running = snapshot.status == "running"
        if running and info.units_ended and info.seconds > 1:
            left = info.seconds / info.units_ended * info.units()["planned"]
            yield (f"{words.roughly(left)} left", "quiet")
            yield (f"{words.magnitude((info.forward + info.backward) / info.seconds)} queries/s", "quiet")
        yield (clean(info.device), "quiet")
        for shared in (snapshot.comparison.models, snapshot.comparison.norms):
            # What all rows share is said once, up here.
            if len(shared) == 1:
                yield (clean(shared[0]), "quiet")
        yield (_STATUS.get(snapshot.status, snapshot.status), "live" if running else "")

    # What the cursor is on

    def target(self) -> tuple[Place, Entry] | None:
        """What is under the cursor, and where that stands."""
        table, snapshot = self.query_one(LiveTable), self.bench.snapshot
        at = table.current
        if snapshot is None or not isinstance(at, Place):
            return None
        at = at._replace(label=at.label or table.current_column.removeprefix("e:"))
        entry = snapshot.comparison.entry(at)
        return (at, entry) if entry is not None else None

    @on(LiveTable.Moved)
    def _tell(self) -> None:
        """Say what the cell under the cursor says: at once from the table, soon from the stored record."""
        if not self.standing:
            return
        target, snapshot = self.target(), self.bench.snapshot
        says, more = self.query_one("#says", Static), self.query_one("#more", Static)
        if target is None or snapshot is None:
            table = self.query_one(LiveTable)
            hidden = "No row contains these words; escape shows all."
            says.update(styled([(hidden if table.count and not table.shown else "", "dim")]))
            more.update("")
            self._seen = ()
            return
        at, entry = target
        fresh = (snapshot.run.id, *target)
        if fresh == self._seen:
            return
        self._seen = fresh
        if not entry.counts and not entry.cell.judged:
            name = f"{clean(at.label)} on {clean(at.masker)}"
            says.update(styled([(name, "strong"), (sentences.wait(entry, ended=snapshot.ended), "dim")]))
            more.update("")
            return
        self.set_timer(REST, lambda: self._read(fresh, snapshot.run, at, entry))

    def _read(self, fresh: tuple[object, ...], run: RunDir, at: Place, entry: Entry) -> None:
        if fresh != self._seen:
            return

        def read() -> None:
            from falsefloor.report.detail import worst_record
            from falsefloor.store.reader import reading

            try:
                with reading(run) as reader:
                    record = worst_record(reader, entry.series.id, _number(at))
            except FalsefloorError as error:
                self.app.call_from_thread(self._told, fresh, [(clean(str(error)), "error")], ())
                return
            if record is None:
                self.app.call_from_thread(self._told, fresh, [(sentences.wait(entry, ended=True), "dim")], ())
                return
            says = [(sentences.says(record), "strong"), *sentences.judged(record, self.bench.glyphs)]
            self.app.call_from_thread(self._told, fresh, says, list(self._facts(entry, record)))

        self.run_worker(read, thread=True, group="story", exclusive=True)

    def _told(self, fresh: tuple[object, ...], says: Iterable[Line], more: Iterable[Line]) -> None:
        if fresh == self._seen and self.standing:
            self.query_one("#says", Static).update(styled(says))
            self.query_one("#more", Static).update(styled(more))

    def _facts(self, entry: Entry, record: Mapping[str, Any]) -> Iterator[Line]:
        series, cell = entry.series, entry.cell
        if entry.of > 1:
            yield (f"over {words.many(cell.correct, 'input')}, the median is shown", "dim")
            yield (", ".join(f"{count} {clean(word)}" for word, count in entry.counts.items()), "")
        if entry.ratio is not None:
            yield (f"{self.bench.glyphs.ratio(entry.ratio)} the unmasked model's number", "strong")
        yield (f"{series.claim.replace('_', ' ')} by {clean(series.estimator)}", "heading")
        if series.params:
            yield (", ".join(f"{k}={fact(v)}" for k, v in series.params.items()), "dim")
        yield (f"gradient {series.gradient}", "dim")
        queries = record["queries"]
        total = words.magnitude(queries["forward"] + queries["backward"])
        yield (f"{total} queries, {record['seconds']:.2f} s an input", "dim")

    # Keys

    @on(LiveTable.Selected)
    def action_detail(self) -> None:
        if (target := self.target()) is not None:
            at, entry = target
            self.bench.open_detail(entry.series, _number(at))

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
        self.bench.per_input = not self.bench.per_input
        if self.bench.per_input and self.bench.snapshot and self.bench.snapshot.too_many:
            self.bench.say(
                "There are too many estimates to show single inputs; Enter opens one after another."
            )

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
        radius = target[1].cell.radius
        if radius is None:
            self.bench.say("There is no radius here yet.")
        else:
            self.bench.copy(repr(radius), "the radius")

    def action_copy_command(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.copy_command(snapshot)


_STATUS = {"running": "live", "lost": "LOST", "unreadable": "unreadable"}


def _number(at: Place) -> int | None:
    """The input of a row; None where it stands for all."""
    return at.input if at.input >= 0 else None
