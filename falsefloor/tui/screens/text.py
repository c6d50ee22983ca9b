"""A page of plain text: the worker's log, a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Log

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean, clean_lines
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page


class TextPage(Page):
    """Shows what `read` returns: with ``follow`` its end, read again while the page is open."""

    WHERE = "text"
    PARTS = ("text",)
    AUTO_FOCUS: ClassVar[str] = "Log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    def __init__(self, title: str, read: Callable[[], str], follow: bool = True) -> None:
        super().__init__()
        self._title, self._read, self._follow = title, read, follow
        self._text, self._reading = "", False

    def body(self) -> Iterable[Widget]:
        yield Log(highlight=False, id="text", auto_scroll=self._follow)

    def opened(self) -> None:
        self.head([(clean(self._title), "")])
        self._look()
        if self._follow:
            self.set_interval(1.0, self._look)

    def _look(self) -> None:
        if self._reading:
            return
        self._reading = True

        def read() -> str:
            try:
                return clean_lines(self._read())
            except FalsefloorError as error:
                return clean_lines(str(error))

        self.bench.do(read, self._show, failed=self._free)

    def _free(self) -> None:
        self._reading = False

    def _show(self, text: str) -> None:
        self._free()
        if not self.standing:
            return
        log = self.query_one(Log)
        if text == self._text and log.line_count:
            return
        if self._text and text.startswith(self._text):
            log.write(text[len(self._text) :])
        else:
            log.clear()
            log.write(text or "There is nothing in it.")
        self._text = text

    def action_copy(self) -> None:
        self.bench.copy(self._text, "the text")
