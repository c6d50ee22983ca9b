"""Two runs side by side: a model before and after training, with a defence and without, or on two machines.

Cell by cell over the inputs that both have, paired; and the robust accuracy of their subjects at a radius.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.jsonable import as_number
from falsefloor.report.accuracy import LEVEL, Accuracy, InputSet, binomial, median_interval
from falsefloor.report.cells import Entry, brief
from falsefloor.report.listings import Listing, Tabular
from falsefloor.report.text import Glyphs, clean, glyphs_for, number
from falsefloor.store.cells import Cell, is_wrong
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.store.standing import ENDED

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
    difference: float | None = None
    """Median over the shared inputs of the second radius less the first."""
    interval: tuple[float, float] | None = None
    """Of the median difference over all inputs like these, at 95 %."""
    turned: tuple[tuple[int, str, str], ...] = ()
    """Inputs whose verdict changed, with both."""

    @property
    def changed(self) -> bool:
        return bool(self.apart) or self.kept < self.shared or self.verdict_before != self.verdict_after


@dataclass(frozen=True)
class Changes:
    """The cells of both runs, and those that only one of them has."""

    changes: tuple[Change, ...]
    only_first: tuple[Key, ...]
    only_second: tuple[Key, ...]
    notes: tuple[str, ...] = ()
    """What else is different: inputs, versions, seeds."""


@dataclass(frozen=True)
class AccuracyChange:
    """A subject's robust accuracy in both runs, over the inputs that both have.

    gained, lost: inputs that only the second, or only the first, leaves unbroken; interval: of the difference
    of these shares over all inputs like these, at 95 % (both binomial, at half of the rest each).
    """

    name: str
    before: Accuracy
    after: Accuracy
    gained: int
    lost: int

    @property
    def interval(self) -> tuple[float, float]:
        ends = [binomial(n, self.after.inputs, level=(1 + LEVEL) / 2) for n in (self.gained, self.lost)]
        return ends[0][0] - ends[1][1], ends[0][1] - ends[1][0]

    def to_json(self) -> dict[str, Any]:
        sides = {"before": self.before.to_json(), "after": self.after.to_json()}
        counts = {"gained": self.gained, "lost": self.lost, "interval": list(self.interval)}
        return {"subject": self.name, **sides, **counts, "level": LEVEL}


def compare_sets(
    sets: tuple[Sequence[InputSet], Sequence[InputSet]], radii: Sequence[float]
) -> list[AccuracyChange]:
    """Subjects that both runs have, at each radius. Where each has one model, whatever it is called, they are
    compared with each other, and so are the subjects where each has one."""
    many = any(len({one.place.model for one in side}) > 1 for side in sets)
    alone = all(len(side) == 1 for side in sets)

    def key(one: InputSet) -> tuple[str, ...]:
        return () if alone else (one.place.model if many else "", *one.place[1:3])

    second, made = {key(one): one for one in sets[1]}, []
    for one in sets[0]:
        if (other := second.get(key(one))) is None:
            continue
        both = sorted(one.known.keys() & other.known.keys())
        first, after = (replace(each, known={n: each.known[n] for n in both}) for each in (one, other))
        name = one.name if one.name == other.name else f"{one.name} > {other.name}"
        for radius in radii if both else ():
            stands = [[each.known[n].stands(radius) for n in both] for each in (first, after)]
            gained = sum(b and not a for a, b in zip(*stands, strict=True))
            lost = sum(a and not b for a, b in zip(*stands, strict=True))
            made.append(AccuracyChange(name, first.at(radius), after.at(radius), gained, lost))
    return made


def sets_table(changes: Iterable[AccuracyChange], first: str, second: str) -> Tabular:
    rows = []
    for one in changes:
        ends = (
            f"{100 * low:.1f} to {100 * high:.1f} %" for low, high in (one.before.bracket, one.after.bracket)
        )
        difference = 100 * (one.gained - one.lost) / one.after.inputs
        low, high = (100 * end for end in one.interval)
        rows.append(
            (
                one.name,
                number(one.before.radius),
                *ends,
                f"+{one.gained} -{one.lost}",
                f"{difference:+.1f} points, {low:+.1f} to {high:+.1f} over inputs like these (95 %)",
            )
        )
    heads = ("subject", "radius", clean(first), clean(second), "not attacked", "difference")
    return Tabular(heads, tuple(rows))


def compare_runs(first: RunReader, second: RunReader) -> Changes:
    """What changed from the first run to the second. Inputs are matched by their number.

    Where each run has one model, whatever it is called, they are compared with each other.
    """
    readers = (first, second)
    listed = [reader.series() for reader in readers]
    many = any(len({one.model for one in some}) > 1 for some in listed)
    rows = [{(one.model if many else "", *one.place[1:4]): one for one in some} for some in listed]
    cells = (first.cells(), second.cells())
    changes = tuple(
        _change(key, (rows[0][key], rows[1][key]), cells, readers) for key in rows[0] if key in rows[1]
    )
    return Changes(
        changes,
        tuple(key for key in rows[0] if key not in rows[1]),
        tuple(key for key in rows[1] if key not in rows[0]),
        tuple(_unlike(first, second)),
    )


def _unlike(first: RunReader, second: RunReader) -> Iterator[str]:
    """What makes a difference that is not the models'."""
    for name, (one, other) in {
        "versions": (first.info().versions, second.info().versions),
        "settings": tuple(
            {key: reader.info().study.get(key) for key in ("seed", "effort")} for reader in (first, second)
        ),
    }.items():
        differ = [f"{key} {one.get(key)} > {other.get(key)}" for key in one if one[key] != other.get(key)]
        if differ:
            yield f"other {name}: {', '.join(differ)}"
    told = [{str(print_.get("inputs")) for print_ in r.fingerprints().values()} for r in (first, second)]
    if all(told) and told[0] != told[1]:
        yield "other inputs or labels: they are paired by their number, whatever they are"
    for reader in (first, second):
        if (info := reader.info()).status not in ENDED:
            yield f"run {info.id} goes on: what has not come back is not compared"


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
    differences = list(_differences(shared))
    words = [(one["input"], brief(one).word, brief(other).word) for one, other in shared]
    turned = tuple(word for word in words if word[1] != word[2])
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
        kept=len(shared) - len(turned),
        capped_before=a.capped,
        capped_after=b.capped,
        difference=median(differences) if differences else None,
        interval=median_interval(differences),
        turned=turned,
    )


def _differences(shared: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[float]:
    """Of the radii of inputs that both classify as labelled; infinite where one found nothing."""
    for pair in shared:
        radii = [as_number(record["radius"]) for record in pair]
        right = all(r["status"] == "ok" and not is_wrong(r["label"], r["predicted"]) for r in pair)
        if right and radii[0] is not None and radii[1] is not None and radii[0] != radii[1]:
            yield radii[1] - radii[0]
        elif right and radii[0] is not None and radii[0] == radii[1]:
            yield 0.0


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    radii = [as_number(record["radius"]) for record in (one, other)]
    if None in radii:
        return radii[0] is not radii[1]
    spans = [list(_span(record)) for record in (one, other)]
    reach = 1e-5 * max((abs(end) for span in spans for end in span if end != float("inf")), default=0.0)
    return spans[0][1] + reach < spans[1][0] or spans[1][1] + reach < spans[0][0]


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
        yield from (Text(clean(note), style="yellow") for note in self.changes.notes)
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
    if (change.turned and change.verdict_before == change.verdict_after) or len(change.turned) > 1:
        named = [f"{at} {clean(a)} > {clean(b)}" for at, a, b in change.turned[:LISTED]]
        more = [f"{len(change.turned) - LISTED} more"] * (len(change.turned) > LISTED)
        words.append(f"inputs {', '.join([*named, *more])}")
    if change.difference is not None and change.apart:
        ends = "" if change.interval is None else " ({} to {})".format(*map(_signed, change.interval))
        words.append(f"paired difference {_signed(change.difference)}{ends}")
    if change.apart:
        words.append(f"intervals apart on {change.apart}/{change.shared}")
    if not change.shared:
        words.append("no input in common")
    return ", ".join(words) or "no change"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def _name(key: Key) -> str:
    return " ".join(clean(part) for part in key if part)
