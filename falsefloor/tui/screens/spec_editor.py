"""One masker stack or one estimator: typed as a spec, or filled in in forms made from the options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option as Choice

from falsefloor.errors import FalsefloorError, UsageError
from falsefloor.options import Option, fill
from falsefloor.plugins import Catalogue, Described
from falsefloor.report.text import clean
from falsefloor.study.grammar import Spec, parse_spec, parse_stack
from falsefloor.tui.choices import modules
from falsefloor.tui.screens.asking import Picker, Question
from falsefloor.tui.widgets.inputs import Options, Words
from falsefloor.tui.widgets.option_form import OptionForm

AT = Option(
    "at",
    ("str",),
    "input",
    help="where it stands: input, logits, model, or the name of a submodule",
)
GRADIENTS = ("autograd", "straight-through", "secant", "auto")


class SpecEditor(Question[str | None]):
    """Typing narrows the list; Enter takes what is marked, then the forms, then Enter again is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+r", "done", "Done"),
        Binding("ctrl+n", "another", "Another layer"),
        Binding("ctrl+f", "place", "Where it stands"),
    ]

    def __init__(
        self, kind: str, text: str, catalogue: Catalogue, *, model: tuple[str, str] = ("", "")
    ) -> None:
        """model: its reference and that of its inputs, for the places where a masker can stand."""
        super().__init__()
        self._model = model
        self._kind, self._text, self._catalogue = kind, text, catalogue
        self._made: dict[tuple[int, str], OptionForm] = {}
        self._forms: list[OptionForm] = []

    def compose(self) -> ComposeResult:
        what = "A masker, or several joined by +" if self._kind == "masker" else "An estimator"
        with Vertical(classes="dialog wide"):
            yield Words(what, classes="question")
            yield Input(self._text, placeholder="type a name", id="spec", compact=True, select_on_focus=False)
            yield Options(id="names", compact=True, markup=False)
            yield Words(id="problem-line")
            yield VerticalScroll(id="forms", can_focus=False)
            more = "  ^n adds a layer  ^f chooses where it stands" if self._kind == "masker" else ""
            yield Words(f"enter or ^r done  tab to the fields  esc leaves{more}", classes="hint")

    async def on_mount(self) -> None:
        if self._standing:
            self.query_one("#spec", Input).focus()
            await self._read(self._text)

    @property
    def _standing(self) -> bool:
        """Whether it is whole: it may be closed while it is put up, or while a form in it is."""
        return self.is_attached and all(
            self.query(f"#{n}") for n in ("spec", "names", "forms", "problem-line")
        )

    # The text decides; the forms write into it

    def _specs(self, text: str) -> tuple[Spec, ...]:
        return parse_stack(text) if self._kind == "masker" else (parse_spec(text),)

    @on(Input.Changed, "#spec")
    async def _typed(self, event: Input.Changed) -> None:
        await self._read(event.value)

    async def _read(self, text: str) -> None:
        """Show the names that fit, and forms for the specs that are complete."""
        if not self._standing:
            return
        last = text.rpartition("+")[2] if self._kind == "masker" else text
        self._offer(last.partition(":")[0].strip() if ":" not in last else "", complete=":" in last)
        try:
            specs = self._specs(text) if text.strip() else ()
            rows = [self._catalogue.find(self._kind, spec.name) for spec in specs]
        except FalsefloorError as error:
            await self._lay((), ())
            self._say(str(error))
            return
        await self._lay(specs, rows)
        self._say(self._wrong(text))

    async def _lay(self, specs: Sequence[Spec], rows: Sequence[Described]) -> None:
        """A form a spec. One that is not needed is hidden: it is quick to show again while letters change."""
        stand = self.query_one("#forms", VerticalScroll)
        self._forms = []
        for n, (spec, row) in enumerate(zip(specs, rows, strict=True)):
            if (n, spec.name) in self._made:
                self._made[n, spec.name].put(spec.params)
            else:
                form = OptionForm(self._options(row), spec.params, owner=spec.name, title=_title(row, n))
                self._made[n, spec.name] = form
                await stand.mount(form)
                if not self._standing:
                    return
            self._forms.append(self._made[n, spec.name])
        for form in self._made.values():
            form.display = form in self._forms
        places = {form: n for (n, _), form in self._made.items()}
        stand.sort_children(key=lambda form: places.get(form, 0))  # type: ignore[call-overload]

    def _offer(self, begun: str, *, complete: bool) -> None:
        names = self.query_one("#names", OptionList)
        names.clear_options()
        rows = [row for row in self._catalogue.of(self._kind) if row.usable]
        spelt = {row.name for row in rows} | {row.spec for row in rows}
        found = [row for row in rows if begun.lower() in (row.name if row.plugin.own else row.spec).lower()]
        fitting = sorted(found, key=lambda row: not row.name.startswith(begun))
        names.display = not complete and begun not in spelt and bool(fitting)
        width = max((len(row.name) for row in fitting), default=0)
        for row in fitting:
            name = row.name if row.status == "healthy" else row.spec
            names.add_option(Choice(clean(f"{name:<{width}}  {row.summary}"), id=name))
        names.highlighted = 0 if fitting else None

    def _options(self, row: Described) -> tuple[Option, ...]:
        if self._kind == "masker":
            return (*row.options, AT)
        found = tuple(
            dict.fromkeys((*GRADIENTS, *(g.name for g in self._catalogue.of("gradient") if g.usable)))
        )
        gradient = Option(
            "gradient", ("str",), "autograd", help="where its gradients come from", choices=found, words=()
        )
        return (*row.options, gradient)

    def _wrong(self, text: str) -> str:
        """Why this cannot be used yet, or nothing."""
        try:
            for spec in self._specs(text):
                row = self._catalogue.find(self._kind, spec.name)
                fill(self._options(row), spec.params, owner=spec.name)
        except FalsefloorError as error:
            return str(error)
        return ""

    def _say(self, problem: str) -> None:
        if not self._standing:
            return
        line = self.query_one("#problem-line", Words)
        text = self.query_one("#spec", Input).value
        line.display = (
            bool(problem) and bool(text.strip()) and not self.query_one("#names", OptionList).display
        )
        line.tell(clean(problem))

    @on(OptionForm.Changed)
    def _filled(self) -> None:
        parts, problem = [], ""
        for form in self._forms:
            try:
                parts.append(str(Spec(form.owner, form.values)))
            except UsageError as error:
                problem = str(error)
        if not problem:
            with self.prevent(Input.Changed):
                self.query_one("#spec", Input).value = "+".join(parts)
        self._say(problem)

    # Choosing and leaving

    def on_key(self, event: object) -> None:
        names, key = self.query_one("#names", OptionList), getattr(event, "key", "")
        if names.display and self.query_one("#spec", Input).has_focus and key in ("down", "up"):
            (names.action_cursor_down if key == "down" else names.action_cursor_up)()

    @on(OptionList.OptionSelected, "#names")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self._take(event.option.id or "")

    def _take(self, name: str) -> None:
        spec = self.query_one("#spec", Input)
        head, plus, _ = spec.value.rpartition("+") if self._kind == "masker" else ("", "", "")
        spec.value = f"{head}{plus}{name}"
        spec.cursor_position = len(spec.value)
        spec.focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        names = self.query_one("#names", OptionList)
        if event.input.id == "spec" and names.display and names.highlighted is not None:
            self._take(names.get_option_at_index(names.highlighted).id or "")
        else:
            self.action_done()

    def action_another(self) -> None:
        spec = self.query_one("#spec", Input)
        if self._kind == "masker" and spec.value.strip():
            spec.value = f"{spec.value.strip()}+"
            spec.cursor_position = len(spec.value)
            spec.focus()

    def action_place(self) -> None:
        """Choose a submodule for the last layer: the model is loaded for that, in a process of its own."""
        if self._kind != "masker" or not self._forms:
            return
        form = self._forms[-1]

        def chosen(place: str | None) -> None:
            if place is not None:
                form.restore({"at": place})
                self._filled()

        model, inputs = self._model
        self.app.push_screen(Picker(f"A place in {model}", lambda: modules(model, inputs)), chosen)

    def action_done(self) -> None:
        text = self.query_one("#spec", Input).value.strip()
        wrong = self._wrong(text) or next((p for form in self._forms if (p := form.problem)), "")
        if wrong:
            line = self.query_one("#problem-line", Words)
            line.display = True
            line.tell(clean(wrong))
            return
        self.dismiss("+".join(map(str, self._specs(text))))


def _title(row: Described, n: int) -> str:
    return f"{n + 1}. {row.name}: {row.summary}" if row.summary else f"{n + 1}. {row.name}"
