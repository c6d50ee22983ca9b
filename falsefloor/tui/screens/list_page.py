"""A page that is a list: a table, what is said of the row under the cursor, and words that narrow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line
from falsefloor.tui.widgets.cells import Cell, Column, Row
from falsefloor.tui.widgets.inputs import Search
from falsefloor.tui.widgets.live_table import LiveTable

T = TypeVar("T")


class ListPage(Page, Generic[T]):
    """Subclasses read things by their key, make cells of each and say what the one under the cursor is."""

    PARTS = ("table", "words")
    COLUMNS: ClassVar[Sequence[Column]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.found: Mapping[str, T] = {}

    def body(self) -> Iterable[Widget]:
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        with Container(id="split"):
            yield table
            with VerticalScroll(id="about", can_focus=False):
                yield Static(id="words", markup=False)
        yield Search(table)

    def cells(self, thing: T) -> Iterable[Cell]:
        """A row: one cell a column."""
        raise NotImplementedError

    def about(self, thing: T | None) -> Iterable[Line]:
        """What is said of the thing under the cursor, or of there being none."""
        raise NotImplementedError

    def show(self, found: Mapping[str, T]) -> None:
        self.found = found
        rows = [Row(key, tuple(self.cells(thing))) for key, thing in found.items()]
        self.query_one(LiveTable).show(self.COLUMNS, rows, gap=1)
        self.tell()

    @property
    def current(self) -> T | None:
        """What the cursor is on."""
        return self.found.get(str(self.query_one(LiveTable).current))

    @on(LiveTable.Moved)
    def tell(self) -> None:
        if self.standing:
            self.query_one("#words", Static).update(styled(self.about(self.current)))

    def action_find(self) -> None:
        self.query_one(Search).begin()
