"""What a picture shows, decided once: its curves, its levels, its sides and its notes, as values.

The page, the files and the app paint these, each with its own means, and decide nothing. Above all the level
of autograd's gradient is found here and nowhere else: the size that the observation measured in a ball
comparable to the one the curve is from. A gradient of another ball, or the differences' own slopes, accuses
an honest model or defends a masked one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from falsefloor.checks.verdicts import is_lower
from falsefloor.evidence import Evidence
from falsefloor.jsonable import as_number
from falsefloor.observed import Observed
from falsefloor.report import scale
from falsefloor.report.detail import Detail
from falsefloor.report.scale import Scale
from falsefloor.report.text import clean, number

ACCUSE = ("FF101", "FF102", "FF103", "FF104", "FF202")
"""The warnings that say what a curve off autograd's level shows: without one the picture accuses nobody."""
COMPARABLE = 2.0
"""Two balls are comparable up to this factor of their radii: the observation's are a factor of four apart."""
MARKERS = ("circle", "square", "triangle", "diamond", "cross", "plus")


@dataclass(frozen=True)
class Curve:
    """Points in order, joined by a line or not. role: what it is, or a verdict; marker: one of `MARKERS`."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    role: str
    marker: str = ""
    line: bool = True


@dataclass(frozen=True)
class Level:
    """One value: a dashed line across, or upright."""

    name: str
    value: float
    role: str
    upright: bool = False


@dataclass(frozen=True)
class Figure:
    """keys: what the legend names, curves and levels as they are drawn; all of them where it is empty.

    rows: how many places the side y has, 0 where it is a measure.
    """

    title: str
    x: Scale
    y: Scale
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...] = ()
    notes: tuple[str, ...] = ()
    keys: tuple[Curve | Level, ...] = ()
    rows: int = 0

    @property
    def legend(self) -> tuple[Curve | Level, ...]:
        return self.keys or (*self.curves, *self.levels)


@dataclass(frozen=True)
class Gradient:
    """The median size of autograd's gradient at points of a ball."""

    radius: float
    median: float


def autograd(detail: Detail) -> Gradient | None:
    """Autograd's level beside the scale spectrum, of the ball that is comparable to the spectrum's.

    Both are dual norms of the runner-up margin's slope, medians over points around the same input.
    """
    if detail.scales is None:
        return None
    ball = _ball(detail.scales[0])
    found = [
        Gradient(row.radius, row.median)
        for row in Observed.read(detail.observed).gradients.get("autograd", ())
        if row.radius is not None and 0 < row.radius < math.inf and row.median is not None
    ]
    if ball is None or not found:
        return None
    nearest = min(found, key=lambda one: abs(math.log(one.radius / ball)))
    far = max(nearest.radius / ball, ball / nearest.radius)
    return nearest if far <= COMPARABLE * (1 + 1e-6) else None


def _ball(record: Mapping[str, Any]) -> float | None:
    """The radius of the ball that the spectrum's points lie in, which the estimator says.

    Those of older runs do not: there a fixed radius is the ball, and the search's end stands for an auto one.
    """
    evidence = Evidence.read(record["evidence"])
    given = evidence.spectrum_radius or _finite(record["params"].get("radius"))
    if given is None and evidence.sampling_radius is not None:
        cap = math.inf if evidence.cap is None else evidence.cap
        given = min(2 * evidence.sampling_radius, cap)
    return given if given is not None and 0 < given < math.inf else None


def spectrum(detail: Detail) -> Figure | None:
    """How steep the function is through steps of each width, and how steep autograd says that it is."""
    if detail.scales is None:
        return None
    of, scales, slopes = detail.scales
    pairs = [(h, v) for h, v in zip(scales, slopes, strict=False) if h > 0 and math.isfinite(h) and v >= 0]
    if len(pairs) < 2:
        return None
    xs, ys = [h for h, _ in pairs], [v for _, v in pairs]
    curves = (Curve("the function, over steps of h", xs, ys, "function", "circle"),)
    level = autograd(detail)
    levels: tuple[Level, ...] = ()
    if level is not None:
        levels = (Level(f"autograd: {number(level.median)}", level.median, "gradient"),)
    codes = _fired(detail)
    return Figure(
        "Scale spectrum: slope by step width",
        scale.logarithmic("step width h", xs),
        scale.logarithmic(
            f"slope ({_DUAL.get(str(of['norm']), 'dual')} norm)", [*ys, *(one.value for one in levels)]
        ),
        curves,
        levels,
        tuple(_spectrum_notes(level, codes)),
    )


_DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}


def _spectrum_notes(level: Gradient | None, codes: Sequence[str]) -> Iterator[str]:
    told = ", ".join(codes)
    if level is None:
        why = (
            "Autograd is not drawn: it was not observed in a ball like the one that the differences are from."
        )
        yield f"{why} Warnings doubt the gradient here: {told}." if codes else why
        return
    if codes:
        accused = "Where the curve leaves autograd's level, the gradient does not describe the function"
        yield f"{accused} ({told})."
    yield f"Medians over points around the input; autograd's within {number(level.radius)}."


def _fired(detail: Detail) -> list[str]:
    """Which of `ACCUSE` any estimate of this subject and input carries, as evidence against it."""
    fired = {
        warning["code"]
        for one in (detail.record, *detail.siblings)
        for warning in one["warnings"]
        if warning["severity"] in ("refuted", "suspect")
    }
    return [code for code in ACCUSE if code in fired]


def fit(detail: Detail) -> Figure | None:
    """How the batch maxima are spread, and the reverse Weibull fitted to them."""
    maxima = sorted(v for v in detail.curve("maxima") if math.isfinite(v))
    if len(maxima) < 3:
        return None
    shares = [(n + 0.5) / len(maxima) for n in range(len(maxima))]
    curves = [Curve(f"{len(maxima)} batch maxima", maxima, shares, "function", "circle", line=False)]
    levels: tuple[Level, ...] = ()
    evidence = Evidence.read(detail.record["evidence"])
    parts = (_finite(part) for part in (evidence.fit_location, evidence.fit_shape, evidence.fit_scale))
    location, shape, width = (math.nan if part is None else part for part in parts)
    note = f"No curve is fitted: {clean(evidence.fit_reason or 'the maximum itself is used')}."
    if width > 0 and not math.isnan(location + shape):
        low, high = maxima[0], max(location, maxima[-1])
        xs = [low + (high - low) * n / 60 for n in range(61)]
        ys = [reverse_weibull(x, location, shape, width) for x in xs]
        curves.append(Curve("fit", xs, ys, "fit"))
        levels = (Level(f"it ends at {number(location)}", location, "fit", upright=True),)
        note = f"Reverse Weibull: location {number(location)}, shape {number(shape)}, scale {number(width)}."
        if evidence.fit_reason:
            note += f" It is not used: {clean(evidence.fit_reason)}."
    elif maxima[0] == maxima[-1]:
        note = f"All {len(maxima)} maxima are {number(maxima[0])}: there is nothing to fit."
    along = [*maxima, *(one.value for one in levels)]
    return Figure(
        "Batch maxima of the slope, and the fit",
        scale.linear("largest slope of a batch", along),
        scale.linear("share at or below", [0.0, 1.0], zero=True),
        tuple(curves),
        levels,
        (note,),
    )


def reverse_weibull(x: float, location: float, shape: float, width: float) -> float:
    """Its distribution function: exp(-((location - x)/width)^shape) below the location."""
    return 1.0 if x >= location else math.exp(-(((location - x) / width) ** shape))


def score(detail: Detail) -> Figure | None:
    """The number as it was computed, with the interval of the fit and the upper bound beside it."""
    record = detail.record
    values, side = detail.curve("score"), "batches"
    last = (_finite(record["params"].get("batches")) or len(values)) if values else 1.0
    if not values:
        values, side = detail.curve("radius"), "share of the steps done"
    points = [(last * (n + 1) / len(values), v) for n, v in enumerate(values) if math.isfinite(v)]
    if not points:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    levels = []
    for name, end in zip(("interval from", "interval to"), record["interval"] or (), strict=False):
        if (known := _finite(end)) is not None:
            levels.append(Level(f"{name} {number(known)}", known, "interval"))
    ceiling = upper_bound(detail) if is_lower(record["claim"]) else None
    if ceiling is not None:
        levels.append(Level(f"upper bound {number(ceiling)}", ceiling, "bound"))
    return Figure(
        "The number as it was computed",
        scale.linear(side, [0.0, *xs]),
        scale.linear("radius", [*ys, *(one.value for one in levels)]),
        (Curve("the number so far", xs, ys, "function", "" if len(xs) > 1 else "circle"),),
        tuple(levels),
        ("A floor above the upper bound is false.",) if ceiling is not None else (),
    )


def upper_bound(detail: Detail) -> float | None:
    """The smallest settled upper bound at this input."""
    found = [
        radius
        for one in detail.siblings
        if one["claim"] == "upper_bound" and one["witness"] and (radius := _finite(one["radius"])) is not None
    ]
    return min(found, default=None)


PER_TARGET = {"title": "The radius to each class", "x": "class", "y": "radius"}


def own(detail: Detail) -> list[Figure]:
    """The curves of an estimator that says how they are drawn, and radii by class, painted as ours are."""
    axes = detail.shown.get("axes")
    told = dict(axes) if isinstance(axes, dict) else {}
    if "per_target" in detail.curves:
        told.setdefault("per_target", PER_TARGET)
    figures = []
    for name, how in told.items():
        values, how = list(detail.curves.get(name, ())), how if isinstance(how, dict) else {}
        along = list(detail.curves.get(str(how.get("along")), ())) or [float(n) for n in range(len(values))]
        log_x, log_y = how.get("log_x") is True, how.get("log_y") is True
        points = [
            (x, y)
            for x, y in zip(along, values, strict=False)
            if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)
        ]
        if not points:
            continue
        xs, ys = [x for x, _ in points], [y for _, y in points]
        title, across, up = (clean(str(how.get(side) or name)) for side in ("title", "x", "y"))
        side_x, side_y = (scale.logarithmic if log else scale.linear for log in (log_x, log_y))
        marker = "circle" if len(points) < FEW else ""
        curve = Curve(up, xs, ys, "function", marker, line=name != "per_target")
        figures.append(Figure(title, side_x(across, xs), side_y(up, ys), (curve,)))
    return figures


FEW = 40
"""Points that are marked one by one."""
FIGURES: Mapping[str, Callable[[Detail], Figure | None]] = {"spectrum": spectrum, "fit": fit, "score": score}


def _finite(value: object) -> float | None:
    known = as_number(value)
    return known if known is not None and math.isfinite(known) else None


def on_axes(figure: Figure, *, y: bool | None = None, x: bool | None = None) -> Figure:
    """The figure with other sides: True for a logarithm, False for none, None as it is. Named ones stay."""
    sides: dict[str, Any] = {}
    for side, log, upright in (("x", x, True), ("y", y, False)):
        of: Scale = getattr(figure, side)
        if log is not None and log != of.log and not figure.rows:
            values = [value for curve in figure.curves for value in getattr(curve, side)]
            values += [level.value for level in figure.levels if level.upright is upright]
            sides[side] = (scale.logarithmic if log else scale.linear)(of.name, values)
    return replace(figure, **sides)


def read_off(figure: Figure, at: int) -> str:
    """What the curves and levels say at a point of the first curve: "step width h 1e-5: slope 0.12"."""
    first = figure.curves[0]
    here = first.x[at]
    said = [f"{figure.x.name} {number(here)}: {first.name} {number(first.y[at])}"]
    for curve in figure.curves[1:]:
        near = min(range(len(curve.x)), key=lambda n: abs(curve.x[n] - here), default=None)
        if near is not None:
            said.append(f"{curve.name} {number(curve.y[near])}")
    return "; ".join([*said, *(level.name for level in figure.levels if not level.upright)])
