"""Figures painted with plotext. Imported only by the page that shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from textual.color import Color
from textual_plotext import PlotextPlot

from falsefloor.report.figure import Curve, Figure, Level
from falsefloor.report.scale import BREAK

TONES = {
    "function": "primary",
    "gradient": "error",
    "fit": "warning",
    "bound": "error",
    "interval": "secondary",
}
"""The theme's colour of what is drawn."""
LETTERS = {"gradient": "=", "bound": "-", "interval": ":", "fit": "."}
"""Levels of the same colour differ by what they are drawn with; curves are dots."""


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
        plt.xlim(0.0, 1.0)
        plt.ylim(0.0, 1.0)
        if figure.y.zeros:
            # First: where there are few lines, what was measured is drawn over it.
            plt.plot([0.0, 1.0], [BREAK, BREAK], marker="~", color=_colour(self.app.theme_variables, "panel"))
        for level in figure.levels:
            self._level(plt, figure, level)
        for curve in figure.curves:
            self._curve(plt, figure, curve)
        room = max(2, self.size.width // 10)
        plt.xticks(*zip(*figure.x.ticks[:: math.ceil(len(figure.x.ticks) / room)], strict=True))
        plt.yticks(*zip(*figure.y.ticks, strict=True))
        if self.size.height > 8:
            plt.xlabel(figure.x.name)
        return super().render()

    def _curve(self, plt: Any, figure: Figure, curve: Curve) -> None:
        plain = bool(getattr(self.app, "ascii", False))
        places = [(figure.x.at(x), figure.y.at(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        xs, ys = [x for x, y in places if None not in (x, y)], [y for x, y in places if None not in (x, y)]
        if xs:
            marker = "*" if plain else "braille" if curve.line else "dot"
            colour = _colour(self.app.theme_variables, ink(curve))
            (plt.plot if curve.line else plt.scatter)(xs, ys, marker=marker, color=colour)

    def _level(self, plt: Any, figure: Figure, level: Level) -> None:
        at = (figure.x if level.upright else figure.y).at(level.value)
        if at is not None:
            ends = ([at, at], [0.0, 1.0])
            xs, ys = ends if level.upright else ends[::-1]
            colour = _colour(self.app.theme_variables, ink(level))
            plt.plot(xs, ys, marker=sign(level), color=colour)


def ink(drawn: Curve | Level) -> str:
    return TONES.get(drawn.role, drawn.role)


def sign(drawn: Curve | Level) -> str:
    """The letter that a level is drawn with; empty for a curve."""
    return LETTERS.get(drawn.role, "-") if isinstance(drawn, Level) else ""


def _colour(variables: Mapping[str, str], tone: str) -> tuple[int, int, int] | str:
    """As plotext takes it: a triple, or the name of one of the sixteen."""
    given = variables.get(tone, "#808080")
    if given.startswith("ansi_"):
        return given.removeprefix("ansi_").replace("bright_black", "gray").replace("bright_", "") + "+" * (
            "bright_" in given and "bright_black" not in given
        )
    return Color.parse(given).rgb
