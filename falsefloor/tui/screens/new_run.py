"""Compose a run: models, maskers, estimators, norms; everything can be typed, everything is explained."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from falsefloor.api import Norm
from falsefloor.errors import FalsefloorError, UsageError
from falsefloor.plugins import Catalogue, catalogue
from falsefloor.study.file import read_study, write_study
from falsefloor.study.study import DEFAULT_ESTIMATORS, RECOVER, EstimatorSpec, ModelSpec, StackSpec, Study
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.asking import AskPath
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.screens.spec_editor import SpecEditor
from falsefloor.tui.widgets.inputs import Tick
from falsefloor.tui.widgets.spec_list import SpecList

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
    "model": "SCHEME:REF: digits:mlp, python:net.py:build, export:net.pt2; several with spaces.",
    "inputs": "What the models are asked about: digits:0-9, npz:batch.npz; empty: the model's own.",
    "maskers": "What stands between input and gradient. Keep none: the ratio is taken to it. enter edits.",
    "estimators": "What is compared. Without an upper bound nothing is refuted: keep attack. enter edits.",
    "norms": "How distance is measured: largest change (linf), Euclidean (l2), sum of changes (l1).",
    "seed": "A whole number. The same study with the same seed gives the same numbers.",
    "chunk": "Inputs computed together; part of the study, so the same on every machine.",
    "device": "auto, cpu, cuda, mps.",
    "recover": "Whether suspect numbers are tried again with a repaired gradient: off, suspect, on.",
    "tag": "A word to find this run by.",
    "time_limit": "Seconds a unit of work may take; 0 stops only what shows no sign of life for an hour.",
}


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
    PARTS = ("form", "hint")
    TITLE_TEXT = "new run"
    AUTO_FOCUS: ClassVar[str] = "#model"
    BINDINGS: ClassVar[list[BindingType]] = bindings("new")

    def __init__(self, study: Study | None = None) -> None:
        super().__init__()
        self._given = study or FIRST
        self._kept = self._given
        self.catalogue: Catalogue | None = None

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="form", can_focus=False):
            yield from _row("model", Input(id="model", compact=True, suggester=SuggestFromList(MODELS)))
            yield from _row("inputs", Input(id="inputs", compact=True, suggester=SuggestFromList(INPUTS)))
            yield from _row("maskers", SpecList("masker", id="maskers"))
            yield from _row("estimators", SpecList("estimator", id="estimators"))
            boxes = [Tick(norm, id=f"norm-{norm}", compact=True) for norm in NORMS]
            yield from _row("norms", Horizontal(*boxes, id="norms"))
            yield from _row("seed", Input(id="seed", type="integer", compact=True))
            yield from _row("tag", Input(id="tag", compact=True))
            recover = Select([(r, r) for r in RECOVER], allow_blank=False, id="recover", compact=True)
            yield from _row("recover", recover)
            yield from _row(
                "device", Input(id="device", compact=True, suggester=SuggestFromList(("auto", "cpu")))
            )
            yield from _row("chunk", Input(id="chunk", type="integer", compact=True))
            yield from _row("time_limit", Input(id="time_limit", type="number", compact=True))
        yield Static(id="hint", markup=False)

    def opened(self) -> None:
        self._fill(self._given)
        self.bench.do(catalogue, self._know)

    def _know(self, found: Catalogue) -> None:
        self.catalogue = found

    def _fill(self, study: Study) -> None:
        self._kept = study
        texts = {
            "model": " ".join(model.use for model in study.models),
            "inputs": study.inputs,
            "seed": str(study.seed),
            "tag": study.tag,
            "device": study.device,
            "chunk": str(study.chunk),
            "time_limit": f"{study.time_limit:g}",
        }
        for name, text in texts.items():
            self.query_one(f"#{name}", Input).value = text
        self.query_one("#maskers", SpecList).fill([_stack(stack) for stack in study.maskers])
        self.query_one("#estimators", SpecList).fill([str(e) for e in study.estimators])
        for norm in NORMS:
            self.query_one(f"#norm-{norm}", Tick).value = norm in study.norms
        self.query_one("#recover", Select).value = study.recover

    def study(self) -> Study:
        """The study that the form describes. Raises `UsageError`."""
        kept = self._kept
        known = {model.use: model for model in kept.models}
        uses = self._text("model").split()
        labels = {_stack(stack): stack.label for stack in kept.maskers}
        names = {str(e): e.label for e in kept.estimators}
        return replace(
            kept,
            models=tuple(known.get(use, ModelSpec(use)) for use in uses),
            inputs=self._text("inputs"),
            maskers=tuple(
                _parse(text, labels.get(text, "")) for text in self.query_one("#maskers", SpecList).texts
            ),
            estimators=tuple(
                EstimatorSpec.parse(text, label=names.get(text, ""))
                for text in self.query_one("#estimators", SpecList).texts
            ),
            norms=tuple(n for n in NORMS if self.query_one(f"#norm-{n}", Tick).value),
            seed=_whole(self._text("seed"), "seed"),
            chunk=_whole(self._text("chunk"), "chunk"),
            device=self._text("device") or "auto",
            recover=str(self.query_one("#recover", Select).value),
            tag=self._text("tag"),
            time_limit=_number(self._text("time_limit")),
        )

    def _text(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    # What a field means

    def on_descendant_focus(self, event: Any) -> None:
        name = (event.widget.id or "").split("-")[0]
        self.query_one("#hint", Static).update(
            styled([(HELP.get({"norm": "norms"}.get(name, name), ""), "dim")])
        )

    # Editing

    @on(SpecList.Edit)
    def _edit(self, event: SpecList.Edit) -> None:
        target = event.control

        def edited(text: str | None) -> None:
            if text is not None:
                target.put(event.index, text)
            target.focus()

        if self.catalogue is None:
            self.bench.say("Still looking at what is installed; try again in a moment.")
            return
        self.app.push_screen(SpecEditor(target.kind, event.text, self.catalogue), edited)

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
        with suppress(UsageError):
            self.bench.draft = self.study()

    def action_load(self) -> None:
        def given(path: str | None) -> None:
            if path is not None:
                self.bench.do(lambda: read_study(Path(path).expanduser()), self._fill)

        self.app.push_screen(AskPath("Load a study from"), given)

    def action_save(self) -> None:
        try:
            text = write_study(self.study())
        except UsageError as error:
            self.bench.say(str(error), bad=True)
            return

        def given(path: str | None) -> None:
            if path is not None:
                self.bench.do(lambda: _save(Path(path).expanduser(), text))

        self.app.push_screen(AskPath("Save this study as", given="study.toml"), given)


def _row(name: str, field: Widget) -> Iterable[Widget]:
    label = name.replace("_", " ")
    yield Horizontal(
        Static(label, classes="label", markup=False), Vertical(field, classes="field"), classes="row"
    )


def _stack(stack: StackSpec) -> str:
    return "+".join(map(str, stack.layers)) or "none"


def _parse(text: str, label: str) -> StackSpec:
    return StackSpec((), label) if text == "none" else StackSpec.parse(text, label=label)


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} is a whole number; not {text!r}.") from None


def _number(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        raise UsageError(f"time limit is a number of seconds; not {text!r}.") from None


def _save(path: Path, text: str) -> str:
    if path.exists():
        raise FalsefloorError(f"{path} exists already; name another file.")
    path.write_text(text, encoding="utf-8")
    return f"Written: {path}"
