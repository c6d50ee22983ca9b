"""The last page before a run: how many units, what they may cost, and the command that does the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from falsefloor.errors import FalsefloorError
from falsefloor.report.text import clean, roughly
from falsefloor.study.study import Study
from falsefloor.tui import commands, words
from falsefloor.tui.actions import bindings
from falsefloor.tui.costs import Cost, expect
from falsefloor.tui.screens.page import Page
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.inputs import Words

SLOW = 2.0
"""Seconds after which it is said what takes so long."""


@dataclass(frozen=True)
class Checked:
    """What was found out about a study: the cost of what can run, or why it cannot; neither yet at first."""

    said: tuple[str, ...] = ()
    cost: Cost | None = None
    problem: str | None = None


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
        self._checked = Checked()
        self._started = self._slow = False

    def body(self) -> Iterable[Widget]:
        with VerticalScroll(id="review"):
            yield Words(id="words")

    def opened(self) -> None:
        self._tell()

        def check() -> Checked:
            try:
                series, said = commands.check(self._study)
            except FalsefloorError as error:
                return Checked(problem=str(error))
            return Checked(tuple(said), expect(self._study, series, self.bench.root))

        self.read(check, self._know)
        self.set_timer(SLOW, self._wait)

    def _wait(self) -> None:
        self._slow = True
        self._know(self._checked)

    def _know(self, checked: Checked) -> None:
        self._checked = checked
        self._tell()

    def _tell(self) -> None:
        self.put("words", self._lines())

    def _lines(self) -> Iterator[Line]:
        study, cost, problem = self._study, self._checked.cost, self._checked.problem
        if problem:
            yield ("This study cannot run yet", "error")
            yield (clean(problem), "")
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
        for message in self._checked.said:
            yield (clean(message), "suspect")
        if cost is not None:
            yield from self._costs(cost)
        elif not problem:
            yield ("Counting the work.", "dim")
            if self._slow:
                yield (
                    "Others' plugins are imported in a process of its own; one that hangs is stopped.",
                    "dim",
                )
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
            yield (f"  about {roughly(cost.seconds)}{whole}, going by run {cost.source}", "")
        else:
            uncounted = "how many inputs there are is known when they are loaded"
            unknown = "no earlier run of this store measured these models"
            why = unknown if cost.inputs is not None else uncounted
            yield (f"  how long it takes is not known: {why}", "dim")

    def action_start(self) -> None:
        if self._checked.problem:
            self.bench.say(self._checked.problem, bad=True)
        elif not self._started and self._checked.cost is not None:
            self._started = True
            self.bench.say("Starting.")
            self.bench.start_study(self._study)

    def action_copy_command(self) -> None:
        self.bench.copy(self._study.command_line(), "the command")
