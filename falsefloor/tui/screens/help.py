"""The help: what the app is about, what the signs mean, every key, and every code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from falsefloor.checks.catalogue import CATALOGUE, Entry
from falsefloor.checks.verdicts import rank
from falsefloor.report.text import tone, verdict_word
from falsefloor.tui import words
from falsefloor.tui.actions import WHERE, bindings, of
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.screens.page import Page
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column
from falsefloor.tui.widgets.inputs import Words
from falsefloor.tui.widgets.live_table import LiveTable
from falsefloor.tui.words import MEANING


class Help(Page):
    """Keys of the page it was opened from come first."""

    WHERE = "help"
    TITLE_TEXT = "help"
    AUTO_FOCUS: ClassVar[str] = "VerticalScroll"

    def __init__(self, where: str) -> None:
        super().__init__()
        self._from = where

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="help"):
            yield Words(self._words())

    def _words(self) -> Iterator[Line]:
        g = self.bench.glyphs
        order = [self._from, "everywhere", *(w for w in WHERE if w not in (self._from, "everywhere"))]
        for where in order:
            if not (actions := of(where)):
                continue
            yield (f"Keys: {WHERE[where]}", "heading")
            for action in actions:
                yield (f"  {action.key:<8}{action.help}", "")
            yield ("", "")
        yield ("In every table", "heading")
        yield ("  arrows, page up, page down, home, end, j, k move; a click on a heading sorts", "")
        yield ("", "")
        yield ("What the table says", "heading")
        yield ("  A row is a model behind a masker, measured in one norm; a column is an estimator.", "")
        others = ", ".join(f"{g.mark(word)} {word}" for word in ("suspect", "vacuous", "unchecked", "failed"))
        signs = (
            (g.about, "an estimate from below: probably no closer input changes the answer"),
            (g.capped, "an estimate at its cap: as far as the estimator looked, and it saw nothing"),
            (g.certified, "a certified bound: no closer input changes the answer"),
            (g.most, "an input at this distance does change the answer"),
            (f"{g.times}none", "the number as a multiple of the same model's without a masker"),
            (g.mark("refuted"), f"beside a number: refuted; {others}"),
            ("rec.", "the same estimator with a repaired gradient, run where the raw number is suspect"),
            (g.none, "not computed yet"),
        )
        for sign, meaning in signs:
            yield (f"  {sign:<8}{meaning}", "")
        yield ("", "")
        yield ("Verdicts, worst first", "heading")
        for verdict, meaning in MEANING.items():
            yield (f"  {verdict:<11}{meaning}", verdict)
        yield ("", "")
        yield ("A run is computed by a process of its own: closing the app, a lost connection or", "dim")
        yield ("another viewer change nothing. `falsefloor explain FF201` prints what a code means.", "dim")


class Codes(ListPage[tuple[str, Entry]]):
    """In the order of the documentation; opened from a page that speaks of a code, on that one."""

    WHERE = "codes"
    TITLE_TEXT = "codes"
    COLUMNS = (
        Column("code", "code", frozen=True),
        Column("severity", "severity"),
        Column("name", "name"),
        Column("summary", "what it means"),
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings("codes")

    def __init__(self, code: str = "") -> None:
        super().__init__()
        self._code = code

    def opened(self) -> None:
        self.head([(f"{len(CATALOGUE)} codes", "")])
        self.show({code: (code, entry) for code, entry in CATALOGUE.items()})
        self.query_one(LiveTable).move_to(self._code)

    def cells(self, thing: tuple[str, Entry]) -> Mapping[str, Cell]:
        code, entry = thing
        style = tone(entry.info.severity) or ("error" if entry.info.severity == "error" else "dim")
        return {
            "code": Cell(code, style, code),
            "severity": Cell(verdict_word(entry.info.severity), style, float(rank(entry.info.severity))),
            "name": Cell(entry.info.name, "", entry.info.name),
            "summary": Cell(entry.info.summary, "", entry.info.summary),
        }

    def about(self, thing: tuple[str, Entry] | None) -> Iterable[Line]:
        return words.explained(thing[0]) if thing else [("No code passes; escape shows all.", "dim")]

    def action_copy(self) -> None:
        if self.current is not None:
            self.bench.copy(self.current[0], "the code")
