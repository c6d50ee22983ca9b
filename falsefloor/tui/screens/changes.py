"""Two runs side by side: what changed from one to the other, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType

from falsefloor.report.changes import Change, Changes, compare_runs, told
from falsefloor.report.text import clean, tone, verdict_word
from falsefloor.store.reader import reading
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column

LISTED = 6
"""Cells of one run alone that are named."""


class ChangesPage(ListPage[Change]):
    """What changed comes first: a model before and after training, or one study on two machines."""

    WHERE = "changes"
    TITLE_TEXT = "compare"
    BINDINGS: ClassVar[list[BindingType]] = bindings("changes")

    def __init__(self, first: RunDir, second: RunDir) -> None:
        super().__init__()
        self._runs = (first, second)
        self._changes: Changes | None = None

    def opened(self) -> None:
        first, second = self._runs
        self.head([(f"{first.id} before, {second.id} after", ""), ("reading", "quiet")])

        def read() -> Changes:
            with reading(first) as one, reading(second) as other:
                return compare_runs(one, other)

        self.read(read, self._show)

    def _show(self, changes: Changes) -> None:
        self._changes = changes
        ordered = sorted(changes.changes, key=lambda one: not one.changed)
        self.show({str(n): one for n, one in enumerate(ordered)})
        moved, of = sum(one.changed for one in ordered), len(ordered)
        said = f"{moved} of {of} shared cells changed" if of else "no cell in common"
        self.head([(f"{self._runs[0].id} before, {self._runs[1].id} after", ""), (said, "strong")])

    def columns(self) -> Sequence[Column]:
        """What is the same in all cells takes no room: it is said beside."""
        found = self.found.values()
        return (
            Column("masker", "masker", frozen=True, widest=24),
            *[Column("model", "model", widest=24)] * (len({one.model for one in found}) > 1),
            *[Column("norm", "norm")] * (len({one.norm for one in found}) > 1),
            Column("estimator", "estimator", widest=20),
            Column("before", "before", "right"),
            Column("after", "after", "right"),
            Column("ratio", "ratio", "right"),
            Column("change", "what changed"),
        )

    def cells(self, one: Change) -> Mapping[str, Cell]:
        g, said = self.bench.glyphs, told(one, self.bench.glyphs)
        before = g.radius(one.before, claim=one.claim, capped=one.capped_before)
        after = g.radius(one.after, claim=one.claim, capped=one.capped_after)
        return {
            "masker": Cell(words.short_spec(one.masker), "", one.masker),
            "model": Cell(clean(one.model), "dim", one.model),
            "norm": Cell(one.norm, "dim", one.norm),
            "estimator": Cell(words.short_spec(one.estimator), "", one.estimator),
            "before": Cell(before + g.mark(one.verdict_before), tone(one.verdict_before), one.before),
            "after": Cell(after + g.mark(one.verdict_after), tone(one.verdict_after), one.after),
            "ratio": Cell(g.ratio(one.ratio), "strong" if one.changed else "dim", one.ratio),
            "change": Cell(said, "" if one.changed else "dim", said),
        }

    def tags(self, one: Change) -> tuple[tuple[str, str], ...]:
        return (("verdict", f"{one.verdict_before} {one.verdict_after}"),)

    def about(self, one: Change | None) -> Iterator[Line]:
        if one is not None:
            g = self.bench.glyphs
            yield (
                f"{clean(one.estimator)} on {clean(one.model)} behind {clean(one.masker)}, {one.norm}",
                "heading",
            )
            for when, run, radius, capped, verdict in (
                ("before", self._runs[0], one.before, one.capped_before, one.verdict_before),
                ("after", self._runs[1], one.after, one.capped_after, one.verdict_after),
            ):
                shown = g.radius(radius, claim=one.claim, capped=capped)
                yield (f"{when:<7}{shown}  {verdict_word(verdict)}  (run {run.id})", tone(verdict))
            yield (told(one, g), "strong" if one.changed else "dim")
            yield (f"on {words.many(one.shared, 'input')} that both runs have", "dim")
        found = self._changes
        if found is None:
            yield ("Reading both runs.", "dim")
            return
        if not found.changes:
            yield ("The runs have no cell in common: other maskers, norms or estimators.", "")
        yield from ((clean(note), "") for note in found.notes)
        for run, keys in zip(self._runs, (found.only_first, found.only_second), strict=True):
            for key in keys[:LISTED]:
                yield (f"only in {run.id}: {clean(' '.join(part for part in key if part))}", "dim")
            if len(keys) > LISTED:
                yield (f"only in {run.id}: {len(keys) - LISTED} more", "dim")

    def action_copy(self) -> None:
        first, second = self._runs
        self.bench.copy(f"falsefloor compare {first.id} {second.id}", "the command")
