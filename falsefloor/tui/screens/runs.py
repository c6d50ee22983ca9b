"""All runs of the store: what state they are in, what they found, and what can be done with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType

from falsefloor.errors import StoreError, UsageError
from falsefloor.report.text import Glyphs, clean, outcome, roughly, share, size
from falsefloor.store.run_dir import RunDir, list_dirs
from falsefloor.store.standing import RunInfo
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.tui import commands, words
from falsefloor.tui.actions import Action, bindings
from falsefloor.tui.screens.asking import AskText
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.screens.page import OfRun
from falsefloor.tui.snapshot import LATER, RunLine, RunList
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column, Row
from falsefloor.tui.widgets.live_table import LiveTable

COLUMNS = (
    Column("run", "run", frozen=True),
    Column("state", "state"),
    Column("bar", "done"),
    Column("left", "left", "right"),
    Column("age", "age", "right"),
    Column("tag", "tag", widest=16),
    Column("refuted", "refuted", "right"),
    Column("suspect", "suspect", "right"),
    Column("held", "held", "right"),
    Column("failed", "failed", "right"),
    Column("cancelled", "cancelled", "right"),
    Column("planned", "planned", "right"),
    Column("took", "took", "right"),
    Column("size", "disk", "right"),
    Column("models", "models"),
)
TONES = {
    "running": "live",
    "lost": "error",
    "unreadable": "error",
    "failed": "error",
    "cancelled": "dim",
    "done": "",
}
READ = 0.3
"""Seconds that reading runs may take before those that are read are shown."""
BAR = 8
"""Cells of a bar."""


class Runs(OfRun, ListPage[RunLine]):
    """Newest first; Enter watches one."""

    WHERE = "runs"
    TITLE_TEXT = "runs"
    COLUMNS = COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self._list = RunList()
        self._known = False
        self._columns: Sequence[Column] = COLUMNS
        self._first: RunDir | None = None
        """The run that another one is to be compared with."""

    def opened(self) -> None:
        self._load()
        self.set_interval(1.0, self._load)

    def _load(self) -> None:
        if self.reading or not self.standing:
            return
        root, gone = self.bench.root, frozenset(self.bench.deleted)

        def read() -> tuple[tuple[RunLine, ...], list[Row], str]:
            try:
                lines = self._list.take([run for run in list_dirs(root) if run.id not in gone], seconds=READ)
            except (StoreError, OSError) as error:
                return (), [], str(error)
            # What no run has anything to say of takes no room.
            told = {name for line in lines for name, cell in self.cells(line).items() if cell.text}
            self._columns = tuple(one for one in COLUMNS if one.key in told or one in COLUMNS[:3])
            return lines, self.rows({line.run.id: line for line in lines}), ""

        self.read(read, self._show)

    def _show(self, read: tuple[tuple[RunLine, ...], list[Row], str]) -> None:
        lines, rows, problem = read
        if problem:
            # What was read last stays, and the next look tries again.
            self.head([(clean(problem), "refuted")])
            return
        self._known = True
        self.show({line.run.id: line for line in lines}, rows)
        if any(line.problem == LATER for line in lines):
            self.set_timer(0.05, self._load)
        live = sum(line.status == "running" for line in lines)
        total = sum(line.size for line in lines)
        first = self._first
        self.head(
            [
                (f"{first.id} with {self.bench.glyphs.ellipsis} (c)" if first else "", "strong"),
                (words.many(len(lines), "run"), ""),
                (f"{live} under way" if live else "", "live"),
                (f"{size(total)} on disk", "quiet"),
                (
                    f"{len(self.bench.deleted)} deleted when the app closes" if self.bench.deleted else "",
                    "quiet",
                ),
            ]
        )

    def cells(self, line: RunLine) -> Mapping[str, Cell]:
        info, run = line.info, line.run.id
        made = {
            "run": Cell(clean(run), "", run),
            "state": Cell(line.status, TONES.get(line.status, ""), line.status),
        }
        if info is None:
            return made | {"models": Cell(clean(line.problem), "dim")}
        age, study, units = max(0.0, time.time() - info.started), _study(info), info.units()
        models = ", ".join(model.name for model in study.models) if study else ""
        verdicts = {
            word: (info.counts.get(word, 0), word) for word in ("refuted", "suspect", "held", "failed")
        }
        counted = verdicts | {state: (units[state], "dim") for state in ("cancelled", "planned")}
        return {
            **made,
            "bar": Cell(_bar(units, self.bench.glyphs), "", float(info.units_done)),
            "left": Cell(roughly(info.left) if info.left is not None else "", "live", info.left),
            "age": Cell(roughly(age), "dim", age),
            "tag": Cell(clean(info.tag), "", info.tag or None),
            **{key: Cell(f"{n:,}" if n else "", style, float(n)) for key, (n, style) in counted.items()},
            "took": Cell(roughly(info.seconds), "dim", info.seconds),
            "size": Cell(size(line.size), "dim", float(line.size)),
            "models": Cell(clean(models), "dim", models),
        }

    def columns(self) -> Sequence[Column]:
        return self._columns

    def tags(self, line: RunLine) -> tuple[tuple[str, str], ...]:
        counts = line.info.counts if line.info else {}
        return (("verdict", " ".join(word for word, count in counts.items() if count)),)

    def about(self, line: RunLine | None) -> Iterator[Line]:
        if line is None:
            none = (
                "No run passes; escape shows all."
                if self.found
                else "There are no runs here yet: n composes one."
            )
            yield (none if self._known else "Reading.", "dim")
            return
        info = line.info
        if said := line.problem or (info.error if info else ""):
            yield (clean(said), "error")
        if line.status == "lost":
            yield ("Its worker is gone; space resumes it where it stopped.", "error")
        elif line.status == "done" and info is not None and info.units_failed:
            yield ("space tries again what failed.", "suspect")
        if info is not None:
            planned = info.units()["planned"]
            waiting = f", {planned} planned" if planned else ""
            yield (f"{share(info.units())}{waiting}; {outcome(info.counts)}", "")
        if info is not None and (study := _study(info)) is not None:
            yield (clean(f"maskers {', '.join(stack.name for stack in study.maskers)}"), "")
            estimators = ", ".join(estimator.name for estimator in study.estimators)
            yield (clean(f"estimators {estimators}; norms {', '.join(study.norms)}"), "")
        yield (clean(str(line.run.path)), "dim")

    # Keys

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        if (line := self.current) is not None:
            self.bench.open_run(line.run)

    @property
    def spoken_of(self) -> RunLine | None:
        return self.current

    def action_delete(self) -> None:
        """Take a run out of the list; it goes when the app closes, and can be taken back till then."""
        if (line := self.current) is None:
            return
        run = line.run
        if run.is_alive():
            self.bench.say(f"Run {run.id} is being computed; cancel it first (x).", bad=True)
        else:
            self.bench.deleted[run.id] = run
            self.bench.say(f"Run {run.id} goes when the app closes; u takes it back.")
        self._load()

    def action_undo(self) -> None:
        if self.bench.deleted:
            run, _ = self.bench.deleted.popitem()
            self.bench.say(f"Run {run} stays.")
        self._load()

    def action_tag(self) -> None:
        if (line := self.current) is None:
            return

        def given(tag: str | None) -> None:
            if tag is not None:
                self.bench.do(lambda: commands.retag(line.run, tag), lambda _: self._load())

        now = line.info.tag if line.info else ""
        self.app.push_screen(AskText(f"Tag of run {line.run.id}", given=now), given)

    def action_reuse(self) -> None:
        """Compute a run's study anew as another run, which takes over what did not change."""
        if (line := self.current) is not None:
            run = line.run
            self.bench.do(
                lambda: commands.study_of(run), lambda study: self.bench.start_study(study, reuse=run)
            )

    def action_compare(self) -> None:
        """Here, and then on another run."""
        line = self.current
        if line is None:
            return
        if self._first is None or self._first == line.run:
            self._first = None if self._first == line.run else line.run
            self.bench.say(
                f"c on another run compares it with {line.run.id}." if self._first else "Not compared."
            )
        else:
            first, self._first = self._first, None
            self.bench.show("changes", first, line.run)
        self._load()

    def above(self) -> str:
        return super().above() or ("Compare none" if self._first else "")

    def up(self) -> None:
        if super().above():
            super().up()
        else:
            self._first = None
            self._load()

    def offers(self, action: Action) -> str:
        if action.name == "undo":
            return action.label if self.bench.deleted else ""
        if action.name == "compare" and self._first is not None:
            return f"Compare with {self._first.id}"
        return super().offers(action)

    def action_copy(self) -> None:
        if (line := self.current) is not None:
            self.bench.copy(line.run.id, "the run's id")


def _bar(units: Mapping[str, int], glyphs: Glyphs) -> str:
    """How much is done: a bar and the numbers."""
    full = BAR * units["done"] // max(1, units["total"])
    rest = "." if glyphs.floor == "o" else "░"
    return f"{glyphs.bar * full}{rest * (BAR - full)} {units['done']}/{units['total']}"


def _study(info: RunInfo) -> Study | None:
    """The study of a run, where this version can read it."""
    try:
        return study_from(info.study)
    except UsageError:
        return None
