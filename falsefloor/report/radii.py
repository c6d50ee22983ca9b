"""The radii of all subjects in one picture: what a masker does to every estimator, at a glance; and what they
say of accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from falsefloor.checks.verdicts import VERDICTS
from falsefloor.jsonable import as_number
from falsefloor.report import scale
from falsefloor.report.figure import MARKERS, Curve, Figure
from falsefloor.report.text import clean

HUES = ("red", "blue", "green", "purple", "quiet")
"""Of subjects, in the table's order."""
LISTED = 24
"""Subjects and inputs that have a line of their own."""


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
        scale.logarithmic("radius, in the input's own units", [point[3] for point in points]),
        scale.named("", subjects),
        curves,
        notes=tuple(notes),
        keys=tuple(keys),
        rows=max(1, len(subjects)),
    )


def intervals(records: Iterable[Mapping[str, Any]]) -> Figure:
    """Of each subject and input what is known: from the largest floor that was not refuted to the ceiling."""
    known = {
        f"{subject}, {at}": (least.get(at, 0.0), radius)
        for subject, (least, most) in _bounds(records).items()
        for at, radius in most.items()
        if math.isfinite(radius) and radius > 0
    }
    shown = dict(list(known.items())[:LISTED])
    ends = [end for pair in shown.values() for end in pair]
    places = [-float(n) for n in range(len(shown))]
    floors, ceilings = [low for low, _ in shown.values()], [high for _, high in shown.values()]
    gap = math.nan  # breaks the line
    across = [x for low, high in shown.values() for x in (low, high, gap)]
    up = [y for place in places for y in (place, place, gap)]
    left = len(known) - len(shown)
    return Figure(
        "From the largest floor that stands to the nearest point known",
        scale.linear("radius, in the input's own units", ends, zero=True),
        scale.named("", list(shown)),
        (
            Curve("nothing is known between", across, up, "interval"),
            Curve("floor", floors, places, "held", "triangle", line=False),
            Curve("ceiling", ceilings, places, "blue", "square", line=False),
        ),
        notes=(f"{left} more inputs are not drawn.",) if left else (),
        rows=max(1, len(shown)),
    )


def accuracy(records: Iterable[Mapping[str, Any]]) -> Figure:
    """The share of inputs that withstand every perturbation up to a radius, for each subject.

    At most: by the nearest point known to change the class. At least, with dots: by the largest floor that
    was not refuted; an estimate, unless the claim is certified. Misclassified inputs withstand nothing.
    """
    bounds = _bounds(records)
    known = [v for pair in bounds.values() for side in pair for v in side.values() if math.isfinite(v)]
    end = 1.05 * max(known, default=1.0)
    curves: list[Curve] = []
    for hue, (subject, (least, most)) in zip(HUES, bounds.items(), strict=False):
        for side, words, marker in ((most, "at most", ""), (least, "at least", "circle")):
            if side:
                curves.append(_steps(f"{subject}: {words}", side.values(), end, hue, marker))
    left = len(bounds) - len(HUES)
    return Figure(
        "Share of inputs that withstand a radius",
        scale.linear("radius, in the input's own units", [0.0, end], zero=True),
        scale.linear("share of inputs", [0.0, 1.0], zero=True),
        tuple(curves),
        notes=(f"{left} more subjects are not drawn.",) if left > 0 else (),
    )


def _bounds(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[dict[int, float], dict[int, float]]]:
    """Subject to the largest floor of each input that was not refuted, and to its smallest ceiling."""
    bounds: dict[str, tuple[dict[int, float], dict[int, float]]] = {}
    for record in records:
        radius = as_number(record["radius"]) if record["status"] == "ok" else None
        if radius is None or math.isnan(radius):
            continue
        subject = clean(" ".join(str(record[key]) for key in ("model", "masker", "norm")))
        least, most = bounds.setdefault(subject, ({}, {}))
        at = record["input"]
        if record["claim"] == "upper_bound":
            most[at] = min(radius, most.get(at, math.inf))
        else:
            least[at] = max(0.0 if record["verdict"] == "refuted" else radius, least.get(at, 0.0))
    return bounds


def _steps(name: str, radii: Iterable[float], end: float, hue: str, marker: str) -> Curve:
    """A share that falls at every radius."""
    ends = sorted(min(radius, end) for radius in radii)
    xs, ys = [0.0], [1.0]
    for n, radius in enumerate(ends):
        xs += [radius, radius]
        ys += [ys[-1], 1 - (n + 1) / len(ends) if radius < end else ys[-1]]
    return Curve(name, xs, ys, hue, marker)
