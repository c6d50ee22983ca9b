"""What one cell says: its number with its marks, its verdict, why; and that cell from one line an input."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from falsefloor.checks.verdicts import MISCLASSIFIED, STATES, VERDICTS, is_lower, worst
from falsefloor.jsonable import as_number
from falsefloor.report.text import Glyphs, clean, tone
from falsefloor.store.cells import REASONS, Cell, is_wrong, middle, of_right
from falsefloor.store.rows import SeriesRow


@dataclass(frozen=True)
class Brief:
    """One input's estimate, as far as a table needs it. correct: whether it is classified as labelled."""

    status: str
    verdict: str | None
    reason: str
    radius: float | None
    capped: bool
    correct: bool

    @property
    def word(self) -> str:
        """The verdict, or what became of the estimate instead."""
        return self.verdict or "unchecked" if self.status == "ok" else self.status


def brief(record: Mapping[str, Any]) -> Brief:
    """Of a record as in the JSON of a run, whoever wrote it and whatever it lacks."""
    ok = record.get("status", "ok") == "ok"
    radius = as_number(record.get("radius"))
    return Brief(
        status=str(record.get("status", "ok")),
        verdict=record.get("verdict"),
        reason=str(record.get("reason" if ok else "error") or ""),
        radius=radius if ok and radius is not None and not math.isnan(radius) else None,
        capped=bool(record.get("capped")),
        correct=not is_wrong(record.get("label"), record.get("predicted")),
    )


def summary(series: int, briefs: Sequence[Brief]) -> Cell:
    """The cell of these inputs. The median is over those that are classified as labelled."""
    counts = Counter(one.word for one in briefs)
    state = next((word for word in STATES if counts[word]), None)
    came = [one for one in briefs if one.status == "ok"]
    right = [one for one in came if one.correct]
    kept = of_right(counts, len(came) - len(right))
    gravest = next((word for word in VERDICTS if kept[word]), None)
    radius, capped = middle((one.radius, one.capped) for one in right if one.radius is not None)
    return Cell(
        series=series,
        total=len(briefs),
        radius=radius,
        capped=capped,
        verdicts=dict(counts),
        reason=_most(one.reason for one in right if one.word == gravest),
        live=None,
        correct=len(right),
        judged=len(came),
        failure=_most(one.reason for one in briefs if one.status == state),
    )


def _most(reasons: Iterable[str]) -> str:
    """The most frequent among the first, the first in the alphabet among equals."""
    found = Counter(list(reasons)[:REASONS])
    return min(found, key=lambda reason: (-found[reason], reason), default="")


def grouped(
    records: Iterable[Mapping[str, Any]], *keys: str
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Records by what they say under these keys, in the order in which that is met."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(tuple(record[key] for key in keys), []).append(record)
    return found


class Said(NamedTuple):
    """What a cell shows: a number or a state, the marks behind it, and the name of its looks."""

    text: str
    mark: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Entry:
    """One estimator on one subject: what was planned, and what is there of it.

    ratio: its number as a multiple of the unmasked subject's; None where it has none, and for upper bounds.
    """

    series: SeriesRow
    cell: Cell
    ratio: float | None = None

    @property
    def lower(self) -> bool:
        return is_lower(self.series.claim)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Verdict or state to how many inputs; of one that is misclassified nothing is said."""
        return dict(of_right(self.cell.verdicts, self.cell.judged - self.cell.correct))

    @cached_property
    def word(self) -> str:
        """The gravest verdict or state; an unknown one where there is no other; empty at first."""
        counts = self.counts
        if not counts and self.cell.judged:
            return "unchecked"
        return worst(counts) or min(counts, default="")

    @property
    def complete(self) -> bool:
        """Whether every planned estimate has come in, in whatever state."""
        return 0 < self.cell.total <= sum(self.cell.verdicts.values())

    @property
    def count(self) -> int:
        """On how many inputs it is so, of how many that came back."""
        return self.counts.get(self.word, 0)

    @property
    def of(self) -> int:
        return sum(self.counts.values())

    @property
    def reason(self) -> str:
        """The most frequent reason of that verdict or state."""
        if self.word in STATES:
            return clean(self.cell.failure)
        return clean(self.cell.reason) if self.counts else MISCLASSIFIED if self.cell.judged else ""

    @property
    def failed(self) -> int:
        return self.cell.verdicts.get("failed", 0)

    def said(self, glyphs: Glyphs) -> Said:
        """The number with its claim and, where it does not stand, its mark; or where the estimate is."""
        if glyphs not in self._said:
            self._said[glyphs] = self._say(glyphs)
        return self._said[glyphs]

    @cached_property
    def _said(self) -> dict[Glyphs, Said]:
        return {}

    def _say(self, glyphs: Glyphs) -> Said:
        cell = self.cell
        if cell.radius is None and cell.live is not None:
            share, moving = cell.live
            known = moving is not None and math.isfinite(moving)
            shown = f"{glyphs.radius(moving, claim=self.series.claim)} " if known else ""
            return Said(f"{shown}{share:.0%}", tone="live")
        if cell.radius is None:
            came = self.word in STATES
            return Said(self.word if came else glyphs.none, tone=tone(self.word) if came else "unchecked")
        verdict = next((word for word in VERDICTS if word in self.counts), None)
        mark = glyphs.mark(verdict) + glyphs.mark("failed") * bool(self.failed)
        shown = glyphs.radius(cell.radius, claim=self.series.claim, capped=cell.capped)
        return Said(shown, mark, tone(verdict) if mark else "")

    def shown(self, glyphs: Glyphs) -> str:
        """The same as text: the number with its marks."""
        return "".join(self.said(glyphs)[:2])
