"""Two runs side by side, cell by cell: a model before and after training, or one study on two machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.jsonable import as_number
from falsefloor.report.cells import Entry, brief
from falsefloor.report.listings import Listing
from falsefloor.report.text import Glyphs, clean, glyphs_for
from falsefloor.store.cells import Cell
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow

Key = tuple[str, str, str, str]
"""model (empty where each run has one), masker, norm, estimator's label"""
LISTED = 5
"""Cells of one run alone that are named."""


@dataclass(frozen=True)
class Change:
    """One cell in both runs. ratio: the second median over the first.

    apart: on how many of ``shared`` inputs the intervals do not overlap; without intervals, on how many the
    radii differ by more than 1e-5 relative. kept: on how many the verdict is the same.
    """

    model: str
    masker: str
    norm: str
    estimator: str
    claim: str
    before: float | None
    after: float | None
    ratio: float | None
    verdict_before: str | None
    verdict_after: str | None
    shared: int
    apart: int
    kept: int
    capped_before: bool = False
    capped_after: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.apart) or self.kept < self.shared or self.verdict_before != self.verdict_after


@dataclass(frozen=True)
class Changes:
    """The cells of both runs, and those that only one of them has."""

    changes: tuple[Change, ...]
    only_first: tuple[Key, ...]
    only_second: tuple[Key, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_runs(first: RunReader, second: RunReader) -> Changes:
    """What changed from the first run to the second. Inputs are matched by their number.

    Where each run has one model, whatever it is called, they are compared with each other.
    """
    rows = [{_key(s, named=_many(first, second)): s for s in reader.series()} for reader in (first, second)]
    cells = (first.cells(), second.cells())
    changes = tuple(
        _change(key, (rows[0][key], rows[1][key]), cells, (first, second))
        for key in rows[0]
        if key in rows[1]
    )
    return Changes(
        changes,
        tuple(key for key in rows[0] if key not in rows[1]),
        tuple(key for key in rows[1] if key not in rows[0]),
    )


def _many(*readers: RunReader) -> bool:
    return any(len({s.model for s in reader.series()}) > 1 for reader in readers)


def _key(series: SeriesRow, *, named: bool) -> Key:
    return (series.model if named else "", series.masker, series.norm, series.label)


def _change(
    key: Key,
    series: tuple[SeriesRow, SeriesRow],
    cells: tuple[dict[int, Cell], dict[int, Cell]],
    readers: tuple[RunReader, RunReader],
) -> Change:
    a, b = (found[one.id] for found, one in zip(cells, series, strict=True))
    records = [
        {record["input"]: record for record in reader.estimates(series=one.id)}
        for reader, one in zip(readers, series, strict=True)
    ]
    shared = [(records[0][n], records[1][n]) for n in records[0] if n in records[1]]
    names = [series[0].model, series[1].model]
    model = key[0] or (names[0] if names[0] == names[1] else f"{names[0]} > {names[1]}")
    ratio = b.radius / a.radius if a.radius and b.radius is not None and a.radius != float("inf") else None
    return Change(
        model,
        *key[1:],
        claim=series[0].claim,
        before=a.radius,
        after=b.radius,
        ratio=ratio,
        verdict_before=Entry(series[0], a).word or None,
        verdict_after=Entry(series[1], b).word or None,
        shared=len(shared),
        apart=sum(_apart(one, other) for one, other in shared),
        kept=sum(brief(one).word == brief(other).word for one, other in shared),
        capped_before=a.capped,
        capped_after=b.capped,
    )


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    radii = [as_number(record["radius"]) for record in (one, other)]
    if None in radii:
        return radii[0] is not radii[1]
    spans = [list(_span(record)) for record in (one, other)]
    reach = (
        1e-5 * max(abs(end) for span in spans for end in span if end != float("inf"))
        if _finite(spans)
        else 0.0
    )
    return spans[0][1] + reach < spans[1][0] or spans[1][1] + reach < spans[0][0]


def _finite(spans: list[list[float]]) -> bool:
    return any(end != float("inf") for span in spans for end in span)


def _span(record: Mapping[str, Any]) -> Iterator[float]:
    """The interval of a radius, which always holds the radius itself."""
    radius = as_number(record["radius"]) or 0.0
    ends = [end for end in map(as_number, record["interval"] or ()) if end is not None]
    yield min([radius, *ends])
    yield max([radius, *ends])


@dataclass(frozen=True)
class ChangesTable:
    """What changed, cell by cell, and in one sentence: a rich renderable."""

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
    return (
        " ".join(map(clean, parts)),
        clean(change.estimator),
        glyphs.radius(change.before, claim=change.claim, capped=change.capped_before),
        glyphs.radius(change.after, claim=change.claim, capped=change.capped_after),
        glyphs.ratio(change.ratio),
        told(change, glyphs),
    )


def told(change: Change, glyphs: Glyphs) -> str:
    """What changed, in words."""
    words = []
    if change.verdict_before != change.verdict_after:
        words.append(
            f"{clean(change.verdict_before or glyphs.none)} > {clean(change.verdict_after or glyphs.none)}"
        )
    elif change.kept < change.shared:
        words.append(f"other verdict on {change.shared - change.kept}/{change.shared}")
    if change.apart:
        words.append(f"intervals apart on {change.apart}/{change.shared}")
    if not change.shared:
        words.append("no input in common")
    return ", ".join(words) or "no change"


def _name(key: Key) -> str:
    return " ".join(clean(part) for part in key if part)
