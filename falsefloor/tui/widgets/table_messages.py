"""What a live table says: the cursor moved, a row was chosen, a heading was clicked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from falsefloor.tui.widgets.live_table import LiveTable


class Moved(Message, namespace="live_table"):
    """The cursor is on another row or column. A newer one replaces one that was not handled yet."""

    def __init__(self, table: LiveTable, row: Hashable, column: str) -> None:
        super().__init__()
        self.table, self.row, self.column = table, row, column

    @property
    def control(self) -> LiveTable:
        return self.table

    def can_replace(self, message: Message) -> bool:
        return type(message) is Moved and message.table is self.table


class Selected(Message, namespace="live_table"):
    """Enter, or a click where the cursor already was."""

    def __init__(self, table: LiveTable, row: Hashable, column: str) -> None:
        super().__init__()
        self.table, self.row, self.column = table, row, column

    @property
    def control(self) -> LiveTable:
        return self.table


class HeaderClicked(Message, namespace="live_table"):
    """A click on a heading."""

    def __init__(self, table: LiveTable, column: str) -> None:
        super().__init__()
        self.table, self.column = table, column

    @property
    def control(self) -> LiveTable:
        return self.table


__all__ = ["HeaderClicked", "Moved", "Selected"]
