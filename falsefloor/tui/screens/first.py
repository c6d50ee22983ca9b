"""For a newcomer: the first page, and the tour, in which the rows of a run explain themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from falsefloor.checks.verdicts import Place
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row
from falsefloor.report.text import Glyphs, clean
from falsefloor.study.units import is_masked
from falsefloor.tui import commands, words
from falsefloor.tui.screens.asking import Question
from falsefloor.tui.screens.page import Page
from falsefloor.tui.widgets.inputs import Options, Words
from falsefloor.tui.widgets.live_table import LiveTable

WORDS = (
    ("A floor that holds?", "heading"),
    ("", ""),
    ("A robustness score says: no input closer than r fools this model.", ""),
    ("Such scores can be false without any warning, for example when something hides the model's", ""),
    ("gradients. Here models are composed with such maskers, scores are put side by side, and each", ""),
    ("number is shown with whether it stands: refuted (with a point that anyone can replay), suspect,", ""),
    ("vacuous, or held.", ""),
    ("", ""),
)


class First(Page):
    """Offers the demo and a new run."""

    WHERE = "first"
    TITLE_TEXT = "welcome"
    AUTO_FOCUS: ClassVar[str] = "OptionList"

    def body(self) -> Iterable[Widget]:
        yield VerticalScroll(
            Words(self._words(), id="welcome"),
            Options(
                Option(
                    "d  See the demo: a digit classifier behind six masks and none; about a minute", id="demo"
                ),
                Option("n  Compose a new run with your own model", id="new_run"),
                Option("?  Help", id="help"),
                Option("q  Quit", id="quit"),
                compact=True,
                markup=False,
            ),
            Words([("", ""), (f"Runs are kept in {clean(str(self.bench.root))}", "dim")]),
            id="first",
        )

    def _words(self) -> list[tuple[str, str]]:
        """Paragraphs joined: the widget wraps them to the terminal's width."""
        paragraphs: list[tuple[str, str]] = []
        for text, tone in WORDS:
            if paragraphs and text and paragraphs[-1][0] and tone == paragraphs[-1][1]:
                paragraphs[-1] = (f"{paragraphs[-1][0]} {text}", tone)
            else:
                paragraphs.append((text, tone))
        return paragraphs

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "d":
            self._demo()

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id == "demo":
            self._demo()
        else:
            await self.app.run_action(f"app.{event.option.id}")

    def _demo(self) -> None:
        self.bench.say("Starting the demo; the first numbers come in a few seconds.")
        self.bench.tour_when_done = self.bench.first_tour()
        self.bench.start_study(commands.demo())


@dataclass(frozen=True)
class Step:
    """What is said, and where the cursor stands meanwhile."""

    title: str
    text: str
    row: Place | None = None
    label: str = ""


def steps(comparison: Comparison, glyphs: Glyphs) -> list[Step]:
    """Six, whatever the run holds: told with its own numbers where it has them."""
    return list(_steps(comparison, glyphs))


def _steps(said: Comparison, g: Glyphs) -> Iterator[Step]:
    bare = next((row for row in said.rows if not _masked(row)), None)
    false = next((row for row in said.rows if _masked(row) and row.verdict == "refuted"), None)
    floor, ceiling = _entry(bare, lower=True), _entry(bare, lower=False)
    yield Step(
        "A floor, estimated",
        f"{_told(floor, g, 'The number under the cursor')}: CLEVER looks at the model's gradients near an"
        f" input and concludes that no smaller change fools it. {g.about} says: estimated, no proof.",
        *_at(bare, floor),
    )
    yield Step(
        "A ceiling, found",
        f"{_told(ceiling, g, 'An attack')}: at this distance there is an input that does change the answer."
        " No true floor can lie above a ceiling. The model's distance lies between the two.",
        *_at(bare, ceiling),
    )
    told = _worst(false)
    mask = clean(false.subject.masker) if false else "a masker"
    yield Step(
        "Why the mask fools it",
        f"{_told(told, g, 'Here')}: the same model behind {mask}. Rounding its input makes its gradients zero"
        " nearly everywhere, so an estimate that trusts gradients sees a flat model, and rises to its cap.",
        *_at(false, told),
    )
    under = _entry(false, lower=False)
    yield Step(
        "What refutes it",
        f"{_told(under, g, 'The attack')}: the masked model is fooled as closely as before. A floor above"
        " that is false, with a point that anyone can replay: REFUTED, and a code says by which check.",
        *_at(false, under),
    )
    mended = _entry(false, lower=True, recovered=True)
    yield Step(
        "What recovered means",
        f"{_told(mended, g, 'A column named rec.')}: the same estimator with a repaired gradient, run where"
        f" the raw number is doubted. Compare it with the unmasked row's; {g.times}none is the multiple.",
        *_at(false, mended),
    )
    yield Step(
        "Where to go from here",
        "Enter opens a number with its pictures and evidence, w lists all warnings, F explains every code,"
        " n composes a run with your own model, and G shows this tour again.",
        *_at(false or bare, told or floor),
    )


def _masked(row: Row) -> bool:
    return any(is_masked(entry.series.stack) for entry in row.entries if entry is not None)


def _entry(row: Row | None, *, lower: bool, recovered: bool = False) -> Entry | None:
    found = [e for e in row.entries if e is not None and e.lower == lower] if row else []
    return next((e for e in found if (e.series.recovers is not None) == recovered), None)


def _worst(row: Row | None) -> Entry | None:
    found = [e for e in row.entries if e is not None and e.word == "refuted"] if row else []
    return found[0] if found else None


def _at(row: Row | None, entry: Entry | None) -> tuple[Place | None, str]:
    return (row.subject if row else None, entry.series.label if entry else "")


def _told(entry: Entry | None, glyphs: Glyphs, otherwise: str) -> str:
    if entry is None or entry.cell.radius is None:
        return otherwise
    return f"{''.join(entry.said(glyphs)[:2])} by {words.short_spec(entry.series.label)}"


class Tour(Question[None]):
    """Stands below the table, which it points into. Escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,right,down,n", "go(1)", "Next"),
        Binding("left,up,backspace", "go(-1)", "Back"),
        Binding("escape,q", "leave", "Skip"),
    ]

    def __init__(self, table: LiveTable, told: Sequence[Step]) -> None:
        super().__init__()
        self._table, self._steps, self._at = table, told, 0

    def compose(self) -> ComposeResult:
        with Vertical(id="tour"):
            yield Words(id="step")

    def on_mount(self) -> None:
        if self.query("#step"):
            self._show()

    def _show(self) -> None:
        step = self._steps[self._at]
        if step.row is not None:
            self._table.move_to(step.row, f"e:{step.label}" if step.label else None)
        keys = "enter goes on, left goes back, escape ends the tour"
        head = f"{self._at + 1} of {len(self._steps)}  {step.title}"
        self.query_one("#step", Words).tell([(head, "heading"), (step.text, ""), (keys, "dim")])

    def action_go(self, by: int) -> None:
        if self._at + by >= len(self._steps):
            self.dismiss(None)
        else:
            self._at = max(0, self._at + by)
            self._show()
