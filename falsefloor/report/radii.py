"""The radii of all subjects in one picture: what a masker does to every estimator, at a glance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from falsefloor.checks.verdicts import VERDICTS
from falsefloor.jsonable import as_number
from falsefloor.report import scale
from falsefloor.report.figure import MARKERS, Curve, Figure
from falsefloor.report.text import clean


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
