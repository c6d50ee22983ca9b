"""A form made from options, a plugin's or a study's: a field each, with its range and its help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.markup import escape
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select

from falsefloor.api import Scalar
from falsefloor.errors import UsageError
from falsefloor.options import Option
from falsefloor.report.text import clean
from falsefloor.study.grammar import read_option, show_option
from falsefloor.tui.widgets.inputs import Tick, Words


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
        self._fields: dict[str, tuple[Widget, Words]] = {}
        self._texts = {o.name: show_option(o, given.get(o.name, o.default)) for o in options}

    @property
    def owner(self) -> str:
        """Whose options these are."""
        return self._owner

    def put(self, given: Mapping[str, Scalar]) -> None:
        """Other parameters, in the fields that stand here; those that are as they were are left alone."""
        self._given = dict(given)
        for option in self._options:
            text = show_option(option, given.get(option.name, option.default))
            if text == self._texts[option.name]:
                continue
            self._texts[option.name] = text
            self._enter(option, text)

    def _enter(self, option: Option, text: str) -> None:
        if option.name not in self._fields:
            return  # it is being put up, from the same texts
        field, _ = self._fields[option.name]
        with self.prevent(Input.Changed, Checkbox.Changed, Select.Changed):
            if isinstance(field, Select):
                field.set_options(_choices(option, text))
                field.value = text
            elif isinstance(field, Tick):
                field.value = text == "true"
            elif isinstance(field, Input):
                field.value = text
        self._judge(option)

    def compose(self) -> ComposeResult:
        yield Words(clean(self._title), classes="heading")
        if not self._options:
            yield Words("takes no parameters", classes="help")
        for option in self._options:
            pair = self._fields[option.name] = (self._field(option), Words(classes="help"))
            self._judge(option)
            yield Horizontal(Words(clean(option.name), classes="label"), *pair, classes="row")

    def _field(self, option: Option) -> Widget:
        text, name = self._texts[option.name], f"o-{option.name}"
        if option.kinds == ("bool",) and not option.words:
            return Tick("", text == "true", id=name, compact=True)
        if _closed(option):
            return Select(_choices(option, text), value=text, allow_blank=False, id=name, compact=True)
        return Input(text, id=name, compact=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._set(event.input, event.value)

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        event.stop()
        self._set(event.checkbox, "true" if event.value else "false")

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._set(event.select, str(event.value))

    def _set(self, field: Widget, text: str) -> None:
        option = next(option for option in self._options if field.id == f"o-{option.name}")
        if self._texts[option.name] != text:
            self._texts[option.name] = text
            self._judge(option)
            self.post_message(self.Changed(self))

    def _judge(self, option: Option) -> None:
        """Say beside the field what it is for, or what it must be."""
        if option.name not in self._fields:
            return  # it is being put up, from the same texts
        wrong = self._problem_of(option) is not None
        field, told = self._fields[option.name]
        field.set_class(wrong, "-wrong")
        told.set_class(wrong, "-wrong")
        told.tell(clean(f"not possible: expected {option.expects()}" if wrong else _told(option)))

    def _value(self, option: Option) -> Scalar:
        return read_option(option, self._texts[option.name], owner=self._owner)

    def _problem_of(self, option: Option) -> str | None:
        try:
            self._value(option)
        except UsageError as error:
            return str(error)
        return None

    @property
    def problem(self) -> str | None:
        return next((p for option in self._options if (p := self._problem_of(option))), None)

    @property
    def texts(self) -> dict[str, str]:
        """What stands in the fields, possible or not."""
        return dict(self._texts)

    def restore(self, texts: Mapping[str, str]) -> None:
        """Put texts into the fields that still exist, possible or not."""
        for option in self._options:
            text = texts.get(option.name, self._texts[option.name])
            if text != self._texts[option.name]:
                self._texts[option.name] = text
                self._enter(option, text)

    @property
    def values(self) -> dict[str, Scalar]:
        """Parameters as they are to be written: those given before, and those that are not the default.

        Raises `UsageError` for a value that is not possible.
        """
        made: dict[str, Scalar] = {}
        for option in self._options:
            value = self._value(option)
            if option.name in self._given or value != option.default:
                made[option.name] = value
        return made


def _closed(option: Option) -> tuple[Scalar, ...]:
    """The only values it takes, where they can be counted."""
    return option.choices or (option.words if not option.kinds else ())


def _choices(option: Option, text: str) -> list[tuple[str, str]]:
    """What a list of choices offers: what was typed and is none of them stands there too, as it is."""
    known = [show_option(option, choice) for choice in _closed(option)]
    return [(escape(clean(one)), one) for one in dict.fromkeys((*known, text))]


def _told(option: Option) -> str:
    plain = option.kinds in (("str",), ("bool",)) and not option.choices
    return option.help if option.help and plain else f"{option.help} ({option.expects()})".strip()
