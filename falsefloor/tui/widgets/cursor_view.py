"""Rows and columns with a cursor that stays in sight; what they show is for the subclass to paint."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView

from falsefloor.tui.widgets.cells import Column, Layout


class OfTable(Message):
    """Something that a table says of one of its rows and columns."""

    def __init__(self, table: CursorView, row: Hashable, column: str) -> None:
        super().__init__()
        self.table, self.row, self.column = table, row, column

    @property
    def control(self) -> CursorView:
        return self.table


class CursorView(ScrollView, can_focus=True):
    """Rows by their keys in the order shown, columns, and where those lie."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("left", "aside(-1)", "Left", show=False),
        Binding("right", "aside(1)", "Right", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "end(-1)", "First", show=False),
        Binding("end", "end(1)", "Last", show=False),
        Binding("enter", "select", "Open", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)
    """Which of the shown rows the cursor is on."""
    cursor_column: reactive[int] = reactive(0, repaint=False)
    """Which of the columns the cursor is on."""

    class Moved(OfTable):
        """The cursor is on another row or column. A newer one replaces one that was not handled yet."""

        def can_replace(self, message: Message) -> bool:
            return type(message) is type(self) and message.control is self.table

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._columns: tuple[Column, ...] = ()
        self._order: list[Hashable] = []
        self._places: dict[Hashable, int] = {}
        self._lines = Layout()

    @property
    def current(self) -> Hashable | None:
        """Key of the row under the cursor."""
        return self._order[self.cursor] if 0 <= self.cursor < len(self._order) else None

    @property
    def current_column(self) -> str:
        return self._columns[self.cursor_column].key if 0 <= self.cursor_column < len(self._columns) else ""

    @property
    def _seen(self) -> int:
        """Cells of a line that no scroll bar hides: the size of a scrolling widget counts those in."""
        return self.scrollable_content_region.width

    def watch_cursor(self, old: int, new: int) -> None:
        self._refresh_rows(old, new)
        self._keep_in_sight()
        self.post_message(self.Moved(self, self.current, self.current_column))

    def watch_cursor_column(self) -> None:
        self._refresh_rows(self.cursor)
        self._keep_in_sight()
        self.post_message(self.Moved(self, self.current, self.current_column))

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._refresh_rows(self.cursor)

    def _refresh_rows(self, *places: int) -> None:
        offset, (width, height) = round(self.scroll_y), self.size
        lines = [place - offset + 1 for place in places]
        if regions := [Region(0, y, width, 1) for y in lines if 1 <= y < height]:
            self.refresh(*regions)

    def _keep_in_sight(self) -> None:
        width, height = self.scrollable_content_region.size
        if width <= 0 or height <= 1:
            return
        x, y = None, None
        if self.cursor < self.scroll_y:
            y = self.cursor
        elif self.cursor > self.scroll_y + height - 2:
            y = self.cursor - height + 2
        if self.cursor_column < len(self._columns) and self._columns[self.cursor_column].selectable:
            x = self._lines.scroll_for(self.cursor_column, round(self.scroll_x), room=width)
        if x is not None or y is not None:
            # force: the scroll bars are not there yet when the first rows are.
            self.scroll_to(x, y, animate=False, force=True)

    def move_to(self, key: Hashable, column: str | None = None) -> None:
        """Put the cursor on a row, if it is shown, and on a column."""
        self.cursor = self._places.get(key, self.cursor)
        if column is not None:
            self.cursor_column = next(
                (n for n, c in enumerate(self._columns) if c.key == column), self.cursor_column
            )

    def action_move(self, by: int) -> None:
        self.cursor = max(0, min(len(self._order) - 1, self.cursor + by))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def action_end(self, by: int) -> None:
        self.cursor = 0 if by < 0 else max(0, len(self._order) - 1)

    def action_aside(self, by: int) -> None:
        stops = [n for n, column in enumerate(self._columns) if column.selectable]
        ahead = [n for n in stops if (n - self.cursor_column) * by > 0]
        if ahead:
            self.cursor_column = min(ahead) if by > 0 else max(ahead)
        else:
            # Beyond the last stop there may still be columns to see.
            self.scroll_to(x=self.max_scroll_x if by > 0 else 0, animate=False, force=True)
