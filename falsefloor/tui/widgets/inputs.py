"""Textual's inputs, changed where a terminal or a table asks for it, and a list of specs to edit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Checkbox, Input, OptionList, Static
from textual.widgets.option_list import Option

from falsefloor.report.text import clean
from falsefloor.tui.actions import Action
from falsefloor.tui.themes import Line, styled
from falsefloor.tui.widgets.live_table import LiveTable


class Words(Static):
    """Text letter by letter, never markup; laid out anew only where it says something else."""

    def __init__(self, lines: str | Iterable[Line] = "", **given: Any) -> None:
        self._told = _lines(lines), "\n"
        super().__init__(styled(self._told[0]), markup=False, **given)

    def tell(self, lines: str | Iterable[Line], *, joint: str = "\n") -> None:
        if (told := (_lines(lines), joint)) != self._told:
            self._told = told
            self.update(styled(told[0], joint=joint))


def _lines(given: str | Iterable[Line]) -> tuple[Line, ...]:
    return ((given, ""),) if isinstance(given, str) else tuple(given)


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


ADD = "add"


class SpecList(Options):
    """Its last line adds one. Enter edits, d removes, c copies."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d,delete,backspace", "remove", "Remove", show=False),
        Binding("c", "duplicate", "Copy", show=False),
        Binding("plus", "add", "Add", show=False),
    ]

    class Edit(Message):
        """A spec is to be edited; index is its place, one past the end for a new one."""

        def __init__(self, control: SpecList, index: int, text: str) -> None:
            super().__init__()
            self._list, self.index, self.text = control, index, text

        @property
        def control(self) -> SpecList:
            return self._list

    def __init__(self, kind: str, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, compact=True, markup=False)
        self.kind = kind
        self.texts: list[str] = []

    def fill(self, texts: Sequence[str]) -> None:
        at = self.highlighted or 0
        self.texts = list(texts)
        self.clear_options()
        article = "an" if self.kind[0] in "aeiou" else "a"
        add = f"+ add {article} {self.kind}    (enter edits, d removes, c copies)"
        self.add_options([*(Option(clean(text)) for text in self.texts), Option(add, id=ADD)])
        self.highlighted = min(at, len(self.texts))

    def put(self, index: int, text: str) -> None:
        """Replace one, or add it at the end."""
        if index < len(self.texts):
            self.texts[index] = text
        else:
            self.texts.append(text)
        self.fill(self.texts)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        text = self.texts[event.option_index] if event.option_index < len(self.texts) else ""
        self.post_message(self.Edit(self, event.option_index, text))

    def action_add(self) -> None:
        self.post_message(self.Edit(self, len(self.texts), ""))

    def action_remove(self) -> None:
        if self.highlighted is not None and self.highlighted < len(self.texts):
            del self.texts[self.highlighted]
            self.fill(self.texts)

    def action_duplicate(self) -> None:
        if self.highlighted is not None and self.highlighted < len(self.texts):
            self.post_message(self.Edit(self, len(self.texts), self.texts[self.highlighted]))
