"""The look of the pictures: the house's ink, line styles and marks beside colour, no date in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RED, BLUE, GREEN, GREY = "#b3261e", "#1f5fa8", "#2e7d32", "#5c5c5c"
"""What is false or misleads; what the function does; what bounds it from above; what is there to compare."""
SIZE = (6.4, 3.0)
"""Inches: 614 CSS pixels wide, the width of a page's text."""

TYPE, LEADING, ADVANCE = 8.5, 13.0, 0.602
"""Of a terminal's text: points, points between lines, and a column's width as a share of the type."""


def save(draw: Callable[[Any], None], path: Path) -> None:
    """One SVG. The same picture twice is the same file: ids from the text, no date."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look = {
        "svg.hashsalt": "falsefloor",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "path.simplify_threshold": 0.5,
    }
    with rc_context(look):
        figure = Figure(figsize=SIZE, layout="constrained", facecolor="white")
        draw(figure)
        figure.savefig(path, metadata={"Date": None})


def upright(axes: Any, at: float, words: str, *, colour: str, style: str = "--", high: float = 0.97) -> None:
    """A vertical line with its words beside it, in the upper part of the picture."""
    axes.axvline(at, color=colour, linestyle=style, linewidth=1.2)
    axes.annotate(
        words,
        (at, high),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color=colour,
        va="top",
    )


def level(axes: Any, at: float, *, colour: str = GREY) -> None:
    """A horizontal line where something changes sign."""
    axes.axhline(at, color=colour, linewidth=0.8, linestyle=":")


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
