"""Radii over all subjects: in one picture what a masker does to every estimator, and the shares of inputs
that withstand each; a row's floors against its ceilings; and how somebody names the radii that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from falsefloor.checks.verdicts import VERDICTS, Place
from falsefloor.errors import UsageError
from falsefloor.jsonable import as_number
from falsefloor.report import scale
from falsefloor.report.accuracy import KINDS, InputSet
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row
from falsefloor.report.figure import MARKERS, Curve, Figure
from falsefloor.report.scale import Scale
from falsefloor.report.text import clean, number
from falsefloor.store.reader import RunReader
from falsefloor.study.units import is_masked

HUES = ("red", "blue", "green", "purple", "quiet")
"""Of subjects, in the table's order."""
MARKED = 14
"""Markers along a curve, about: a marker at each step is a blot."""
UNITS = "radius, in the input's own units"
MOST = 2000
"""Inputs of a cell that are drawn; a line has fewer places."""


def comparison(records: Iterable[Mapping[str, Any]], *, more: int = 0) -> Figure:
    """Radii: a row a subject, a marker an estimator, the colour its verdict. more: how many are left out."""
    points: list[tuple[str, str, str, float]] = []
    unbounded = 0
    for record in records:
        radius = as_number(record["radius"]) if record["status"] == "ok" else None
        if radius is None or radius < 0 or math.isnan(radius):
            continue
        if math.isinf(radius):
            unbounded += 1
        else:
            subject = " ".join(str(record[key]) for key in ("model", "masker", "norm"))
            points.append((clean(subject), clean(str(record["name"])), str(record["verdict"]), radius))
    subjects = list(dict.fromkeys(point[0] for point in points))
    names = list(dict.fromkeys(point[1] for point in points))
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for subject, name, verdict, radius in points:
        lower = 0.6 * ((names.index(name) + 0.5) / len(names) - 0.5)
        groups.setdefault((name, verdict), []).append((radius, -subjects.index(subject) - lower))
    marks = {name: MARKERS[n % len(MARKERS)] for n, name in enumerate(names)}
    curves = tuple(
        Curve(f"{name}, {verdict}", [x for x, _ in at], [y for _, y in at], verdict, marks[name], line=False)
        for (name, verdict), at in groups.items()
    )
    keys = [Curve(name, (), (), "quiet", mark, line=False) for name, mark in marks.items()]
    present = {point[2] for point in points}
    keys += [
        Curve(verdict, (), (), verdict, "square", line=False) for verdict in VERDICTS if verdict in present
    ]
    notes = [f"{unbounded} without a bound are not drawn."] * bool(unbounded)
    notes += [f"{more:,} more are not drawn."] * bool(more)
    return Figure(
        "Radii of all subjects",
        scale.logarithmic(UNITS, [point[3] for point in points]),
        scale.named("", subjects),
        curves,
        notes=tuple(notes),
        keys=tuple(keys),
        rows=max(1, len(subjects)),
    )


def overlaid(sets: Sequence[Sequence[InputSet]], names: Sequence[str]) -> Figure:
    """The curves of several runs over one another, each named by its run."""
    named = [
        replace(one, place=one.place._replace(model=f"{name}: {one.place.model}"))
        for run, name in zip(sets, names, strict=True)
        for one in run
    ]
    return curves(named)


def curves(sets: Sequence[InputSet]) -> Figure:
    """Of each subject the share that is certified, estimated, not attacked, against the radius."""
    end = _end(sets)
    drawn: list[Curve] = []
    keys: list[Curve] = []
    differ = [len({one.place[part] for one in sets}) > 1 for part in range(3)]
    for hue, one in zip(HUES, sets, strict=False):
        name = " ".join(clean(word) for word, told in zip(one.place, differ, strict=False) if told)
        for kind, marker in KINDS:
            radii = one.radii(kind)
            if not one.total or not radii or (kind != "not attacked" and not radii[-1] > 0):
                continue
            line = _steps(f"{name}: {kind}" if name else kind, radii, one.total, end, hue)
            every = max(1, len(line.x) // MARKED)
            keys.append(replace(line, x=line.x[::every], y=line.y[::every], marker=marker))
            drawn += [line] + [replace(keys[-1], line=False)] * bool(marker)
    left = len(sets) - len(HUES)
    return Figure(
        "Share of inputs that withstand a radius",
        scale.linear(UNITS, [0.0, end], zero=True),
        scale.linear("share of inputs", [0.0, 1.0], zero=True),
        tuple(drawn),
        keys=tuple(keys),
        notes=(f"{left} more subjects are not drawn.",) if left > 0 else (),
    )


def _steps(name: str, radii: Sequence[float], total: int, end: float, hue: str) -> Curve:
    """A share that falls at every radius, from that of the inputs that are classified as labelled."""
    xs, ys = [0.0], [len(radii) / total]
    for n, radius in enumerate(min(one, end) for one in radii):
        xs += [radius, radius]
        ys += [ys[-1], (len(radii) - n - 1) / total if radius < end else ys[-1]]
    return Curve(name, xs, ys, hue)


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
    bare = next((one for place, one in rows.items() if _alike(place) == _alike(at) and _bare(one)), None)
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


def radius_of(text: str) -> float:
    """A radius as it is written in papers: 0.03, 8/255, 1e-3. Raises `UsageError`."""
    try:
        value = float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"a radius is a number or a fraction, as 0.03 or 8/255; not {text!r}.") from error
    if value < 0:
        raise UsageError(f"a radius is 0 or more; not {text}.")
    return value


def check_units(radius: float, norm: str, facts: Mapping[str, Any]) -> list[str]:
    """What is to be said of a radius in a model's domain, whose ``facts`` were found when it was loaded.

    Raises `UsageError` for one that is larger than the whole domain: of other units.
    """
    ends = [as_number(end) for end in facts.get("bounds") or ()]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not ends[1] > ends[0]:
        return []
    width, size = ends[1] - ends[0], math.prod(facts.get("shape") or (1,))
    diameter = width * {"linf": 1.0, "l2": math.sqrt(size), "l1": float(size)}[norm]
    domain = f"{scale.short(ends[0])} to {scale.short(ends[1])}"
    if radius > diameter:
        grey = f" {scale.short(radius)}/255 is {number(radius / 255)}." if width <= 1 < radius <= 255 else ""
        raise UsageError(
            f"a radius of {scale.short(radius)} in {norm} is larger than the whole domain, which runs from"
            f" {domain} and is {number(diameter)} wide in it. Radii are in the inputs' own units.{grey}"
        )
    if norm == "linf" and width > 100 and 0 < radius < 1:
        return [
            f"{scale.short(radius)} is less than one grey level of a domain from {domain}; as a share of its"
            f" width it would be {number(radius * width)}"
        ]
    return []


def chosen_radii(
    asked: Sequence[str], sets: Sequence[InputSet], models: Mapping[str, Mapping[str, Any]]
) -> tuple[list[float], list[str]]:
    """The radii that were asked for, or a few round ones; and what is to be said of them. Raises
    `UsageError`."""
    radii = [radius_of(text) for text in asked]
    places = dict.fromkeys((one.place.model, one.place.norm) for one in sets)
    said = [
        word
        for radius in radii
        for model, norm in places
        for word in check_units(radius, norm, models.get(model, {}))
    ]
    return radii or round_radii(sets), list(dict.fromkeys(said))


def round_radii(sets: Sequence[InputSet]) -> list[float]:
    """A few round radii between 0 and where every input is broken, for whoever asks for none."""
    return [value for _, value in _ticks(sets)][1:] or [0.0]


def _end(sets: Sequence[InputSet]) -> float:
    known = [v for one in sets for kind, _ in KINDS for v in one.radii(kind) if math.isfinite(v)]
    return 1.05 * max(known, default=0.0) or 1.0


def _ticks(sets: Sequence[InputSet]) -> list[tuple[float, float]]:
    side = scale.linear("", [0.0, _end(sets)], zero=True)
    return [(at, float(word)) for at, word in side.ticks]
