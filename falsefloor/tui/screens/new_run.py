"""Compose a run: models, maskers, estimators, norms; everything can be typed, everything is explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import on
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

from falsefloor.api import Norm, Scalar
from falsefloor.errors import FalsefloorError, UsageError
from falsefloor.plugins import Catalogue, catalogue
from falsefloor.report.text import clean
from falsefloor.store.run_dir import RunDir
from falsefloor.study.file import read_study, write_study
from falsefloor.study.study import (
    DEFAULT_ESTIMATORS,
    DOMAIN,
    SETTINGS,
    EstimatorSpec,
    ModelSpec,
    StackSpec,
    Study,
)
from falsefloor.tui import choices, commands, drafts
from falsefloor.tui.actions import bindings
from falsefloor.tui.drafts import Draft
from falsefloor.tui.screens.asking import AskText, Picker
from falsefloor.tui.screens.page import Page
from falsefloor.tui.screens.spec_editor import SpecEditor
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.inputs import SpecList, Tick, Words
from falsefloor.tui.widgets.option_form import OptionForm

Spec = TypeVar("Spec")
KEEP = 0.5
"""Seconds after which what was typed is on disk."""
FIELDS, LISTS = ("model", "inputs"), ("maskers", "estimators")
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
MODELS = (
    "digits:mlp",
    "digits:cnn",
    "digits:linear",
    "digits:mlp-tanh",
    "digits:mlp-gelu",
    "python:",
    "export:",
)
INPUTS = ("digits:0-9", "digits:0-4", "npz:", "images:")
HELP = {
    "model": "SCHEME:REF: digits:mlp, python:net.py:build, export:net.pt2; several with spaces. ^f chooses.",
    "inputs": "What the models are asked about: digits:0-9, npz:batch.npz; empty: its own. ^f chooses.",
    "maskers": "What stands between input and gradient. Keep none: the ratio is taken to it. enter edits.",
    "estimators": "What is compared. Without an upper bound nothing is refuted: keep attack. enter edits.",
    "norms": "How distance is measured: largest change (linf), Euclidean (l2), sum of changes (l1).",
}
FORM = (*(one for one in SETTINGS if one.name not in HELP), *DOMAIN)


FIRST = Study(
    models=(ModelSpec("digits:mlp"),),
    inputs="digits:0-9",
    maskers=(StackSpec(), StackSpec.parse("staircase:c=255")),
    estimators=DEFAULT_ESTIMATORS,
)
"""What an empty form begins with: the smallest study in which something is refuted."""


class NewRun(Page):
    """One form from top to bottom; ctrl+r reviews and starts."""

    WHERE = "new"
    PARTS = ("form", "hint", "model", "inputs", "maskers", "estimators", "norms", "o-output", "domains")
    TITLE_TEXT = "new run"
    AUTO_FOCUS: ClassVar[str] = "#model"
    BINDINGS: ClassVar[list[BindingType]] = bindings("new")

    def __init__(self, given: Study | Draft | None = None) -> None:
        super().__init__()
        self._draft = given if isinstance(given, Draft) else None
        self._given = given.began() if isinstance(given, Draft) else given or FIRST
        self._kept = self._given
        self._written: Draft | None = None
        self._file = ""
        """The text of the study file that was loaded: saving keeps its comments."""
        self.catalogue: Catalogue | None = None

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="form", can_focus=False):
            yield from _row("model", Input(id="model", compact=True, suggester=SuggestFromList(MODELS)))
            yield from _row("inputs", Input(id="inputs", compact=True, suggester=SuggestFromList(INPUTS)))
            yield from _row("maskers", SpecList("masker", id="maskers"))
            yield from _row("estimators", SpecList("estimator", id="estimators"))
            boxes = [Tick(norm, id=f"norm-{norm}", compact=True) for norm in NORMS]
            yield from _row("norms", Horizontal(*boxes, id="norms"))
            yield OptionForm(FORM, _values(self._given), owner="a study", title="settings")
            yield Words(id="domains")
        yield Words(id="hint")

    def opened(self) -> None:
        self._fill(self._given)
        if self._draft is not None:
            self._restore(self._draft)
        self._written = self.draft()
        self.bench.do(lambda: catalogue(wait=False), self._know)
        self.set_interval(KEEP, self._keep)

    # What is composed is on disk a moment later: a crash anywhere loses nothing

    def draft(self) -> Draft:
        """The form as it stands, possible or not."""
        lists = {name: tuple(self.query_one(f"#{name}", SpecList).texts) for name in LISTS}
        norms = tuple(norm for norm in NORMS if self.query_one(f"#norm-{norm}", Tick).value)
        fields = {name: self.query_one(f"#{name}", Input).value for name in FIELDS}
        return Draft(self._kept.to_json(), fields, lists | {"norms": norms}, self.query_one(OptionForm).texts)

    def _restore(self, draft: Draft) -> None:
        for name in FIELDS:
            self.query_one(f"#{name}", Input).value = draft.fields.get(name, "")
        for name in LISTS:
            self.query_one(f"#{name}", SpecList).fill(draft.lists.get(name, ()))
        for norm in NORMS:
            self.query_one(f"#norm-{norm}", Tick).value = norm in draft.lists.get("norms", ())
        self.query_one(OptionForm).restore(draft.settings)

    def _keep(self) -> None:
        if self.standing and (draft := self.draft()) != self._written:
            self._written = self.bench.draft = draft
            self.bench.do(lambda: drafts.keep(self.bench.root, draft))

    def _know(self, found: Catalogue) -> None:
        self.catalogue = found
        if not found.whole:
            self.bench.do(catalogue, self._know)

    def _fill(self, study: Study) -> None:
        self._kept = study
        self.query_one("#model", Input).value = " ".join(model.use for model in study.models)
        self.query_one("#inputs", Input).value = study.inputs
        self.query_one("#maskers", SpecList).fill([str(stack) for stack in study.maskers])
        self.query_one("#estimators", SpecList).fill([str(e) for e in study.estimators])
        for norm in NORMS:
            self.query_one(f"#norm-{norm}", Tick).value = norm in study.norms
        self.query_one(OptionForm).put(_values(study))
        self.put("domains", _differing(study))

    def study(self) -> Study:
        """The study that the form describes. Raises `UsageError`."""
        kept = self._kept
        models = _taken(self._text("model").split(), [(m.use, m) for m in kept.models], ModelSpec)
        given: dict[str, Any] = self.query_one(OptionForm).values
        for one in DOMAIN:
            text = given.pop(one.name)
            if text or kept.domain(one) is not None:
                changed: dict[str, Any] = {one.name: text or None}
                models = [replace(model, **changed) for model in models]
        stacks, estimators = self.query_one("#maskers", SpecList), self.query_one("#estimators", SpecList)
        return Study(
            models=tuple(models),
            inputs=self._text("inputs"),
            maskers=tuple(_taken(stacks.texts, [(str(s), s) for s in kept.maskers], StackSpec.parse)),
            estimators=tuple(
                _taken(estimators.texts, [(str(e), e) for e in kept.estimators], EstimatorSpec.parse)
            ),
            norms=tuple(n for n in NORMS if self.query_one(f"#norm-{n}", Tick).value),
            **given,
        )

    def _text(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    # What a field means

    def on_descendant_focus(self, event: Any) -> None:
        name = (event.widget.id or "").split("-")[0]
        self.put("hint", [(HELP.get({"norm": "norms"}.get(name, name), ""), "dim")])

    # Editing

    @on(SpecList.Edit)
    def _edit(self, event: SpecList.Edit) -> None:
        target = event.control

        def edited(text: str | None) -> None:
            if text is not None and self.standing:
                target.put(event.index, text)
            target.focus()

        if self.catalogue is None:
            self.bench.say("Still looking at what is installed; try again in a moment.")
            return
        model = (self._text("model").split() or [""])[0]
        about = (model, self._text("inputs"))
        self.app.push_screen(SpecEditor(target.kind, event.text, self.catalogue, model=about), edited)

    # Keys

    def action_review(self) -> None:
        """To the last page, if the form describes a study."""
        try:
            study = self.study()
        except UsageError as error:
            self.bench.say(str(error), bad=True)
            return
        self.bench.show("review", study)

    def leaving(self) -> None:
        # Escape closes the page; what was composed is there when it is opened again.
        self._keep()

    def action_pick(self) -> None:
        """Choose what the field with the focus takes; a model, where none has it."""
        name = (self.focused.id or "") if self.focused else ""
        name = name if name in FIELDS else "model"
        field = self.query_one(f"#{name}", Input)

        def chosen(value: str | None) -> None:
            if value is not None and self.standing:
                field.value = value
                field.focus()

        level = choices.models if name == "model" else choices.inputs
        self.app.push_screen(
            Picker(f"Choose {'a model' if name == 'model' else 'the inputs'}", level), chosen
        )

    def action_recent(self) -> None:
        def chosen(path: str | None) -> None:
            if path is not None:
                run = RunDir(Path(path))
                self.read(lambda: (commands.study_of(run), ""), self._loaded)

        self.app.push_screen(
            Picker("Begin with the study of", lambda: choices.recent(self.bench.root)), chosen
        )

    def action_load(self) -> None:
        def given(path: str | None) -> None:
            if path is not None:
                self.read(lambda: _load(Path(path).expanduser()), self._loaded)

        self.app.push_screen(AskText("Load a study from", path=True), given)

    def _loaded(self, found: tuple[Study, str]) -> None:
        study, self._file = found
        self._fill(study)

    def action_save(self) -> None:
        try:
            text = write_study(self.study(), over=self._file)
        except UsageError as error:
            self.bench.say(str(error), bad=True)
            return

        def given(path: str | None) -> None:
            if path is not None:
                self.bench.do(lambda: _save(Path(path).expanduser(), text))

        self.app.push_screen(AskText("Save this study as", given="study.toml", path=True), given)


def _row(name: str, field: Widget) -> Iterable[Widget]:
    label = name.replace("_", " ")
    yield Horizontal(Words(label, classes="label"), Vertical(field, classes="field"), classes="row")


def _values(study: Study) -> dict[str, Scalar]:
    """What the form of settings shows; nothing for a domain in which the models differ."""
    own = {one.name: getattr(study, one.name) for one in FORM if one not in DOMAIN}
    return own | {one.name: study.domain(one) or "" for one in DOMAIN}


def _differing(study: Study) -> Iterator[Line]:
    """The domains in which the models differ: kept as they are until the form gives one to all."""
    for one in DOMAIN:
        if study.domain(one) is None:
            texts = [replace(study, models=(model,)).domain(one) or "its own" for model in study.models]
            own = "; ".join(f"{m.name} {text}" for m, text in zip(study.models, texts, strict=True))
            yield (clean(f"{one.name} by model: {own}. A value above is taken for all."), "dim")


def _taken(
    texts: Sequence[str], known: Sequence[tuple[str, Spec]], parse: Callable[[str], Spec]
) -> list[Spec]:
    """What each text means: what the form began with, its label too, where the text is still the same."""
    left = list(known)
    made = []
    for text in texts:
        at = next((n for n, (name, _) in enumerate(left) if name == text), None)
        made.append(parse(text) if at is None else left.pop(at)[1])
    return made


def _load(path: Path) -> tuple[Study, str]:
    return read_study(path), path.read_text(encoding="utf-8")


def _save(path: Path, text: str) -> str:
    if path.exists():
        raise FalsefloorError(f"{path} exists already; name another file.")
    path.write_text(text, encoding="utf-8")
    return f"Written: {path}"
