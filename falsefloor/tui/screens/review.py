"""The last page before a run: how many units, what they may cost, and the command that does the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.errors import FalsefloorError
from falsefloor.study.study import Study
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.costs import Cost, expect
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line


class Review(Page):
    """Everything is checked here as far as it can be without loading a model; Enter starts."""

    WHERE = "review"
    PARTS = ("words",)
    TITLE_TEXT = "new run: review"
    AUTO_FOCUS: ClassVar[str] = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = bindings("review")

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study
        self._problem: str | None = None
        self._cost: Cost | None = None
        self._said: list[str] = []
        self._started = False

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="review"):
            yield Static(id="words", markup=False)

    def opened(self) -> None:
        self._tell()

        def check() -> tuple[Study, list[str], Cost, str | None]:
            from falsefloor.worker.launch import check

            try:
                study, said = check(self._study)
            except FalsefloorError as error:
                return self._study, [], expect(self._study, self.bench.root), str(error)
            return study, said, expect(study, self.bench.root), None

        self.bench.do(check, self._checked)

    def _checked(self, result: tuple[Study, list[str], Cost, str | None]) -> None:
        if self.standing:
            self._study, self._said, self._cost, self._problem = result
            self._tell()

    def _tell(self) -> None:
        self.query_one("#words", Static).update(styled(self._lines()))

    def _lines(self) -> Iterator[Line]:
        study, clean, cost = self._study, self.bench.clean, self._cost
        if self._problem:
            yield ("This study cannot run yet", "error")
            yield (clean(self._problem), "")
            yield ("", "")
        elif cost is not None:
            yield ("Enter starts the run. It goes on when you leave.", "strong")
            yield ("", "")
        for name, items in (
            ("models", [m.name for m in study.models]),
            ("maskers", [s.name for s in study.maskers]),
            ("estimators", [e.name for e in study.estimators]),
            ("norms", list(study.norms)),
        ):
            yield (f"{len(items)} {name if len(items) > 1 else name[:-1]}", "heading")
            yield ("  " + clean(", ".join(items)), "")
        yield (f"inputs {clean(study.inputs) or 'of the model itself'}; seed {study.seed}", "")
        yield ("", "")
        for message in self._said:
            yield (clean(message), "suspect")
        if cost is None:
            yield ("Counting the work.", "dim")
        else:
            yield from self._costs(cost)
        yield ("", "")
        yield ("The command that does the same", "heading")
        yield (clean(study.command_line()), "strong")
        if any(m.use.startswith("python:") for m in study.models):
            yield ("", "")
            yield ("A python: model runs the code of its file on this machine.", "suspect")

    def _costs(self, cost: Cost) -> Iterator[Line]:
        inputs = (
            words.many(cost.inputs, "input") if cost.inputs is not None else "as many inputs as there are"
        )
        yield (f"{words.many(cost.cells, 'cell')} over {inputs}", "heading")
        if cost.units is not None:
            each = words.many(cost.estimates or 0, "estimate")
            yield (f"  {words.many(cost.units, 'unit')} of work, {each}; repaired gradients may add some", "")
        if cost.seconds is not None:
            whole = "" if cost.known == cost.cells else f" for the {cost.known} of {cost.cells} cells known"
            yield (f"  about {words.roughly(cost.seconds)}{whole}, going by run {cost.source}", "")
        else:
            yield (
                "  how long it takes is not known: no earlier run of this store measured these models",
                "dim",
            )

    def action_start(self) -> None:
        if self._problem:
            self.bench.say(self._problem, bad=True)
        elif not self._started and self._cost is not None:
            self._started = True
            self.bench.say("Starting.")
            self.bench.start_study(self._study)

    def action_copy_command(self) -> None:
        self.bench.copy(self._study.command_line(), "the command")


__all__ = ["Review"]
