"""One estimate: what it says, every warning with its evidence, its curves and its pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.observed import Observed
from falsefloor.report.detail import Detail, read_detail
from falsefloor.report.figure import FIGURES, Figure
from falsefloor.report.pictures import picture
from falsefloor.report.text import clean, fact, number, tone, verdict_word
from falsefloor.store.reader import reading
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import sentences
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.widgets.pictures import Panel, Pictures, difference, image
from falsefloor.tui.widgets.plots import Plot, ink, sign

PANELS = ("story", "spectrum", "fit", "score", "pictures", "facts")
NAMES = ("Warnings", "Scales", "Fit", "Score", "Pictures", "Facts")


class DetailPage(Page):
    """Panels one at a time where there is little room, all together where there is."""

    WHERE = "detail"
    PARTS = ("claim", "warnings", "evidence", "pictures", "facts")
    TITLE_TEXT = "detail"
    AUTO_FOCUS: ClassVar[str] = "#story"
    BINDINGS: ClassVar[list[BindingType]] = bindings("detail")

    panel: reactive[int] = reactive(0, init=False)

    def __init__(self, run: RunDir, row: SeriesRow, number: int | None) -> None:
        super().__init__()
        self._run, self._row, self._number = run, row, number
        self._detail: Detail | None = None
        self._state: object = None

    def body(self) -> Iterable[Widget]:
        yield Static(id="claim", markup=False)
        yield Static(id="tabs", markup=False)
        with Container(id="panels"):
            with VerticalScroll(id="story", classes="panel"):
                yield Static(id="warnings", markup=False)
            with Container(id="drawn"):
                for name in PANELS[1:4]:
                    with Container(id=name, classes="panel plot"):
                        yield Static(classes="title", markup=False)
                        yield Plot()
                        yield Static(classes="note", markup=False)
                with Container(id="pictures", classes="panel"):
                    yield Pictures()
                    yield Static(classes="note", markup=False)
            with VerticalScroll(id="facts", classes="panel"):
                yield Static(id="evidence", markup=False)

    def opened(self) -> None:
        self._tabs()
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
        def then(detail: Detail) -> None:
            if self.standing:
                self._show(detail)

        def read() -> Detail:
            with reading(self._run) as reader:
                return read_detail(reader, self._row.id, self._number)

        self.bench.do(read, then)

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
        self.query_one("#claim", Static).update(styled([(sentences.says(record), "strong")]))
        self.query_one("#warnings", Static).update(styled(self._story(detail)))
        self.query_one("#evidence", Static).update(styled(self._facts(detail)))
        for name, make in FIGURES.items():
            figure = make(detail)
            panel = self.query_one(f"#{name}")
            title, note = panel.query_one(".title", Static), panel.query_one(".note", Static)
            title.update(self._legend(figure) if figure else styled([(_ABSENT[name], "dim")]))
            note.update(styled([(clean(" ".join(figure.notes)) if figure else "", "dim")]))
            self.query_one(f"#{name} Plot", Plot).draw(figure)
        self._draw(detail)

    def _draw(self, detail: Detail) -> None:
        low, high = detail.bounds
        before, after = (picture(values, detail.shape) for values in (detail.input, detail.witness))
        panels: list[Panel] = []
        if before:
            panels.append(image(before, f"input: {detail.record['label']}", low=low, high=high))
        if before and after and before.size == after.size:
            predicted = detail.seen.get("predicted")
            answer = f": {predicted}" if predicted is not None else ""
            panels += [difference(before, after), image(after, f"adversarial{answer}", low=low, high=high)]
        self.query_one(Pictures).draw(tuple(panels))
        note = "" if panels else "This input is not a picture, or was not stored."
        if panels and not after:
            note = "No adversarial input is attached."
        elif isinstance(distance := detail.seen.get("distance"), float | int):
            note = f"distance {number(float(distance))}"
        self.query_one("#pictures .note", Static).update(styled([(note, "dim")]))

    def _legend(self, figure: Figure) -> Content:
        """The title, and in a second line what each colour is."""
        bar = self.bench.glyphs.bar
        pieces = [(f"{sign(one) * 2 or bar} {clean(one.name)}   ", ink(one)) for one in figure.legend]
        return styled([(figure.title, "heading")]) + "\n" + styled(pieces, joint="")

    # Texts

    def _story(self, detail: Detail) -> Iterator[Line]:
        record, g = detail.record, self.bench.glyphs
        lines = list(sentences.judged(record, g))
        yield from lines[:1]
        yield ("", "")
        for warning in record["warnings"]:
            style = tone(warning["severity"]) or "dim"
            yield (f"{warning['code']} {warning['severity']}", style)
            yield (f"  {clean(warning['message'])}", "")
            for key, value in warning["evidence"].items():
                yield (f"  {clean(key)} {g.dash} {fact(value)}", "dim")
            if warning["witness"]:
                distance = warning["witness"].get("distance")
                shown = f" at {number(float(distance))}" if isinstance(distance, float | int) else ""
                replay = f"falsefloor replay {self._run.id} {warning['id']}"
                yield (f"  a point{shown} replays this: {replay}", "dim")
            yield ("", "")
        if not record["warnings"]:
            yield ("No warnings.", "dim")
        if record["reason"]:
            yield (clean(record["reason"]), "dim")
        yield ("", "")
        located = Observed.read(detail.observed).located
        if located is not None:
            yield ("Where the gradient is lost", "heading")
            for said in (located.words, *located.others):
                yield (f"  {clean(said)}", "")
            yield ("", "")
        yield ("The same input by the other estimators", "heading")
        for other in detail.siblings:
            radius = other["radius"]
            shown = (
                g.radius(radius, claim=other["claim"], capped=other["capped"])
                if radius is not None
                else other["status"]
            )
            text = f"{shown:>11}  {clean(str(other['name']))}  {verdict_word(other['verdict'])}"
            yield (text, "strong" if other["id"] == record["id"] else "")

    def _facts(self, detail: Detail) -> Iterator[Line]:
        record = detail.record
        yield ("This estimate", "heading")
        yield from _pairs(
            {
                "radius": record["radius"],
                "interval": record["interval"],
                "label": record["label"],
                "predicted": record["predicted"],
                "gradient": record["gradient"],
                "queries": sum(record["queries"].values()),
                "seconds": record["seconds"],
                "plugin": f"{record['plugin'].get('dist', '')} {record['plugin'].get('version', '')}",
            }
        )
        yield ("", "")
        yield ("Parameters", "heading")
        yield from _pairs(record["params"])
        yield ("", "")
        yield ("Evidence", "heading")
        yield from _pairs(record["evidence"])
        yield ("", "")
        yield ("Observed of the subject at this input", "heading")
        yield from _pairs({k: v for k, v in detail.observed.items() if k != "arrays"})

    # Panels

    def watch_panel(self) -> None:
        self._tabs()

    def _tabs(self) -> None:
        g = self.bench.glyphs
        pieces: list[Line] = []
        for n, name in enumerate(NAMES):
            mark = g.cursor if n == self.panel else " "
            pieces.append((f"{mark}{n + 1} {name} ", "heading" if n == self.panel else "dim"))
        self.query_one("#tabs", Static).update(styled(pieces, joint=""))
        for n, panel in enumerate(PANELS):
            self.query_one(f"#{panel}").set_class(n == self.panel, "-current")
        self.query_one("#drawn").set_class(0 < self.panel < 5, "-current")
        scrolling = self.query_one(f"#{PANELS[self.panel]}")
        if scrolling.can_focus:
            scrolling.focus()

    def action_show_panel(self, number: int) -> None:
        self.panel = number - 1

    def action_turn(self, by: int) -> None:
        self.panel = (self.panel + by) % len(PANELS)

    # Keys

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
        self.bench.open_warnings()


_ABSENT = {
    "spectrum": "No scale spectrum here: it comes with the estimator finite-difference.",
    "fit": "This estimator keeps no batch maxima.",
    "score": "This estimator keeps no running score.",
}


def _pairs(facts: object) -> Iterator[Line]:
    for key, value in facts.items() if isinstance(facts, dict) else ():
        if isinstance(value, float) and math.isnan(value):
            continue
        yield (f"  {fact(key):<24} {fact(value)}", "")
