"""Textual's inputs, changed where a terminal or a table asks for it."""

from __future__ import annotations

from contextlib import suppress

from textual.binding import Binding
from textual.content import Content
from textual.widgets import Checkbox, Input, OptionList

from falsefloor.tui.actions import Action
from falsefloor.tui.widgets.live_table import LiveTable


class Tick(Checkbox):
    """[x] or [ ]: Textual's own shows the same letter in two colours."""

    @property
    def _button(self) -> Content:
        return Content("[x]" if self.value else "[ ]")


class Options(OptionList):
    """A page up or down is none where the terminal leaves it no line: Textual's own ends the app there."""

    def action_page_up(self) -> None:
        with suppress(KeyError):
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        with suppress(KeyError):
            super().action_page_down()  # type: ignore[no-untyped-call]


class Search(Input):
    """Words that narrow a table while they are typed. Enter goes back to the table, escape forgets them.

    Empty and left, it is not there.
    """

    HINTS = (
        Action("search", "submit", "enter", "To the table", "", 1),
        Action("search", "forget", "escape", "Show all", "", 2),
    )

    BINDINGS = [  # noqa: RUF012
        Binding("escape", "forget", "Forget", show=False),
        Binding("down", "leave", "To the table", show=False),
    ]

    def __init__(self, table: LiveTable) -> None:
        super().__init__(
            placeholder="words that a row must contain, or verdict:refuted, code:FF102",
            compact=True,
            classes="search",
        )
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
