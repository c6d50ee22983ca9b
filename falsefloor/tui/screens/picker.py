"""Choosing instead of typing: a list that narrows while one types, and leads from level to level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean
from falsefloor.tui.apart import apart
from falsefloor.tui.choices import Choice
from falsefloor.tui.screens.asking import Question
from falsefloor.tui.widgets.inputs import Options

SLOW = 2.0
"""Seconds after which it is said that a folder, or a model that is loaded for its places, is slow."""
Level = Callable[[], Sequence[Choice]]


class Picker(Question[str | None]):
    """Each level is read in a thread: a slow folder shows that it is being read, and can be left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "up", "Back"),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, question: str, first: Level) -> None:
        super().__init__()
        self._question, self._levels = question, [first]
        self._found: Sequence[Choice] = ()
        self._shown: list[Choice] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static(self._question, markup=False, classes="question")
            yield Input(placeholder="type to narrow", compact=True)
            yield Options(compact=True, markup=False)
            yield Static("Reading.", id="said", markup=False, classes="hint")

    def on_mount(self) -> None:
        if self._standing:
            self.query_one(Input).focus()
            self._read()

    @property
    def _standing(self) -> bool:
        return self.is_attached and bool(self.query(Input) and self.query(OptionList) and self.query("#said"))

    def _read(self) -> None:
        level = self._levels[-1]
        self._found = ()
        self._say("Reading.")
        self._narrow()

        def read() -> tuple[Sequence[Choice], str]:
            try:
                return level(), ""
            except (FalsefloorError, OSError) as error:
                return (), str(error)

        apart(self.app, read, lambda came: self._know(level, *came))
        self._reading = self.set_timer(SLOW, self._wait)

    def _wait(self) -> None:
        if self._standing:
            self._say("Still reading: it answers slowly. It is waited for; escape goes back.")

    def _know(self, level: Level, found: Sequence[Choice], problem: str) -> None:
        # It may have been left, or another level asked for meanwhile.
        if not self._standing or level is not self._levels[-1]:
            return
        self._reading.stop()
        self._found = found
        deeper = (
            "Enter takes it; escape goes back" if len(self._levels) > 1 else "Enter takes it; escape leaves"
        )
        self._say(clean(problem) if problem else f"{deeper}. {len(found)} to choose from.")
        self._narrow()

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)

    @on(Input.Changed)
    def _narrow(self) -> None:
        words = self.query_one(Input).value.lower().split()
        options = self.query_one(OptionList)
        self._shown = [
            one for one in self._found if all(word in f"{one.label} {one.help}".lower() for word in words)
        ]
        width = min(40, max((len(one.label) for one in self._shown), default=0))
        options.clear_options()
        options.add_options([Option(clean(f"{one.label:<{width}}  {one.help}")) for one in self._shown])
        options.highlighted = 0 if self._shown else None

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _take(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is None or at >= len(self._shown):
            return
        chosen = self._shown[at]
        if chosen.more is not None:
            self._levels.append(chosen.more)
            self.query_one(Input).value = ""
            self._read()
        elif chosen.value:
            self.dismiss(chosen.value.strip())
        else:
            self._say(f"{chosen.label}: {chosen.help}; choose another.")

    def action_up(self) -> None:
        if len(self._levels) == 1:
            self.dismiss(None)
            return
        self._levels.pop()
        self.query_one(Input).value = ""
        self._read()
