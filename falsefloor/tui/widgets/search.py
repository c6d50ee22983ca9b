"""A line to type words into that narrow a table; empty and left it is not there."""

from __future__ import annotations

from textual.binding import Binding
from textual.widgets import Input

from falsefloor.tui.widgets.live_table import LiveTable


class Search(Input):
    """Filters a table while it is typed. Enter goes back to the table, escape also forgets the words."""

    BINDINGS = [  # noqa: RUF012
        Binding("escape", "forget", "Forget", show=False),
        Binding("down", "leave", "To the table", show=False),
    ]

    def __init__(self, table: LiveTable) -> None:
        super().__init__(placeholder="words that a row must contain", compact=True, classes="search")
        self._table = table

    def begin(self) -> None:
        self.display = True
        self.focus()

    def on_mount(self) -> None:
        self.display = bool(self.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._table.filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave()

    def action_leave(self) -> None:
        self.display = bool(self.value)
        self._table.focus()

    def action_forget(self) -> None:
        self.value = ""
        self._table.filter("")
        self.action_leave()


__all__ = ["Search"]
