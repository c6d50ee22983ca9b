"""Questions in the middle of the page: yes or no, a path, a form and a path, and lists to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Button, Input, OptionList
from textual.widgets.option_list import Option

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean
from falsefloor.tui.apart import apart
from falsefloor.tui.choices import Choice
from falsefloor.tui.commands import EXPORTS
from falsefloor.tui.widgets.inputs import Options, Words


class Question(ModalScreen[ScreenResultType]):
    """In the middle of the page, until it is answered or left; what is pressed after that is for nobody."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def action_leave(self) -> None:
        self.dismiss(None)


class Palette(CommandPalette):
    """All actions by their names. A second Enter in the same moment does not close the page below, too; and
    where the terminal leaves its list no room, a page up or down is none: Textual's has no line to go to."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):
            super()._action_command_list(action)

    def dismiss(self, result: None = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()


class Confirm(Question[bool]):
    """Yes or no. What the question leads to cannot be undone, so Enter alone means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
        Binding("left,right", "turn", show=False),
    ]

    def __init__(self, question: str, text: str, yes: str) -> None:
        super().__init__()
        self._question, self._text, self._yes = question, text, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Words(self._question, classes="question")
            yield Words(self._text)
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button(f"{self._yes} (y)", id="yes", variant="error", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_turn(self) -> None:
        self.focus_next()


class AskText(Question[str | None]):
    """A line of text; nothing is an answer too, where it is not a path."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave")]

    def __init__(self, question: str, *, given: str = "", path: bool = False) -> None:
        super().__init__()
        self._question, self._given, self._path = question, given, path

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Words(self._question, classes="question")
            yield Input(self._given, compact=True)
            where = f"A path, relative to {Path.cwd()}. " if self._path else ""
            yield Words(f"{where}Enter takes it, Escape leaves.", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() or not self._path:
            self.dismiss(event.value.strip())


class AskExport(Question[tuple[str, str] | None]):
    """What to write, and where."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave")]

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Words(f"Export run {self._run} as", classes="question")
            options = [Option(f"{form:<9}{text}", id=form) for form, text in EXPORTS.items()]
            yield Options(*options, compact=True, markup=False)
            yield Input(self._path("json"), compact=True)
            yield Words("Up and down choose, Enter goes to the path and then writes.", classes="hint")

    def _path(self, form: str) -> str:
        return f"falsefloor-{self._run}" + ("" if form == "run" else f".{form}")

    def on_mount(self) -> None:
        for options in self.query(OptionList):
            options.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        for field in self.query(Input):
            field.value = self._path(event.option.id or "json")

    def on_option_list_option_selected(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        options = self.query_one(OptionList)
        form = list(EXPORTS)[options.highlighted or 0]
        if event.value.strip():
            self.dismiss((form, event.value.strip()))


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
            yield Words(self._question, classes="question")
            yield Input(placeholder="type to narrow", compact=True)
            yield Options(compact=True, markup=False)
            yield Words("Reading.", id="said", classes="hint")

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
        self.query_one("#said", Words).tell(text)

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
