"""A form made from a plugin's options: a field each, with its range and its help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static

from falsefloor.api import Scalar
from falsefloor.errors import UsageError
from falsefloor.options import Option
from falsefloor.report.text import clean
from falsefloor.study.grammar import parse_value, show_value
from falsefloor.tui.widgets.tick import Tick


class OptionForm(Vertical):
    """Fields for options; `values` is what differs from the defaults, `problem` the first impossible one."""

    class Changed(Message):
        """A field changed."""

        def __init__(self, form: OptionForm) -> None:
            super().__init__()
            self.form = form

        @property
        def control(self) -> OptionForm:
            return self.form

    def __init__(
        self, options: Sequence[Option], given: Mapping[str, Scalar], *, owner: str, title: str
    ) -> None:
        super().__init__(classes="options")
        self._options, self._owner, self._title = tuple(options), owner, title
        self._given = dict(given)
        self._texts = {o.name: show_value(given.get(o.name, o.default)) for o in options}

    @property
    def owner(self) -> str:
        """The plugin whose options these are."""
        return self._owner

    def compose(self) -> ComposeResult:
        yield Static(clean(self._title), markup=False, classes="heading")
        if not self._options:
            yield Static("takes no parameters", markup=False, classes="help")
        for option in self._options:
            yield Horizontal(
                Static(clean(option.name), markup=False, classes="label"),
                self._field(option),
                Static(_told(option), markup=False, classes="help"),
                classes="row",
            )

    def _field(self, option: Option) -> Widget:
        value = self._given.get(option.name, option.default)
        if option.kinds == ("bool",) and not option.words:
            return Tick("", bool(value), id=f"o-{option.name}", compact=True)
        closed = option.choices or (option.words if not option.kinds else ())
        if closed:
            known = [(clean(str(choice)), choice) for choice in closed]
            return Select(known, value=value, allow_blank=False, id=f"o-{option.name}", compact=True)
        return Input(self._texts[option.name], id=f"o-{option.name}", compact=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._set(event.input, event.value)

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        event.stop()
        self._set(event.checkbox, show_value(event.value))

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        if isinstance(event.value, bool | int | float | str):
            self._set(event.select, show_value(event.value))

    def _set(self, field: Widget, text: str) -> None:
        name = (field.id or "").removeprefix("o-")
        if self._texts.get(name) != text:
            self._texts[name] = text
            field.set_class(self._problem_of(name) is not None, "-wrong")
            self.post_message(self.Changed(self))

    def _problem_of(self, name: str) -> str | None:
        option = next(option for option in self._options if option.name == name)
        try:
            option.check(_parsed(self._texts[name]), owner=self._owner)
        except UsageError as error:
            return str(error)
        return None

    @property
    def problem(self) -> str | None:
        return next((p for option in self._options if (p := self._problem_of(option.name))), None)

    @property
    def values(self) -> dict[str, Scalar]:
        """Parameters as they are to be written: those given before, and those that are not the default.

        Raises `UsageError` for a value that is not possible.
        """
        made: dict[str, Scalar] = {}
        for option in self._options:
            value = option.check(_parsed(self._texts[option.name]), owner=self._owner)
            if option.name in self._given or value != option.default:
                made[option.name] = value
        return made


def _parsed(text: str) -> Scalar:
    if not text.strip():
        raise UsageError("an empty field is not a value; give one.")
    return parse_value(text.strip())


def _told(option: Option) -> str:
    help_ = clean(option.help)
    return f"{help_} ({option.expects()})" if help_ else option.expects()


__all__ = ["OptionForm"]
