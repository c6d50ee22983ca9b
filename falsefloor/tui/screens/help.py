"""The help: what the app is about, what the signs mean, and every key from the table of actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.tui.actions import WHERE, of
from falsefloor.tui.screens.page import Page
from falsefloor.tui.sentences import MEANING
from falsefloor.tui.themes import Line, styled


class Help(Page):
    """Keys of the page it was opened from come first."""

    WHERE = "help"
    TITLE_TEXT = "help"
    AUTO_FOCUS: ClassVar[str] = "VerticalScroll"

    def __init__(self, where: str) -> None:
        super().__init__()
        self._from = where

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="help"):
            yield Static(styled(self._words()), markup=False)

    def _words(self) -> Iterator[Line]:
        g = self.bench.glyphs
        order = [self._from, "everywhere", *(w for w in WHERE if w not in (self._from, "everywhere"))]
        for where in order:
            if not (actions := of(where)):
                continue
            yield (f"Keys: {WHERE[where]}", "heading")
            for action in actions:
                yield (f"  {action.key:<8}{action.help}", "")
            yield ("", "")
        yield ("In every table", "heading")
        yield ("  arrows, page up, page down, home, end, j, k move; a click on a heading sorts", "")
        yield ("", "")
        yield ("What the table says", "heading")
        yield ("  A row is a model behind a masker, measured in one norm; a column is an estimator.", "")
        others = ", ".join(f"{g.mark(word)} {word}" for word in ("suspect", "vacuous", "unchecked", "failed"))
        signs = (
            (g.about, "an estimate from below: probably no closer input changes the answer"),
            (g.capped, "an estimate at its cap: as far as the estimator looked, and it saw nothing"),
            (g.certified, "a certified bound: no closer input changes the answer"),
            (g.most, "an input at this distance does change the answer"),
            (f"{g.times}none", "the number as a multiple of the same model's without a masker"),
            (g.mark("refuted"), f"beside a number: refuted; {others}"),
            ("rec.", "the same estimator with a repaired gradient, run where the raw number is suspect"),
            (g.none, "not computed yet"),
        )
        for sign, meaning in signs:
            yield (f"  {sign:<8}{meaning}", "")
        yield ("", "")
        yield ("Verdicts, worst first", "heading")
        for verdict, meaning in MEANING.items():
            yield (f"  {verdict:<11}{meaning}", verdict)
        yield ("", "")
        yield ("A run is computed by a process of its own: closing the app, a lost connection or", "dim")
        yield ("another viewer change nothing. `falsefloor explain FF201` prints what a code means.", "dim")
