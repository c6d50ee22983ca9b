"""The note's figures, from the CSV files that `falsefloor reproduce` wrote: SVG and PNG beside them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from falsefloor.report.figure import MARKERS, Curve, Figure, Level
from falsefloor.report.paint_plot import LOOK, Kind, save, sheet
from falsefloor.report.scale import Scale, linear, logarithmic, named

Rows = Sequence[Mapping[str, str]]
DRAWN: tuple[Kind, ...] = ("svg", "png")
HUES = ("red", "blue", "green", "purple", "quiet")


def draw(path: Path) -> list[Path]:
    """The pictures of one table, named after it. Raises `KeyError` for a table without a picture."""
    from matplotlib import rc_context

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with rc_context(LOOK):
        drawn = sheet(FIGURES[path.stem](rows))
        made = [path.with_suffix(f".{kind}") for kind in DRAWN]
        for kind, picture in zip(DRAWN, made, strict=True):
            save(drawn, picture, kind=kind)
    return made


def _steps(rows: Rows) -> list[Figure]:
    titles = {"whole": "the unit interval", "zoom": "zoom: five steps", "closer": "closer: one and a half"}
    made = []
    for view, title in titles.items():
        mine = [row for row in rows if row["view"] == view]
        t = _column(mine, "t")
        both = [
            Curve(name, t, _column(mine, name), hue)
            for name, hue in zip(("staircase", "ramp"), HUES, strict=False)
        ]
        made.append(_figure(title, linear("t", t), linear, "h(t)", both))
    return made


def _regimes(rows: Rows) -> list[Figure]:
    counts, digits = (sorted({int(row[name]) for row in rows}) for name in ("samples", "digit"))
    curves, keys = [], []
    for count, hue, marker in zip(counts, HUES, MARKERS, strict=False):
        keys.append(Curve(f"N = {count}: measured", (), (), hue, marker, line=False))
        for digit in digits:
            mine = [row for row in rows if (int(row["samples"]), int(row["digit"])) == (count, digit)]
            x = _column(mine, "n_d_delta")
            curves.append(Curve("predicted", x, _column(mine, "predicted"), hue))
            curves.append(Curve("measured", x, _column(mine, "measured"), hue, marker, line=False))
    hit = Level("a hit is as likely as none", math.log(2), "interval", upright=True)
    keys.append(Curve("predicted from the unmasked gradients", (), (), "quiet"))
    across = [x for curve in curves for x in curve.x]
    side = logarithmic("N·D·δ (samples × dimensions × share of ramp)", across)
    return [_figure("two regimes of a ramp", side, logarithmic, "CLEVER score", curves, [hit], [*keys, hit])]


def _underflow(rows: Rows) -> list[Figure]:
    t = _column(rows, "t")
    curves = [
        Curve(name, t, _column(rows, name), hue)
        for name, hue in (("exact", "quiet"), ("float64", "blue"), ("float32", "red"))
    ]
    title = "where autograd returns exactly 0"
    return [_figure(title, linear("t", t), logarithmic, "derivative of the sigmoid", curves)]


def _casts(rows: Rows) -> list[Figure]:
    curves, levels = [], []
    for name, hue, marker in zip(dict.fromkeys(row["cast"] for row in rows), HUES, MARKERS, strict=False):
        mine = [row for row in rows if row["cast"] == name]
        told = "float32, as it is" if name == "none" else name
        curves.append(Curve(told, _column(mine, "h"), _column(mine, "slope"), hue, marker))
        levels.append(Level(f"{told}: autograd", float(mine[0]["autograd"]), hue))
    side = logarithmic("step h", [x for curve in curves for x in curve.x])
    title = "slopes by step, and what autograd says of each cast"
    return [_figure(title, side, logarithmic, "median slope", curves, levels)]


def _claims(rows: Rows) -> list[Figure]:
    names = {
        "exact": "exact distance",
        "attack_masked": "attack, behind the staircase",
        "clever": "CLEVER",
        "clever_masked": "CLEVER, behind the staircase",
    }
    return [_by_digit("what CLEVER claims, and the distance", rows, names)]


def _directions(rows: Rows) -> list[Figure]:
    names = {"attack": "nearest point known", "clever": "CLEVER"}
    made = []
    for mask in dict.fromkeys(row["mask"] for row in rows):
        mine = [row for row in rows if row["mask"] == mask]
        told = sum(_column(mine, "correlation")) / len(mine)
        made.append(_by_digit(f"gradient: {mask}, correlation {told:.2f}", mine, names))
    return made


def _by_digit(title: str, rows: Rows, names: Mapping[str, str]) -> Figure:
    """Radii: a row a digit, a marker a column."""
    digits = [f"digit {row['digit']}" for row in rows]
    places = [-float(n) for n in range(len(rows))]
    curves = [
        Curve(told, _column(rows, name), places, hue, marker, line=False)
        for (name, told), hue, marker in zip(names.items(), HUES, MARKERS, strict=False)
    ]
    side = logarithmic("radius", [x for curve in curves for x in curve.x])
    return Figure(title, side, named("", digits), tuple(curves), rows=len(rows))


def _figure(
    title: str,
    x: Scale,
    measure: Callable[[str, Sequence[float]], Scale],
    y: str,
    curves: Sequence[Curve],
    levels: Sequence[Level] = (),
    keys: Sequence[Curve | Level] = (),
) -> Figure:
    values = [v for curve in curves for v in curve.y] + [one.value for one in levels if not one.upright]
    return Figure(title, x, measure(y, values), tuple(curves), tuple(levels), keys=tuple(keys))


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


FIGURES: Mapping[str, Callable[[Rows], list[Figure]]] = {
    "steps": _steps,
    "regimes": _regimes,
    "underflow": _underflow,
    "casts": _casts,
    "claims": _claims,
    "directions": _directions,
}
