"""The first page: no run has been made yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from falsefloor.report.text import clean
from falsefloor.tui import commands
from falsefloor.tui.screens.page import Page
from falsefloor.tui.themes import styled
from falsefloor.tui.widgets.inputs import Options

WORDS = (
    ("A floor that holds?", "heading"),
    ("", ""),
    ("A robustness score says: no input closer than r fools this model.", ""),
    ("Such scores can be false without any warning, for example when something hides the model's", ""),
    ("gradients. Here models are composed with such maskers, scores are put side by side, and each", ""),
    ("number is shown with whether it stands: refuted (with a point that anyone can replay), suspect,", ""),
    ("vacuous, or held.", ""),
    ("", ""),
)


class First(Page):
    """Offers the demo and a new run."""

    WHERE = "first"
    TITLE_TEXT = "welcome"
    AUTO_FOCUS: ClassVar[str] = "OptionList"

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(
            Static(styled(self._words()), id="welcome"),
            Options(
                Option(
                    "d  See the demo: a digit classifier behind six masks and none; about a minute", id="demo"
                ),
                Option("n  Compose a new run with your own model", id="new_run"),
                Option("?  Help", id="help"),
                Option("q  Quit", id="quit"),
                compact=True,
                markup=False,
            ),
            Static(styled([("", ""), (f"Runs are kept in {clean(str(self.bench.root))}", "dim")])),
            id="first",
        )

    def _words(self) -> list[tuple[str, str]]:
        """Paragraphs joined: the widget wraps them to the terminal's width."""
        paragraphs: list[tuple[str, str]] = []
        for text, tone in WORDS:
            if paragraphs and text and paragraphs[-1][0] and tone == paragraphs[-1][1]:
                paragraphs[-1] = (f"{paragraphs[-1][0]} {text}", tone)
            else:
                paragraphs.append((text, tone))
        return paragraphs

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "d":
            self._demo()

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id == "demo":
            self._demo()
        else:
            await self.app.run_action(f"app.{event.option.id}")

    def _demo(self) -> None:
        self.bench.say("Starting the demo; the first numbers come in a few seconds.")
        self.bench.tour_when_done = self.bench.first_tour()
        self.bench.start_study(commands.demo())
