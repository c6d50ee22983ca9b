"""The comparison: home. Rows are subjects, columns estimators; the numbers move while the run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import legend
from falsefloor.report.strips import read_strips
from falsefloor.report.text import clean, clock, code_in, fact, roughly, share
from falsefloor.tui import commands, sentences, words
from falsefloor.tui.actions import Action, bindings
from falsefloor.tui.screens.page import Page
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.table import View, table
from falsefloor.tui.themes import Line, styled
from falsefloor.tui.widgets.bars import Piece
from falsefloor.tui.widgets.cells import Head
from falsefloor.tui.widgets.inputs import Search
from falsefloor.tui.widgets.live_table import LiveTable
from falsefloor.tui.widgets.side import Seen, Side, look

REST = 0.12
"""Seconds the cursor rests before the estimate under it is read."""


class Compare(Page):
    """The table of a run; below it, and beside it where there is room, what the cursor is on."""

    WHERE = "compare"
    PARTS = ("problem", "table", "legend", "says", "more", "side")
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self._seen: tuple[object, ...] = ()
        self._codes: Mapping[int, str] = {}
        self._codes_of: object = None
        self._return: Place | None = None
        """The row that the cursor goes back to from its inputs."""

    def body(self) -> Iterable[Widget]:
        yield Static(id="problem", markup=False)
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        with Container(id="desk"):
            with Vertical(id="left"):
                yield table
                yield Static(id="legend", markup=False)
                with Horizontal(id="below"):
                    with VerticalScroll(id="story", classes="pane"):
                        yield Static(id="says", markup=False)
                    with VerticalScroll(id="aside", classes="pane"):
                        yield Static(id="more", markup=False)
            yield Side(id="side")

    def opened(self) -> None:
        self.set_interval(1.0, self._tick)

    # What is shown

    def seen(self, snapshot: Snapshot) -> None:
        self._show(snapshot)

    def on_resize(self, event: Resize) -> None:
        width, height = event.size
        side = width >= HUGE and height >= 28
        self.set_class(side, "-huge")
        if side and self.standing:
            self.query_one(Side).styles.height = "1fr"
        self.view = replace(self.view, wide=width - side * SIDE >= 110)
        if self.bench.snapshot is not None and self.standing:
            self._show(self.bench.snapshot)
            # The panes beside may have come or gone.
            self._seen = ()
            self.call_after_refresh(self._tell)

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
        columns, rows = table(snapshot.comparison, self.view, self.bench.glyphs, codes=self._codes)
        shown = self.query_one(LiveTable)
        shown.show(columns, rows, gap=1)
        if self._return is not None and snapshot.within is None:
            shown.move_to(self._return)
            self._return = None
        shown.say(self._blank(snapshot))
        if not self.has_class("-huge"):
            # Pictures take what the rows leave, and a third of the page where rows would take all.
            left = self.size.height - len(rows) - TAKEN
            self.query_one(Side).styles.height = max(13, min(22, left))
        self.query_one("#legend", Static).update(styled([(self._legend(snapshot), "dim")]))
        self._tell()
        self.tell_keys()

    def _blank(self, snapshot: Snapshot) -> str:
        """What stands where there are no rows."""
        table = self.query_one(LiveTable)
        if table.count:
            return "" if table.shown else "No row passes the filter; escape shows all."
        if snapshot.info is None:
            return "" if snapshot.problem else f"Loading run {snapshot.run.id}{self.bench.glyphs.ellipsis}"
        if snapshot.ended:
            return "This run ended before anything was planned; its log (l) says why."
        return "The models are being loaded; the first numbers come when that is done."

    def _legend(self, snapshot: Snapshot) -> str:
        """As many phrases as one line takes, what numbers are of first."""
        phrases = legend(snapshot.comparison, self.bench.glyphs)
        phrases.sort(key=lambda phrase: not phrase.startswith("numbers are"))
        joint, room = f" {self.bench.glyphs.dot} ", self.query_one("#legend").size.width or self.size.width
        made = ""
        for phrase in phrases:
            longer = made + joint * bool(made) + phrase
            if cell_len(longer) <= room - 2:
                made = longer
        return made

    def _tick(self) -> None:
        if self.standing and (snapshot := self.bench.snapshot) is not None:
            self.head(list(self._pieces(snapshot)))

    def _pieces(self, snapshot: Snapshot) -> Iterator[Piece]:
        info = snapshot.info
        yield (f"run {snapshot.run.id}", "")
        if info is None:
            yield (snapshot.status, "live")
            return
        if snapshot.within is not None:
            yield (f"inputs of {words.short_spec(snapshot.within.masker)}", "strong")
        yield (share(info.units()), "")
        # One piece: what failed may not be left out where there is room for "0 refuted".
        refuted, failed = info.counts.get("refuted", 0), info.counts.get("failed", 0)
        found = f"{refuted} refuted" + (f", {failed} failed" if failed else "")
        yield (found, "refuted" if refuted or failed else "quiet")
        running = snapshot.status == "running"
        if info.left is not None:
            yield (f"{roughly(info.left)} left", "strong")
        yield (clock(self.bench.elapsed(snapshot)), "quiet")
        yield (clean(info.tag), "")
        if running and info.seconds > 1:
            yield (f"{words.magnitude((info.forward + info.backward) / info.seconds)} queries/s", "quiet")
        yield (self.bench.machine or clean(info.device), "quiet")
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
        self._want_codes()
        target, snapshot = self.target(), self.bench.snapshot
        says, more = self.query_one("#says", Static), self.query_one("#more", Static)
        if target is None or snapshot is None:
            table = self.query_one(LiveTable)
            hidden = "No row contains these words; escape shows all."
            folded = "Enter folds the rows of this group, and unfolds them."
            said = (
                folded
                if isinstance(table.current, Head)
                else hidden
                if table.count and not table.shown
                else ""
            )
            says.update(styled([(said, "dim")]))
            more.update("")
            self._seen = ()
            return
        at, entry = target
        fresh = (snapshot.run.id, *target, self._pictured)
        if fresh == self._seen:
            return
        self._seen = fresh
        if not entry.counts and not entry.cell.judged:
            name = f"{clean(at.label)} on {clean(at.masker)}"
            says.update(styled([(name, "strong"), (sentences.wait(entry, ended=snapshot.ended), "dim")]))
            more.update("")
            return
        self.set_timer(REST, lambda: self._read(fresh, snapshot, at, entry))

    @property
    def _pictured(self) -> bool:
        """Whether there is room for pictures."""
        return self.query_one(Side).size.height > 0

    def _read(self, fresh: tuple[object, ...], snapshot: Snapshot, at: Place, entry: Entry) -> None:
        if fresh != self._seen or not self.standing:
            return
        pictured = self._pictured

        def read() -> None:
            from falsefloor.report.detail import read_detail, worst_record
            from falsefloor.store.reader import reading

            pictures: Seen | None = None
            try:
                with reading(snapshot.run) as reader:
                    record = worst_record(reader, entry.series.id, _number(at))
                    if pictured and record is not None:
                        detail = read_detail(reader, entry.series.id, int(record["input"]))
                        pictures = look(detail, read_strips(reader, snapshot.comparison, at, entry))
            except FalsefloorError as error:
                self.app.call_from_thread(self._told, fresh, [(clean(str(error)), "error")], (), None)
                return
            if record is None:
                lines = [(sentences.wait(entry, ended=True), "dim")]
                self.app.call_from_thread(self._told, fresh, lines, (), None)
                return
            g = self.bench.glyphs
            which = sentences.which(entry, record, g)
            says = [*which, (sentences.says(record), "strong"), *sentences.judged(record, g)]
            self.app.call_from_thread(self._told, fresh, says, list(self._facts(entry, record)), pictures)

        self.run_worker(read, thread=True, group="story", exclusive=True)

    def _told(
        self, fresh: tuple[object, ...], says: Iterable[Line], more: Iterable[Line], pictures: Seen | None
    ) -> None:
        if fresh == self._seen and self.standing:
            self.query_one("#says", Static).update(styled(says))
            self.query_one("#more", Static).update(styled(more))
            if self._pictured:
                self.query_one(Side).show(pictures)

    def _want_codes(self) -> None:
        """Where rows are filtered by code, know all codes of each cell, not only its gravest."""
        snapshot = self.bench.snapshot
        if snapshot is None or snapshot.info is None or "code:" not in self.query_one(LiveTable).needle:
            return
        state = (snapshot.run.id, dict(snapshot.info.counts))
        if state == self._codes_of:
            return
        self._codes_of = state

        def read() -> Mapping[int, str]:
            from falsefloor.store.reader import reading

            found: dict[int, str] = {}
            with reading(snapshot.run) as reader:
                for group in reader.finding_groups():
                    found[group["series"]] = f"{found.get(group['series'], '')} {group['code']}"
            return found

        def known(codes: Mapping[int, str]) -> None:
            self._codes = codes
            self._again()

        self.bench.do(read, known)

    def _facts(self, entry: Entry, record: Mapping[str, Any]) -> Iterator[Line]:
        series = entry.series
        if entry.of > 1:
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

    def action_diagnose(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.open_diagnosis(snapshot.run)

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

    @property
    def code(self) -> str:
        target = self.target() if self.standing else None
        return code_in(target[1].reason) if target else ""

    def action_group(self) -> None:
        """By what differs among the rows: model, masker, norm; then not again."""
        said = self.bench.snapshot.comparison if self.bench.snapshot else None
        if said is None:
            return
        maskers = {row.subject.masker for row in said.rows}
        able = [*["model"] * (len(said.models) > 1), *["masker"] * (len(maskers) < len(said.rows))]
        order = ["", *able, *["norm"] * (len(said.norms) > 1)]
        group = order[(order.index(self.view.group) + 1) % len(order)] if self.view.group in order else ""
        self.view = replace(self.view, group=group)
        if len(order) == 1:
            self.bench.say("There is nothing to group by: one model, one norm, a row a masker.")
        self._again()

    def action_inputs(self) -> None:
        self.bench.per_input, self.bench.within = not self.bench.per_input, None
        if self.bench.per_input and self.bench.snapshot and self.bench.snapshot.too_many:
            self.bench.say("There are too many estimates to show them all; o shows the inputs of one row.")
        self._hurry()

    def action_only_inputs(self) -> None:
        """The inputs of the row under the cursor; where they are shown already, all rows again."""
        if self.bench.within is not None:
            self.up()
        elif (target := self.target()) is not None:
            self.bench.within = target[0].subject.cell
        self._hurry()

    def _hurry(self) -> None:
        self.bench.look(now=True)

    # Escape

    def above(self) -> str:
        table = self.query_one(LiveTable)
        if not table.has_focus:
            return "To the table"
        if table.needle:
            return "Show all"
        return "All rows" if self.bench.within is not None or self.bench.per_input else ""

    def up(self) -> None:
        table = self.query_one(LiveTable)
        if table.has_focus and table.needle:
            self.query_one(Search).action_forget()
        elif table.has_focus:
            at = self.bench.within
            self.bench.per_input, self.bench.within = False, None
            if at is not None:
                self._return = at
            self._hurry()
        table.focus()

    def offers(self, action: Action) -> str:
        snapshot = self.bench.snapshot
        status, ended = (snapshot.status, snapshot.ended) if snapshot else ("", True)
        if action.name == "pause":
            failed = bool(snapshot and snapshot.info and snapshot.info.units_failed)
            return commands.next_step(status, failed=failed)
        if action.name == "cancel":
            return "" if ended or status not in commands.LIVE else action.label
        if action.name in ("detail", "only_inputs", "copy"):
            return action.label if self.standing and self.target() else ""
        return super().offers(action)

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


TAKEN = 13
"""Lines of the page beside rows and pictures."""
HUGE, SIDE = 170, 68
"""Columns from which pictures stand beside the table, and how many they take."""
_STATUS = {"running": "live", "lost": "LOST", "unreadable": "unreadable"}


def _number(at: Place) -> int | None:
    """The input of a row; None where it stands for all."""
    return at.input if at.input >= 0 else None
