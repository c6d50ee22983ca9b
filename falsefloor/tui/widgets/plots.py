"""Figures painted with plotext. Imported only by what shows them, for the first paint waits for none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rich.cells import cell_len
from textual.color import Color
from textual.containers import Container
from textual.widget import Widget
from textual_plotext import PlotextPlot

from falsefloor.report.figure import Curve, Figure, Level, on_axes, read_off
from falsefloor.report.scale import BREAK
from falsefloor.report.text import clean
from falsefloor.tui.widgets.inputs import Words

TONES = {
    "function": "primary",
    "gradient": "error",
    "fit": "warning",
    "bound": "error",
    "interval": "secondary",
}
"""The theme's colour of what is drawn."""
LEVELS = {"gradient": "=", "bound": "-", "interval": ":", "fit": "."}
CURVES = "*ox+#@"
"""Nothing is told apart by its colour alone: levels differ by what they are drawn with, and so do curves."""


class Plot(PlotextPlot, can_focus=False):
    """A figure, with the theme's colours and room for its axes. at: the point that is read off."""

    figure: Figure | None = None
    at: int | None = None

    def draw(self, figure: Figure | None, at: int | None = None) -> None:
        self.figure, self.at = figure, at
        self.refresh()

    @property
    def letters(self) -> bool:
        """Whether curves are drawn with letters: no colours, or nothing but ASCII."""
        return bool(getattr(self.app, "ascii", False)) or self.app.no_color

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
            plt.plot(
                [0.0, 1.0],
                [self._row(BREAK)] * 2,
                marker="~",
                color=_colour(self.app.theme_variables, "panel"),
            )
        for level in figure.levels:
            self._level(plt, figure, level)
        if (
            self.at is not None
            and figure.curves
            and (at := figure.x.at(figure.curves[0].x[self.at])) is not None
        ):
            plt.plot([at, at], [0.0, 1.0], marker="|", color=_colour(self.app.theme_variables, "accent"))
        for curve in figure.curves:
            self._curve(plt, figure, curve)
        room = max(2, self.size.width // 10)
        if figure.x.ticks:
            plt.xticks(*zip(*figure.x.ticks[:: math.ceil(len(figure.x.ticks) / room)], strict=True))
        if figure.y.ticks:
            places, words = zip(*figure.y.ticks, strict=True)
            plt.yticks([self._row(at) for at in places], words)
        if self.size.height > 8:
            plt.xlabel(figure.x.name)
        return super().render()

    @property
    def _dots(self) -> tuple[str, int]:
        """What the first curve is drawn with, and how many of its dots stand above each other in a row."""
        return ("braille", 4) if getattr(self.app, "braille", True) else ("hd", 2)

    def _row(self, at: float) -> float:
        """Where a letter stands in the row of a curve's dots at the same value.

        The plotting library rounds each in its own way: a curve would lie below the level that it is on.
        """
        fine = 1 if self.letters else self._dots[1]
        rows = self.size.height - 3 - (self.size.height > 8)
        return min(rows - 1, math.floor(0.5 + (fine * rows - 1) * at) // fine) / (rows - 1)

    def _curve(self, plt: Any, figure: Figure, curve: Curve) -> None:
        places = [(figure.x.at(x), figure.y.at(y)) for x, y in zip(curve.x, curve.y, strict=True)]
        xs, ys = [x for x, y in places if None not in (x, y)], [y for x, y in places if None not in (x, y)]
        if xs:
            letter = sign(figure, curve, letters=True)
            fine = self._dots[0] if curve.line else "dot"
            marker = letter if self.letters or curve is not figure.curves[0] else fine
            colour = _colour(self.app.theme_variables, ink(curve))
            (plt.plot if curve.line else plt.scatter)(xs, ys, marker=marker, color=colour)

    def _level(self, plt: Any, figure: Figure, level: Level) -> None:
        at = (figure.x if level.upright else figure.y).at(level.value)
        if at is not None:
            xs, ys = ([at, at], [0.0, 1.0]) if level.upright else ([0.0, 1.0], [self._row(at)] * 2)
            colour = _colour(self.app.theme_variables, ink(level))
            plt.plot(xs, ys, marker=sign(figure, level), color=colour)


class Drawing(Container):
    """A figure with its title, what each line is, and its notes; where there is none, why."""

    def __init__(self, absent: str = "", **given: Any) -> None:
        super().__init__(**given)
        self._absent = absent
        self.figure: Figure | None = None
        self.axes: list[bool | None] = [None, None]
        """y and x: whether as a logarithm; None as the figure has it"""
        self.at: int | None = None

    def compose(self) -> Iterable[Widget]:
        yield Words(classes="title")
        yield Plot()
        yield Words(classes="note")

    def draw(self, figure: Figure | None) -> None:
        if figure is None or self.figure is None or figure.title != self.figure.title:
            self.at = None
        self.figure = figure
        self._paint()

    def on_mount(self) -> None:
        self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        if not self.query(".note"):
            return  # it is being put up, and paints then
        plot, figure = self.query_one(Plot), self.figure
        title, note = self.query_one(".title", Words), self.query_one(".note", Words)
        if figure is None:
            self.border_title = ""
            title.tell([(self._absent, "dim")])
            note.tell("")
            plot.draw(None)
            return
        if self.at is not None:
            self.at = min(self.at, len(figure.curves[0].x) - 1)
        shown = on_axes(figure, y=self.axes[0], x=self.axes[1])
        bar = str(self.app.glyphs.bar)  # type: ignore[attr-defined]
        pieces = [
            (
                f"{sign(figure, one, letters=plot.letters, bar=bar)} {clean(one.name)}   ",
                ink(one),
            )
            for one in figure.legend
        ]
        self.border_title = f" {figure.title} "
        wide = sum(cell_len(text) for text, _ in pieces)
        title.tell(pieces, joint="" if wide <= self.size.width else "\n")
        said = [(clean(read_off(figure, self.at)), "strong")] if self.at is not None else []
        note.tell([*said, (clean(" ".join(figure.notes)), "dim")])
        plot.draw(shown, self.at)

    def turn(self, side: int) -> None:
        """The other kind of axis: 0 the upright side, 1 the flat one."""
        if self.figure is not None:
            given = (self.figure.y, self.figure.x)[side].log
            now = given if self.axes[side] is None else self.axes[side]
            self.axes[side] = not now
            self._paint()

    def step(self, by: int) -> None:
        """Read the next point off, or the one before."""
        if self.figure is not None and self.figure.curves and self.figure.curves[0].x:
            count = len(self.figure.curves[0].x)
            self.at = (0 if by > 0 else count - 1) if self.at is None else (self.at + by) % count
            self._paint()


def ink(drawn: Curve | Level) -> str:
    return TONES.get(drawn.role, drawn.role)


def sign(figure: Figure, drawn: Curve | Level, *, letters: bool = False, bar: str = "") -> str:
    """What it is drawn with, as the legend shows it."""
    if isinstance(drawn, Level):
        return LEVELS.get(drawn.role, "-") * (1 + bool(bar))
    place = next((n for n, one in enumerate(figure.curves) if one is drawn), 0)
    return CURVES[place % len(CURVES)] if letters or place or not bar else bar


def _colour(variables: Mapping[str, str], tone: str) -> tuple[int, int, int] | str:
    """As plotext takes it: a triple, or the name of one of the sixteen."""
    given = variables.get(tone, "#808080")
    if given.startswith("ansi_"):
        return given.removeprefix("ansi_").replace("bright_black", "gray").replace("bright_", "") + "+" * (
            "bright_" in given and "bright_black" not in given
        )
    return Color.parse(given).rgb
