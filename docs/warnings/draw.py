"""The look of the pictures: the house's ink, line styles and marks beside colour, no date in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from falsefloor.report.figure import Curve, Figure, Level
from falsefloor.report.paint_plot import LOOK, sheet
from falsefloor.report.paint_svg import INK
from falsefloor.report.scale import linear, logarithmic

RED, BLUE, GREEN, GREY = (INK[role][0] for role in ("red", "blue", "green", "interval"))
"""What is false or misleads; what the function does; what bounds it from above; what is there to compare."""
SIZE = (6.4, 3.0)
"""Inches: 614 CSS pixels wide, the width of a page's text."""

TYPE, LEADING, ADVANCE = 8.5, 13.0, 0.602
"""Of a terminal's text: points, points between lines, and a column's width as a share of the type."""


Shown = Figure | Sequence[Figure] | Callable[[Any], None]
"""Figures as a run's are painted, or what draws into a sheet of matplotlib where a figure cannot say it."""


def save(shown: Shown, path: Path) -> None:
    """One SVG. The same picture twice is the same file: ids from the text, no date."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Sheet

    with rc_context({**LOOK, "path.simplify_threshold": 0.5}):
        if callable(shown):
            drawn = Sheet(figsize=SIZE, layout="constrained", facecolor="white")
            shown(drawn)
        else:
            drawn = sheet([shown] if isinstance(shown, Figure) else shown)
        drawn.savefig(path, metadata={"Date": None})


def figure(x: str, y: str, *drawn: Curve | Level, title: str = "", log: str = "") -> Figure:
    """Sides wide enough for all of it. log: which sides are logarithmic, "x", "y" or "xy"."""
    curves = tuple(one for one in drawn if isinstance(one, Curve))
    levels = tuple(one for one in drawn if isinstance(one, Level))
    across = [v for one in curves for v in one.x] + [one.value for one in levels if one.upright]
    up = [v for one in curves for v in one.y] + [one.value for one in levels if not one.upright]
    sides = [
        (logarithmic if side in log else linear)(name, values)
        for side, name, values in (("x", x, across), ("y", y, up))
    ]
    return Figure(title, *sides, curves, levels)


def line(name: str, x: Any, y: Any, role: str, marker: str = "", *, joined: bool = True) -> Curve:
    """A curve from tensors or lists."""
    xs, ys = ([float(v) for v in values] for values in (x, y))
    return Curve(name, xs, ys, role, marker, joined)


def steps(name: str, x: Sequence[float], y: Sequence[float], role: str) -> Curve:
    """A value that stays until the next one."""
    corners = [(b, v) for a, b, v in zip(x, x[1:], y, strict=False) for b in (a, b)]
    return line(name, [at for at, _ in corners] + [x[-1]], [v for _, v in corners] + [y[-1]], role)


ZERO = Level("another class below", 0.0, "interval")
"""Where a margin changes its sign."""


def bars(
    axes: Any, names: Sequence[str], values: Sequence[float], *, colours: Sequence[str], form: str
) -> Any:
    """Horizontal bars, the first on top, each with its number; returned, to be hatched."""
    rows = range(len(names))
    shown = axes.barh(rows, values, color=colours, height=0.6)
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    for row, value in zip(rows, values, strict=True):
        axes.annotate(
            format(value, form), (value, row), xytext=(4, 0), textcoords="offset points", va="center"
        )
    return shown


def terminal(figure: Any, lines: Sequence[str]) -> None:
    """What a terminal shows. SVG folds spaces, so words two or more apart are placed by their column."""
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    width, height = (72.0 * inches for inches in SIZE)
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    column = ADVANCE * TYPE
    top = (height - LEADING * len(lines)) / 2
    axes.fill(
        [8, width - 8, width - 8, 8], [top - 8, top - 8, height - top, height - top], "#f5f5f5", ec=GREY
    )
    for row, line in enumerate(lines):
        for piece in re.finditer(r"\S+(?: \S+)*", line):
            axes.text(
                18.0 + column * piece.start(),
                top + LEADING * (row + 0.5),
                piece[0],
                family=["DejaVu Sans Mono", "monospace"],
                fontsize=TYPE,
                va="center",
            )
