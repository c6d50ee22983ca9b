"""What every warning code means and what to do about it: `explain`, from any page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.binding import BindingType

from falsefloor.checks.catalogue import CATALOGUE, Entry
from falsefloor.checks.verdicts import rank
from falsefloor.report.text import tone, verdict_word
from falsefloor.tui import sentences
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column
from falsefloor.tui.widgets.live_table import LiveTable


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
        return sentences.explained(thing[0]) if thing else [("No code passes; escape shows all.", "dim")]

    def action_copy(self) -> None:
        if self.current is not None:
            self.bench.copy(self.current[0], "the code")
