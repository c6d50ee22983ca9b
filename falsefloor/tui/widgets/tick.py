"""A check box whose state can be read without colour."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Checkbox


class Tick(Checkbox):
    """[x] or [ ]: Textual's own shows the same letter in two colours."""

    @property
    def _button(self) -> Content:
        return Content("[x]" if self.value else "[ ]")


__all__ = ["Tick"]
