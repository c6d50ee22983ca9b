"""Small questions in the middle of the page: yes or no, a path, a form and a path."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from falsefloor.tui.commands import EXPORTS
from falsefloor.tui.widgets.inputs import Options


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
            yield Static(self._question, markup=False, classes="question")
            yield Static(self._text, markup=False)
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
            yield Static(self._question, markup=False, classes="question")
            yield Input(self._given, compact=True)
            where = f"A path, relative to {Path.cwd()}. " if self._path else ""
            yield Static(f"{where}Enter takes it, Escape leaves.", markup=False, classes="hint")

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
            yield Static(f"Export run {self._run} as", markup=False, classes="question")
            options = [Option(f"{form:<6}{text}", id=form) for form, text in EXPORTS.items()]
            yield Options(*options, compact=True, markup=False)
            yield Input(self._path("json"), compact=True)
            yield Static("Up and down choose, Enter goes to the path and then writes.", classes="hint")

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
