"""The comparison: home. Rows are subjects, columns estimators; the numbers move while the run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.widget import Widget

from falsefloor.checks.verdicts import Place
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import legend
from falsefloor.report.text import clean, clock, code_in, roughly, share
from falsefloor.tui import commands, words
from falsefloor.tui.actions import Action, bindings
from falsefloor.tui.screens.page import OfRun
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.table import Kept, View, table
from falsefloor.tui.widgets.bars import Piece
from falsefloor.tui.widgets.cells import Head
from falsefloor.tui.widgets.inputs import Search, Words
from falsefloor.tui.widgets.live_table import LiveTable
from falsefloor.tui.widgets.side import Side, Story


class Compare(OfRun):
    """The table of a run; below it, and beside it where there is room, what the cursor is on."""

    WHERE = "compare"
    PARTS = ("problem", "table", "legend", "says", "more", "side")
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self) -> None:
        super().__init__()
        self.view, self._kept = View(), Kept()
        self._codes: Mapping[int, str] = {}
        self._codes_of: object = None
        self._heights: object = None
        self._return: Place | None = None
        """The row that the cursor goes back to from its inputs."""

    def body(self) -> Iterable[Widget]:
        yield Words(id="problem")
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        with Container(id="desk"):
            with Vertical(id="left"):
                yield table
                yield Words(id="legend")
                yield Story(id="below")
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
        self.view = replace(self.view, wide=width - side * SIDE >= 110)
        if self.bench.snapshot is not None and self.standing:
            self._show(self.bench.snapshot)
            self.query_one(Story).forget()
            self.call_after_refresh(self._tell)

    def _show(self, snapshot: Snapshot) -> None:
        self._tick()
        said = snapshot.problem or (snapshot.info.error if snapshot.info else "") or ""
        if not said and snapshot.status == "lost":
            again = f"space, or `falsefloor resume {snapshot.run.id}`, goes on where it stopped"
            said = f"The process that computed this run is gone: {again}."
        lines = [*([said] if said else []), *snapshot.comparison.said]
        self.query_one("#problem").display = bool(lines)
        self.put("problem", [("\n".join(f"! {clean(line)}" for line in lines), "error")])
        columns, rows = table(
            snapshot.comparison, self.view, self.bench.glyphs, codes=self._codes, kept=self._kept
        )
        shown = self.query_one(LiveTable)
        shown.show(columns, rows, gap=1)
        if self._return is not None and snapshot.within is None:
            shown.move_to(self._return)
            self._return = None
        shown.say(self._blank(snapshot))
        # What the rows leave goes to the pictures below them, or where those stand beside, to the story.
        left = self.size.height - len(rows) - TAKEN
        huge = self.has_class("-huge")
        heights = ("1fr" if huge else max(13, min(22, left)), max(14, min(30, left + 8)) if huge else None)
        if heights != self._heights:
            self._heights = heights
            self.query_one(Side).styles.height, self.query_one(Story).styles.height = heights
        self.put("legend", [(self._legend(snapshot), "dim")])
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
        """As many signs as one line explains: short phrases come before long ones where not all fit."""
        g = self.bench.glyphs
        phrases = [
            phrase.partition(":")[0] if phrase.startswith(g.most) else phrase
            for phrase in legend(snapshot.comparison, g)
        ]
        # Of the page, not of the line: that has its room one layout later.
        joint, room = f" {g.dot} ", self.size.width - SIDE * self.has_class("-huge") - 2
        while phrases and cell_len(joint.join(phrases)) > room:
            phrases.remove(max(phrases, key=cell_len))
        return joint.join(phrases)

    def _tick(self) -> None:
        if self.standing and self.on_top and (snapshot := self.bench.snapshot) is not None:
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
        yield (clock(snapshot.seconds), "quiet")
        yield (clean(info.tag), "")
        if running and info.seconds > 1:
            yield (f"{words.magnitude((info.forward + info.backward) / info.seconds)} queries/s", "quiet")
        yield (self.bench.lookout.machine or clean(info.device), "quiet")
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
        """Say what the cell under the cursor says."""
        if not self.standing:
            return
        self._want_codes()
        target, snapshot = self.target(), self.bench.snapshot
        table, story = self.query_one(LiveTable), self.query_one(Story)
        if target is not None and snapshot is not None:
            story.tell(snapshot, *target, side=self.query_one(Side))
        elif isinstance(table.current, Head):
            story.tell_nothing(("Enter folds the rows of this group, and unfolds them.", "dim"))
        elif table.count and not table.shown:
            story.tell_nothing(("No row contains these words; escape shows all.", "dim"))
        else:
            story.tell_nothing()

    def _want_codes(self) -> None:
        """Where rows are filtered by code, know all codes of each cell, not only its gravest."""
        snapshot = self.bench.snapshot
        if snapshot is None or snapshot.info is None or "code:" not in self.query_one(LiveTable).needle:
            return
        state = (snapshot.run.id, dict(snapshot.info.counts))
        if state == self._codes_of:
            return
        self._codes_of = state

        def known(codes: Mapping[int, str]) -> None:
            self._codes = codes
            self._again()

        self.bench.do(lambda: commands.codes_of(snapshot.run), known)

    # Keys

    @property
    def spoken_of(self) -> Snapshot | None:
        return self.bench.snapshot

    @on(LiveTable.Selected)
    def action_detail(self) -> None:
        target, snapshot = self.target(), self.bench.snapshot
        if target is not None and snapshot is not None:
            at, entry = target
            self.bench.show("detail", snapshot.run, entry.series, at.one)

    def action_warnings(self) -> None:
        if (snapshot := self.bench.snapshot) is not None:
            self.bench.show("warnings", snapshot.run)

    def action_pivot(self) -> None:
        self.view = self.view.turned()
        self._again()

    @property
    def code(self) -> str:
        target = self.target() if self.standing else None
        return code_in(target[1].reason) if target else ""

    def action_group(self) -> None:
        if (snapshot := self.bench.snapshot) is None:
            return
        grouped = self.view.grouped(snapshot.comparison)
        if grouped.group == self.view.group == "":
            self.bench.say("There is nothing to group by: one model, one norm, a row a masker.")
        self.view = grouped
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
        self.bench.lookout.look(now=True)

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
        table.sort_on(table.current_column, largest_first=table.current_column != "verdict")

    def action_sort_verdict(self) -> None:
        table = self.query_one(LiveTable)
        table.sort_by(None if table.sorted_by == ("verdict", False) else "verdict")

    @on(LiveTable.HeaderClicked)
    def _header(self, event: LiveTable.HeaderClicked) -> None:
        self.query_one(LiveTable).sort_on(event.column, largest_first=event.column != "verdict")

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
            self.bench.do(
                lambda: commands.study_of(snapshot.run),
                lambda study: self.bench.copy(study.command_line(), "the command"),
            )


TAKEN = 13
"""Lines of the page beside rows and pictures."""
HUGE, SIDE = 170, 68
"""Columns from which pictures stand beside the table, and how many they take."""
_STATUS = {"running": "live", "lost": "LOST", "unreadable": "unreadable"}
