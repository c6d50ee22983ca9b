"""A page that is a list: a table, what is said of the row under the cursor, and words that narrow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.containers import Container, VerticalScroll
from textual.widget import Widget

from falsefloor.tui.actions import Action
from falsefloor.tui.screens.page import Page
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column, Row
from falsefloor.tui.widgets.inputs import Search, Words
from falsefloor.tui.widgets.live_table import LiveTable

T = TypeVar("T")
NOTHING = Cell("")
WITHOUT_ROW = ("find", "refresh", "undo", "group")
"""Keys that do something where the cursor is on no row."""


class ListPage(Page, Generic[T]):
    """Subclasses read things by their key, make cells of each and say what the one under the cursor is."""

    PARTS = ("table", "words")
    COLUMNS: ClassVar[Sequence[Column]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.found: Mapping[str, T] = {}
        self._told: object = None

    def body(self) -> Iterable[Widget]:
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        table.say("Reading.")
        with Container(id="split"):
            yield table
            with VerticalScroll(id="about", classes="pane"):
                yield Words(id="words")
        yield Search(table)

    def cells(self, thing: T) -> Mapping[str, Cell]:
        """What is said of a thing, by column."""
        raise NotImplementedError

    def tags(self, thing: T) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """What a filter finds it by besides its cells."""
        return ()

    def about(self, thing: T | None) -> Iterable[Line]:
        """What is said of the thing under the cursor, or of there being none."""
        raise NotImplementedError

    def columns(self) -> Sequence[Column]:
        return self.COLUMNS

    def rows(self, found: Mapping[str, T]) -> list[Row]:
        """Touches no widget: long lists are made in a thread."""
        names, made = [column.key for column in self.columns()], []
        for key, one in found.items():
            cells = self.cells(one)
            made.append(Row(key, tuple(cells.get(name, NOTHING) for name in names), self.tags(one)))
        return made

    def show(self, found: Mapping[str, T], rows: Sequence[Row] | None = None) -> None:
        self.found = found
        table = self.query_one(LiveTable)
        table.show(self.columns(), self.rows(found) if rows is None else rows, gap=1)
        table.say("")
        self.tell()
        self.tell_keys()

    @property
    def current(self) -> T | None:
        """What the cursor is on."""
        return self.found.get(str(self.query_one(LiveTable).current))

    @on(LiveTable.Moved)
    def tell(self) -> None:
        if self.standing:
            self.put("words", self.about(self.current))
            if (on := self.query_one(LiveTable).current) != self._told:
                # Another row: what was read to its end begins anew.
                self._told = on
                self.query_one("#about").scroll_home(animate=False)
                self.tell_keys()

    def action_find(self) -> None:
        self.query_one(Search).begin()

    def offers(self, action: Action) -> str:
        of_row = action.where == self.WHERE and action.name not in WITHOUT_ROW
        return "" if of_row and not (self.standing and self.current is not None) else super().offers(action)

    # Escape: from the pane beside to the table, then to all rows

    def above(self) -> str:
        table = self.query_one(LiveTable)
        return "To the table" if not table.has_focus else "Show all" if table.needle else ""

    def up(self) -> None:
        table, search = self.query_one(LiveTable), self.query_one(Search)
        if table.has_focus:
            search.action_forget()
        table.focus()
