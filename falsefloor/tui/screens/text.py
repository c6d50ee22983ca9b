"""Pages to read: a text that grows, as the worker's log, and lines with their tones, as a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Log

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean, clean_lines
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.inputs import Words


class TextPage(Page):
    """Shows what `read` returns, again and again while the page is open: always its end."""

    WHERE = "text"
    PARTS = ("text",)
    AUTO_FOCUS: ClassVar[str] = "Log"
    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    def __init__(self, title: str, read: Callable[[], str]) -> None:
        super().__init__()
        self._title, self._read = title, read
        self._text = ""

    def body(self) -> Iterable[Widget]:
        yield Log(highlight=False, id="text")

    def opened(self) -> None:
        self.head([(clean(self._title), "")])
        self._look()
        self.set_interval(1.0, self._look)

    def _look(self) -> None:
        if self.reading:
            return

        def read() -> str:
            try:
                return clean_lines(self._read())
            except FalsefloorError as error:
                return clean_lines(str(error))

        self.read(read, self._show)

    def _show(self, text: str) -> None:
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


class LinesPage(Page):
    """Shows lines that are read once; their texts are clean."""

    WHERE = "text"
    PARTS = ("lines", "told")
    AUTO_FOCUS: ClassVar[str] = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    def __init__(self, title: str, read: Callable[[], Sequence[Line]]) -> None:
        super().__init__()
        self._title, self._read = title, read
        self._lines: Sequence[Line] = ()

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="lines"):
            yield Words(id="told")

    def opened(self) -> None:
        self.head([(clean(self._title), "")])

        def read() -> Sequence[Line]:
            try:
                return self._read()
            except FalsefloorError as error:
                return [(clean_lines(str(error)), "error")]

        self.read(read, self._show)

    def _show(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self.put("told", lines)

    def action_copy(self) -> None:
        self.bench.copy("\n".join(text for text, _ in self._lines), "the text")
