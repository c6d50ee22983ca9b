"""Floors against ceilings, input by input: a line a cell, and below it that of the unmasked subject."""

from __future__ import annotations

import math
from dataclasses import dataclass

from falsefloor.checks.verdicts import Place
from falsefloor.report import scale
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row
from falsefloor.report.scale import Scale
from falsefloor.report.text import clean
from falsefloor.store.reader import RunReader
from falsefloor.study.units import is_masked

MOST = 2000
"""Inputs of a cell that are drawn; a line has fewer places."""


@dataclass(frozen=True)
class Strip:
    """One cell: (radius, verdict) of each floor, and the nearest adversarial inputs that ceilings found.

    twin: it is the unmasked subject's, drawn below that of the subject that was asked for.
    """

    estimator: str
    certified: bool
    twin: bool
    floors: tuple[tuple[float, str], ...]
    ceilings: tuple[float, ...]


@dataclass(frozen=True)
class Strips:
    """The cells of a row's floors, each before that of the unmasked subject, along one side."""

    scale: Scale
    strips: tuple[Strip, ...]


def read_strips(reader: RunReader, comparison: Comparison, at: Place, entry: Entry) -> Strips:
    """Of the row at a place; the estimator of ``entry`` comes first."""
    rows = {row.subject.subject: row for row in comparison.rows}
    row = rows.get(at.subject)
    bare = next(
        (
            one
            for place, one in rows.items()
            if (place.model, place.norm, place.input) == _alike(at) and _bare(one)
        ),
        None,
    )
    subjects = [of for of in ((row,) if bare is row else (row, bare)) if of is not None]
    labels = [one.series.label for one in row.entries if one is not None and one.lower] if row else []
    labels.sort(key=lambda label: label != entry.series.label)
    pairs = [(label, of) for label in labels for of in subjects]
    ceilings = {of.subject: _ceilings(reader, of) for _, of in pairs}
    strips = []
    for label, of in pairs:
        one = next((e for e in of.entries if e is not None and e.series.label == label), None)
        if one is not None:
            floors = tuple((radius, verdict) for _, radius, verdict in _radii(reader, one, of))
            name = label if one.series.recovers is None else f"rec.{one.series.recovers}"
            certified = one.series.claim == "lower_bound"
            strips.append(Strip(clean(name), certified, of is not row, floors, ceilings[of.subject]))
    known = [value for strip in strips for value in (*(r for r, _ in strip.floors), *strip.ceilings)]
    return Strips(scale.logarithmic("radius", known), tuple(strips))


def _alike(at: Place) -> tuple[str, str, int]:
    return (at.model, at.norm, at.input)


def _bare(row: Row) -> bool:
    return not any(is_masked(entry.series.stack) for entry in row.entries if entry is not None)


def _radii(reader: RunReader, entry: Entry, row: Row) -> list[tuple[int, float, str]]:
    found = reader.radii(entry.series.id, most=MOST)
    return [one for one in found if row.subject.input in (-1, one[0]) and math.isfinite(one[1])]


def _ceilings(reader: RunReader, row: Row) -> tuple[float, ...]:
    nearest: dict[int, float] = {}
    for entry in row.entries:
        if entry is not None and not entry.lower:
            for number, radius, _ in _radii(reader, entry, row):
                nearest[number] = min(radius, nearest.get(number, math.inf))
    return tuple(nearest.values())
