"""Figures painted with matplotlib, the extra `report`: a run's as files, and those of the documentation.

matplotlib is imported where something is drawn, never before.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, get_args

from falsefloor.errors import UsageError
from falsefloor.report.accuracy import sets_so_far
from falsefloor.report.cells import brief
from falsefloor.report.detail import first_records, worst_details
from falsefloor.report.figure import FIGURES, Curve, Figure, Level
from falsefloor.report.paint_svg import ink
from falsefloor.report.radii import comparison, curves
from falsefloor.report.scale import BREAK
from falsefloor.report.standing import by_input, picture
from falsefloor.report.text import clean
from falsefloor.store.files import write_whole
from falsefloor.store.reader import RunReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

Kind = Literal["svg", "png", "pdf"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NARROW = 5.0
"""Inches below which a figure stands in a column."""
LETTERS = 58
"""Of a note's line below a figure."""
COMPARED = 5000
"""Points in the comparison: more are one blot."""
LOOK: Any = {
    # text stays text, and the same picture twice is the same file
    "svg.fonttype": "none",
    "svg.hashsalt": "falsefloor",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_MARKS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "x", "plus": "+"}


def drawable() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def paint(axes: Axes, figure: Figure, *, beside: bool = True) -> None:
    """One figure into axes that measure shares of its sides. beside: so may a legend stand."""
    for curve in figure.curves:
        _curve(axes, figure, curve)
    for level in figure.levels:
        at = (figure.x if level.upright else figure.y).at(level.value)
        if at is not None:
            (axes.axvline if level.upright else axes.axhline)(at, **_line(level), label="_")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xticks([at for at, _ in figure.x.ticks], [clean(word) for _, word in figure.x.ticks])
    axes.set_yticks([at for at, _ in figure.y.ticks], [clean(word) for _, word in figure.y.ticks])
    axes.set_xlabel(clean(figure.x.name))
    axes.set_ylabel(clean(figure.y.name))
    slanted: dict[str, Any] = {
        "marker": [(-1, -0.6), (1, 0.6)],
        "ms": 8,
        "mec": "black",
        "clip_on": False,
        "lw": 0,
    }
    if figure.y.zeros:
        axes.axhspan(0.0, BREAK, color="#f0f0f0", zorder=0)
        axes.plot([0.0, 0.0], [BREAK - 0.01, BREAK + 0.01], **slanted)
    if figure.x.zeros:
        axes.axvspan(0.0, BREAK, color="#f0f0f0", zorder=0)
        axes.plot([BREAK - 0.01, BREAK + 0.01], [0.0, 0.0], **slanted)
    _legend(axes, figure, beside=beside and bool(figure.rows))


def _legend(axes: Axes, figure: Figure, *, beside: bool) -> None:
    """What is what, and the notes: beside a comparison, below the others, so that nothing lies on a curve."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    sheet = axes.get_figure(root=True)
    assert sheet is not None  # these axes stand on one
    below = axes.transAxes + ScaledTranslation(0.0, -0.42, sheet.dpi_scale_trans)
    axes.legend(
        handles=[Line2D([], [], **_line(one), label=clean(one.name)) for one in figure.legend],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0) if beside else (0.0, 0.0),
        bbox_transform=axes.transAxes if beside else below,
        title="\n".join(line for note in figure.notes for line in wrap(clean(note), LETTERS)) or None,
        title_fontsize=7,
        alignment="left",
    )


def _curve(axes: Axes, figure: Figure, curve: Curve) -> None:
    both = zip(map(figure.x.at, curve.x), map(figure.y.at, curve.y), strict=True)
    # what has no place breaks the line
    places = [(math.nan, math.nan) if x is None or y is None else (x, y) for x, y in both]
    axes.plot([x for x, _ in places], [y for _, y in places], **_line(curve), alpha=0.8, label="_")


def _line(drawn: Curve | Level) -> dict[str, Any]:
    colour, dashes = ink(drawn)
    lengths = [float(part) for part in dashes.split()]
    style: dict[str, Any] = {"color": colour, "lw": 1.3, "ls": (0, lengths) if lengths else "-"}
    if isinstance(drawn, Curve):
        style |= {"marker": _MARKS.get(drawn.marker, ""), "ms": 4, "lw": 1.3 * drawn.line}
    return style


def sheet(figures: Sequence[Figure], *, title: str = "", width: float = 0.0) -> Sheet:
    """Figures side by side on one sheet of their own; one below another where a width in inches is given."""
    from matplotlib.figure import Figure as Sheet

    rows, keys = (max(counts) for counts in zip(*((f.rows, len(f.legend)) for f in figures), strict=True))
    below = 1.2 + 0.18 * keys
    size = (10, 1.2 + 0.45 * rows) if rows else (max(6.4, 3.8 * len(figures)), 2.4 + below)
    places = (1, len(figures))
    if width:
        each = 0.14 * rows or 0.6 * width
        places, size = places[::-1], (width, len(figures) * (each + 0.8 + 0.13 * keys))
    made = Sheet(figsize=size, layout="constrained", facecolor="white")
    for axes, figure in zip(made.subplots(*places, squeeze=False).flat, figures, strict=True):
        axes.set_title(figure.title, loc="left")
        paint(axes, figure, beside=not width)
    if title:
        made.suptitle(clean(title))
    return made


def save(made: Sheet, path: Path, *, kind: Kind, trim: bool = True) -> None:
    """One file, whole or none; matplotlib would stamp the time into an SVG, its own version into a PNG."""
    stamp = {{"svg": "Date", "pdf": "CreationDate", "png": "Software"}[kind]: None}
    drawn = io.BytesIO()
    made.savefig(drawn, format=kind, dpi=160, metadata=stamp, bbox_inches="tight" if trim else None)
    write_whole(path, drawn.getvalue())


def write_figure(figure: Figure, path: Path) -> None:
    """One figure as a file, of the kind that its name ends in. Raises `UsageError`."""
    kind = next((one for one in KINDS if path.suffix == f".{one}"), None)
    if kind is None:
        raise UsageError(
            f"a figure is written as {', '.join(f'.{one}' for one in KINDS)}; not {path.name!r}."
        )
    with _drawing(0.0):
        try:
            save(sheet([figure]), path, kind=kind)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}.") from error


def _drawing(width: float) -> AbstractContextManager[None]:
    """matplotlib with our looks, in a column's width with smaller letters.

    Raises `UsageError` where it is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError("figures need matplotlib: pip install 'falsefloor[report]'.") from error
    return mpl.rc_context(LOOK | ({"font.size": 6, "axes.titlesize": 7} if 0 < width < NARROW else {}))


def write_figures(reader: RunReader, folder: Path, *, kind: Kind, width: float = 0.0) -> list[Path]:
    """Write the figures of a run into a folder, made if need be; returns their paths.

    One compares all estimates; one an estimate shows its stored curves. width: of a figure, in inches; 0 for
    as wide as it needs. Raises `UsageError` where matplotlib
    is not installed, or the folder cannot be written.
    """
    written = []
    with _drawing(width):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, made in _sheets(reader, width):
                written.append(folder / f"{name}.{kind}")
                save(made, written[-1], kind=kind, trim=not width)
        except OSError as error:
            raise UsageError(f"cannot write figures to {folder}: {error.strerror or error}.") from error
    return written


def _sheets(reader: RunReader, width: float) -> Iterator[tuple[str, Sheet]]:
    records = list(chain.from_iterable(first_records(reader, most=COMPARED).values()))
    more = sum(reader.info().counts.values()) - len(records)
    yield "comparison", sheet([comparison(records, more=more)], width=width)
    if known := by_input(records):
        yield "floors", sheet([picture(known)], width=width)
    if sets := sets_so_far(reader):
        yield "accuracy", sheet([curves(sets)], width=width)
    for detail in worst_details(reader):
        record = detail.record
        figures = [figure for make in FIGURES.values() if (figure := make(detail)) is not None]
        if figures:
            words = (record["model"], record["masker"], record["norm"], record["name"], str(record["input"]))
            told = (*words[1:4], f"input {words[4]}", brief(record).word)
            yield (
                re.sub(r"[^A-Za-z0-9.=_-]+", "-", "_".join(words)),
                sheet(figures, title=" · ".join(told), width=width),
            )
