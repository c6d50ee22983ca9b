"""One estimate: what it says, every warning with its evidence, its curves and its pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget

from falsefloor.report.detail import Detail, read_detail
from falsefloor.report.figure import FIGURES, own
from falsefloor.report.text import clean, verdict_word
from falsefloor.store.reader import reading
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import commands, estimate, words
from falsefloor.tui.actions import Action, bindings
from falsefloor.tui.screens.page import Page
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.inputs import Words
from falsefloor.tui.widgets.pictures import Pictures, faces
from falsefloor.tui.widgets.plots import Drawing

PANELS = ("story", "spectrum", "fit", "score", "pictures", "facts")
NAMES = ("Warnings", "Scales", "Fit", "Score", "Pictures", "Facts")
DRAWN = PANELS[1:4]
DRAWING_ABSENT = {
    "spectrum": "No scale spectrum here: it comes with the estimator finite-difference.",
    "fit": "This estimator keeps no batch maxima.",
    "score": "This estimator keeps no running score.",
}


class Tab(Words):
    """A panel's name; a click shows it."""

    def __init__(self, number: int) -> None:
        super().__init__(classes="tab")
        self.number = number

    async def on_click(self) -> None:
        await self.run_action(f"screen.show_panel({self.number})")


class Pane(Drawing, can_focus=True):
    """A figure that takes the focus, to be read off."""


class DetailPage(Page):
    """Panels one at a time where there is little room, all together where there is; any fills the screen."""

    WHERE = "detail"
    PARTS = ("claim", "warnings", "evidence", "pictures", "facts")
    TITLE_TEXT = "detail"
    AUTO_FOCUS: ClassVar[str] = "#story"
    BINDINGS: ClassVar[list[BindingType]] = bindings("detail")

    panel: reactive[int] = reactive(0, init=False)
    zoomed: reactive[bool] = reactive(False, init=False)

    def __init__(self, run: RunDir, row: SeriesRow, number: int | None) -> None:
        super().__init__()
        self._run, self._row, self._number = run, row, number
        self._detail: Detail | None = None
        self._state: object = None
        self._replayed: tuple[Line, ...] = ()
        self._replaying = False

    def body(self) -> Iterable[Widget]:
        yield Words("Reading.", id="claim")
        with Horizontal(id="tabs"):
            yield from (Tab(n + 1) for n in range(len(PANELS)))
        with Container(id="panels"):
            with VerticalScroll(id="story", classes="panel pane"):
                yield Words(id="warnings")
            # In the order of a grid of two rows.
            yield Pane(DRAWING_ABSENT["spectrum"], id="spectrum", classes="panel plot pane")
            with VerticalScroll(id="pictures", classes="panel pane"):
                yield Pictures()
            yield Pane(DRAWING_ABSENT["fit"], id="fit", classes="panel plot pane")
            yield Pane(DRAWING_ABSENT["score"], id="score", classes="panel plot pane")
            with VerticalScroll(id="facts", classes="panel pane"):
                yield Words(id="evidence")

    def opened(self) -> None:
        self._lay()
        self._load()

    def seen(self, snapshot: Snapshot) -> None:
        # What the siblings find changes verdicts, pictures and the upper bound of this one.
        row = self._row
        alike = [
            cell
            for s in snapshot.series
            if (s.model, s.masker, s.norm) == (row.model, row.masker, row.norm)
            and (cell := snapshot.cells.get(s.id)) is not None
        ]
        state = [(dict(cell.verdicts), cell.radius, cell.reason) for cell in alike]
        if state != self._state:
            self._state = state
            self._load()

    def _load(self) -> None:
        def read() -> Detail:
            with reading(self._run) as reader:
                return read_detail(reader, self._row.id, self._number)

        def failed() -> None:
            if self._detail is None:
                self.put("claim", "This estimate cannot be read now.")

        self.read(read, self._show, failed=failed)

    def _show(self, detail: Detail) -> None:
        self._detail, self._number = detail, int(detail.record["input"])
        record = detail.record
        place = detail.inputs.index(self._number) + 1
        name = clean(detail.name)
        which = f"input {self._number}" + ("" if name == str(self._number) else f" ({name})")
        self.head(
            [
                (f"{which}, {place} of {len(detail.inputs)}", ""),
                (clean(str(record["name"])), "quiet"),
                (clean(str(record["masker"])), "quiet"),
                (str(record["norm"]), "quiet"),
                (verdict_word(record["verdict"]), "refuted" if record["verdict"] == "refuted" else ""),
            ]
        )
        self.put("claim", [(words.says(record), "strong")])
        self._tell(detail)
        self.put("evidence", estimate.facts(detail))
        others = own(detail)
        for name in DRAWN:
            # a panel of ours that stays empty has room for what another package draws
            figure = FIGURES[name](detail) or (others.pop(0) if others else None)
            self.query_one(f"#{name}", Pane).draw(figure)
        self.query_one(Pictures).draw(faces(detail))
        self.tell_keys()

    def _tell(self, detail: Detail) -> None:
        told = estimate.story(detail, self._run.id, self.bench.glyphs, width=max(24, self.size.width - 8))
        self.put("warnings", [*self._replayed, *told])

    # Panels

    @property
    def _all(self) -> bool:
        """Whether all panels are there at once."""
        room = self.has_class("-wide") and self.has_class("-tall")
        return room and not self.zoomed and PANELS[self.panel] != "facts"

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay)

    def watch_panel(self) -> None:
        self._lay()

    def watch_zoomed(self) -> None:
        self._lay()

    def _lay(self) -> None:
        """Show the panel that is chosen, or all; the tabs say which."""
        if not self.standing:
            return
        g = self.bench.glyphs
        self.set_class(not self._all, "-one")
        for n, tab in enumerate(self.query(Tab)):
            mark = g.cursor if n == self.panel else " "
            tab.tell([(f"{mark}{n + 1} {NAMES[n]} ", "heading" if n == self.panel else "dim")])
        for n, panel in enumerate(PANELS):
            self.query_one(f"#{panel}").set_class(n == self.panel, "-current")
        self.query_one(f"#{PANELS[self.panel]}").focus()
        self.tell_keys()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        # A click, or tab in a dialog that closed: what has the focus is what keys speak of.
        if self._all and event.widget.id in PANELS:
            self.panel = PANELS.index(event.widget.id)

    def action_show_panel(self, number: int) -> None:
        self.panel = number - 1

    def action_turn(self, by: int) -> None:
        self.panel = (self.panel + by) % len(PANELS)

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed

    @property
    def _pane(self) -> Pane | None:
        """The figure that is chosen."""
        return self.query_one(f"#{PANELS[self.panel]}", Pane) if PANELS[self.panel] in DRAWN else None

    def action_readout(self, by: int) -> None:
        if (pane := self._pane) is not None:
            pane.step(by)

    def action_axis(self, side: int) -> None:
        if (pane := self._pane) is not None:
            pane.turn(side)

    def above(self) -> str:
        return "All panels" if self.zoomed else ""

    def up(self) -> None:
        self.zoomed = False

    def offers(self, action: Action) -> str:
        detail, name = self._detail, action.name
        if name.startswith(("readout", "axis")):
            drawn = self._pane is not None and self._pane.figure is not None
            return action.label if drawn else ""
        if name in ("next", "previous"):
            return action.label if detail is not None and len(detail.inputs) > 1 else ""
        if name == "zoom":
            return "Back to all" if self.zoomed else action.label
        if name == "replay":
            return action.label if self._refutation() and not self._replaying else ""
        if name == "copy":
            return action.label if detail is not None and detail.record["radius"] is not None else ""
        if name == "copy_witness":
            return action.label if detail is not None and detail.witness else ""
        return super().offers(action)

    # Keys

    @property
    def code(self) -> str:
        found = self._detail.record["warnings"] if self._detail else ()
        return str(found[0]["code"]) if found else ""

    def action_next(self, by: int = 1) -> None:
        if self._detail is None:
            return
        inputs = self._detail.inputs
        self._number = inputs[(inputs.index(self._number or 0) + by) % len(inputs)]
        self._load()

    def action_previous(self) -> None:
        self.action_next(-1)

    def action_copy(self) -> None:
        radius = self._detail.record["radius"] if self._detail else None
        if radius is not None:
            self.bench.copy(repr(float(radius)), "the radius")

    def action_copy_witness(self) -> None:
        if self._detail is None or not self._detail.witness:
            self.bench.say("No adversarial input is stored with this estimate.")
            return
        self.bench.copy(json.dumps(list(self._detail.witness)), "the adversarial input")

    def action_warnings(self) -> None:
        self.bench.show("warnings", self._run)

    # Replaying

    def _refutation(self) -> Mapping[str, Any] | None:
        """The first warning with a point attached."""
        found = self._detail.record["warnings"] if self._detail else ()
        return next((one for one in found if one["witness"]), None)

    def action_replay(self) -> None:
        warning = self._refutation()
        if warning is None or self._replaying:
            if warning is None:
                self.bench.say("No point is attached to a warning here: there is nothing to replay.")
            return
        self._replaying = True
        self.panel = 0  # where what comes back is told
        self._say_replay([(f"Replaying {warning['code']}: the model is being loaded.", "live")])

        def done(answer: tuple[bool, list[str]]) -> None:
            replays, lines = answer
            self._replaying = False
            end = (f"  {clean(lines[-1])}", "refuted" if replays else "suspect")
            said = [(f"  {clean(line)}", "") for line in lines[:-1]]
            self._say_replay([("Replayed just now", "heading"), *said, end, ("", "")])

        def failed() -> None:
            self._replaying = False
            self._say_replay([("The replay did not come to an end.", "error"), ("", "")])

        self.bench.do(lambda: commands.replay(self._run, str(warning["id"])), done, failed=failed)

    def _say_replay(self, lines: Iterable[Line]) -> None:
        self._replayed = tuple(lines)
        if self.standing and self._detail is not None:
            self._tell(self._detail)
            self.query_one("#story").scroll_home(animate=False)
            self.tell_keys()
