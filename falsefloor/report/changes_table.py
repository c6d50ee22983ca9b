"""Two runs side by side for a terminal: what changed, cell by cell, and in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.changes import Change, Changes, Key
from falsefloor.report.listings import Listing
from falsefloor.report.text import Glyphs, clean, glyphs_for

LISTED = 5
"""Cells of one run alone that are named."""


@dataclass(frozen=True)
class ChangesTable:
    """A rich renderable of `compare RUN RUN`."""

    changes: Changes
    first: str
    second: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Listing | Text]:
        glyphs = glyphs_for(options.encoding)
        found = self.changes.changes
        models = len({change.model for change in found}) > 1
        norms = len({change.norm for change in found}) > 1
        heads = ("subject", "estimator", clean(self.first), clean(self.second), "ratio", "what changed")
        rows = tuple(_row(change, glyphs, models=models, norms=norms) for change in found)
        if rows:
            yield Listing(heads, rows)
        for name, keys in ((self.first, self.changes.only_first), (self.second, self.changes.only_second)):
            for key in keys[:LISTED]:
                yield Text(f"only in {clean(name)}: {_name(key)}", style="dim")
            if len(keys) > LISTED:
                yield Text(f"only in {clean(name)}: {len(keys) - LISTED} more", style="dim")
        moved = sum(change.changed for change in found)
        same = len(found) - moved
        yield Text("")
        if not found:
            yield Text("The runs have no cell in common: other maskers, norms or estimators.")
        else:
            yield Text(f"{moved} of {len(found)} shared cells changed, {same} did not.", style="bold")


def _row(change: Change, glyphs: Glyphs, *, models: bool, norms: bool) -> tuple[str, ...]:
    parts = [change.model] * models + [change.masker] + [change.norm] * norms
    before, after = (
        glyphs.radius(value, claim=change.claim) for value in (change.before, change.after)
    )  # fmt: skip
    return (
        " ".join(map(clean, parts)),
        clean(change.estimator),
        before,
        after,
        glyphs.ratio(change.ratio),
        _words(change, glyphs),
    )


def _words(change: Change, glyphs: Glyphs) -> str:
    words = []
    if change.verdict_before != change.verdict_after:
        words.append(f"{change.verdict_before or glyphs.dash} > {change.verdict_after or glyphs.dash}")
    elif change.kept < change.shared:
        words.append(f"other verdict on {change.shared - change.kept}/{change.shared}")
    if change.apart:
        words.append(f"intervals apart on {change.apart}/{change.shared}")
    if not change.shared:
        words.append("no input in common")
    return ", ".join(words) or "no change"


def _name(key: Key) -> str:
    return " ".join(clean(part) for part in key if part)


__all__ = ["ChangesTable"]
