"""A list of maskers or estimators as specs: add, edit, copy, remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from falsefloor.report.text import clean
from falsefloor.tui.widgets.inputs import Options

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
