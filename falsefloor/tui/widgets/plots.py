"""The curves of an estimate, drawn with plotext. Imported only by the page that shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from textual.color import Color
from textual_plotext import PlotextPlot

from falsefloor.report.text import number
from falsefloor.tui.detail import Detail

MOST_TICKS = 5


@dataclass(frozen=True)
class Curve:
    """A line through points; style: "line", "points", or "level" (a horizontal line at y[0])."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    tone: str
    style: str = "line"


@dataclass(frozen=True)
class Figure:
    """What to draw. bars: left edges and heights of a histogram, or nothing."""

    title: str
    curves: tuple[Curve, ...]
    x: str
    y: str
    logarithmic: bool = False
    note: str = ""


class Plot(PlotextPlot, can_focus=False):
    """A figure, with the theme's colours and room for its axes."""

    figure: Figure | None = None

    def draw(self, figure: Figure | None) -> None:
        self.figure = figure
        self.refresh()

    def render(self) -> Any:
        figure = self.figure
        if figure is None or self.size.width < 20 or self.size.height < 5:
            return ""
        plt: Any = self.plt
        plt.clear_figure()
        # The terminal's own colours have no numbers: leave its background alone.
        self.set_reactive(PlotextPlot.theme, "clear" if self.app.native_ansi_color else "auto")
        variables = self.app.theme_variables
        plain = bool(getattr(self.app, "ascii", False))
        for curve in figure.curves:
            xs = [math.log10(v) for v in curve.x] if figure.logarithmic else list(curve.x)
            colour = _colour(variables, curve.tone)
            ys = list(curve.y)
            marker = {"points": "*" if plain else "dot"}.get(curve.style, "*" if plain else "braille")
            settings = {"marker": marker, "color": colour}
            (plt.scatter if curve.style == "points" else plt.plot)(xs, ys, **settings)
        if figure.logarithmic:
            low = min(min(c.x) for c in figure.curves)
            high = max(max(c.x) for c in figure.curves)
            powers = list(range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1))
            plt.xticks([float(power) for power in powers], [f"1e{power}" for power in powers])
        else:
            values = [v for c in figure.curves for v in c.x]
            ticks = _ticks(min(values), max(values))
            plt.xticks(ticks, [number(t) if t % 1 else f"{t:.0f}" for t in ticks])
        heights = [v for c in figure.curves for v in c.y]
        low, high = min([0.0, *heights]), max(heights)
        high = high if high > low else low + 1.0
        plt.ylim(low, high + 0.05 * (high - low))
        marks = _ticks(low, high)
        plt.yticks(marks, [f"{m:.3g}" for m in marks])
        if self.size.height > 8:
            plt.xlabel(figure.x)
        return super().render()


def _ticks(low: float, high: float) -> list[float]:
    """A few round numbers from low to high."""
    span = high - low
    if not span > 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / (MOST_TICKS - 1)))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= MOST_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _colour(variables: dict[str, str], tone: str) -> tuple[int, int, int] | str:
    """As plotext takes it: a triple, or the name of one of the sixteen."""
    given = variables.get(tone, "#808080")
    if given.startswith("ansi_"):
        return given.removeprefix("ansi_").replace("bright_black", "gray").replace("bright_", "") + "+" * (
            "bright_" in given and "bright_black" not in given
        )
    return Color.parse(given).rgb


def spectrum(detail: Detail) -> Figure | None:
    """Size of the differences at each step width, autograd's gradient over it."""
    of = next((r for r in (detail.record, *detail.siblings) if "spectrum" in r["curves"]), None)
    if of is None:
        return None
    scales, values = detail.curves.get("scales", ()), detail.curves.get("spectrum", ())
    pairs = [(s, v) for s, v in zip(scales, values, strict=False) if s > 0 and not math.isnan(v + s)]
    if len(pairs) < 2:
        return None
    xs, ys = zip(*pairs, strict=True)
    curves = [Curve("differences of the function itself", xs, ys, "primary")]
    level = autograd_level(detail)
    if level is not None:
        curves.append(
            Curve(f"autograd's gradient: {number(level)}", [xs[0], xs[-1]], [level, level], "error")
        )
    note = "Where the curve leaves autograd's level, the gradient does not describe the function."
    return Figure("Scale spectrum: median slope by step width h", tuple(curves), "h", "slope", True, note)


def autograd_level(detail: Detail) -> float | None:
    """The median gradient norm that an estimator saw through plain autograd."""
    for record in (detail.record, *detail.siblings):
        plain = record["gradient"] == "autograd" and "spectrum" not in record["curves"]
        value = record["evidence"].get("gradient_norm_median") if plain else None
        if record["status"] == "ok" and isinstance(value, float | int) and math.isfinite(value):
            return float(value)
    return None


def fit(detail: Detail) -> Figure | None:
    """How the batch maxima are spread, and the reverse Weibull fitted to them."""
    maxima = sorted(detail.curve("maxima"))
    if len(maxima) < 3:
        return None
    shares = [(n + 0.5) / len(maxima) for n in range(len(maxima))]
    curves = [Curve(f"{len(maxima)} batch maxima", maxima, shares, "primary", "points")]
    evidence = detail.record["evidence"]
    location, shape, scale = (evidence.get(f"fit_{name}") for name in ("location", "shape", "scale"))
    note = f"No curve is fitted: {evidence.get('fit_reason') or 'the maximum itself is used'}."
    if all(isinstance(v, float | int) and math.isfinite(v) for v in (location, shape, scale)) and scale > 0:
        low, high = min(maxima), max(location, maxima[-1])
        xs = [low + (high - low) * n / 60 for n in range(61)]
        ys = [reverse_weibull(x, location, shape, scale) for x in xs]
        curves.append(Curve(f"fit, ends at {number(location)}", xs, ys, "warning"))
        note = f"Reverse Weibull: location {number(location)}, shape {number(shape)}, scale {number(scale)}."
    elif maxima[0] == maxima[-1]:
        note = f"All {len(maxima)} maxima are {number(maxima[0])}: there is nothing to fit."
    return Figure(
        "Batch maxima of the gradient norm, and the fit", tuple(curves), "norm", "share", False, note
    )


def reverse_weibull(x: float, location: float, shape: float, scale: float) -> float:
    """Its distribution function: exp(-((location - x)/scale)^shape) below the location."""
    return 1.0 if x >= location else math.exp(-(((location - x) / scale) ** shape))


def score(detail: Detail) -> Figure | None:
    """The number as samples arrived, with the interval of the fit and the upper bound beside it."""
    values = detail.curve("score") or detail.curve("radius")
    if not values or not any(map(math.isfinite, values)):
        return None
    points = [(float(n + 1), v) for n, v in enumerate(values) if math.isfinite(v)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    curves = [Curve("the number so far", xs, ys, "primary", "line" if len(xs) > 1 else "points")]
    span = [xs[0], max(xs[-1], xs[0] + 1)]
    if interval := detail.record["interval"]:
        for label, end in zip(("interval, low", "high"), interval, strict=True):
            if isinstance(end, float | int) and math.isfinite(end):
                curves.append(Curve(f"{label} {number(end)}", span, [end, end], "secondary"))
    ceiling = upper_bound(detail)
    if ceiling is not None and detail.record["claim"] != "upper_bound":
        curves.append(Curve(f"upper bound {number(ceiling)}", span, [ceiling, ceiling], "error"))
    note = "A floor above the upper bound is false." if ceiling is not None else ""
    return Figure("The number as samples arrive", tuple(curves), "batch", "radius", False, note)


def upper_bound(detail: Detail) -> float | None:
    """The smallest settled upper bound among the siblings."""
    found = [
        float(r["radius"])
        for r in detail.siblings
        if r["claim"] == "upper_bound" and r["witness"] and r["radius"] is not None
    ]
    return min(found, default=None)


FIGURES: tuple[Callable[[Detail], Figure | None], ...] = (spectrum, fit, score)

__all__ = ["FIGURES", "Curve", "Figure", "Plot", "fit", "reverse_weibull", "score", "spectrum"]
