"""The note's figures, drawn from the CSV files that `falsefloor reproduce` wrote: SVG and PNG beside them.

matplotlib is the extra `report` and is imported where something is drawn, never before.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FORMATS = ("svg", "png")
INK = {"staircase": "#b3261e", "ramp": "#1f5fa8", "other": "#5c5c5c"}


def drawable() -> bool:
    """Whether matplotlib is installed."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def draw(path: Path) -> list[Path]:
    """The pictures of one table, named after it. Raises `KeyError` for a table without a picture."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with path.open(newline="", encoding="utf-8") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    # the same picture twice is the same file: ids from the text, no date
    with rc_context({"svg.hashsalt": "falsefloor", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8, 3), layout="constrained")
        DRAWERS[path.stem](figure, rows)
        made = []
        for kind in FORMATS:
            picture = path.with_suffix(f".{kind}")
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(picture, dpi=144, metadata=metadata)
            made.append(picture)
    return made


Rows = Sequence[dict[str, str]]


def _steps(figure: Any, rows: Rows) -> None:
    titles = {"whole": "the unit interval", "zoom": "zoom: five steps", "closer": "closer: one and a half"}
    for place, (view, title) in enumerate(titles.items()):
        axes = figure.add_subplot(1, 3, place + 1)
        mine = [row for row in rows if row["view"] == view]
        t = [float(row["t"]) for row in mine]
        for name in ("staircase", "ramp"):
            values = [float(row[name]) for row in mine]
            axes.plot(t, values, color=INK[name], label=name, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("t")
        if place == 0:
            axes.set_ylabel("h(t)")
            axes.legend(frameon=False)


def _regimes(figure: Any, rows: Rows) -> None:
    axes = figure.add_subplot()
    counts = sorted({int(row["samples"]) for row in rows})
    digits = sorted({int(row["digit"]) for row in rows})
    for count, colour in zip(counts, (INK["staircase"], INK["ramp"]), strict=False):
        for digit in digits:
            mine = [row for row in rows if int(row["samples"]) == count and int(row["digit"]) == digit]
            x = [float(row["n_d_delta"]) for row in mine]
            axes.plot(x, [float(row["predicted"]) for row in mine], color=colour, linewidth=0.8, alpha=0.7)
            label = f"N = {count}" if digit == digits[0] else None
            axes.plot(
                x, [float(row["measured"]) for row in mine], "o", color=colour, markersize=3, label=label
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axvline(math.log(2), color=INK["other"], linestyle=":", linewidth=1)
    axes.set_xlabel("N·D·δ (samples × dimensions × share of ramp); dotted: a hit is as likely as none")
    axes.set_ylabel("CLEVER score")
    axes.set_title("points: measured; lines: predicted from the unmasked gradients")
    axes.legend(frameon=False)


def _underflow(figure: Any, rows: Rows) -> None:
    axes = figure.add_subplot()
    t = [float(row["t"]) for row in rows]
    axes.plot(
        t, [_shown(row["exact"]) for row in rows], color=INK["other"], linewidth=3, alpha=0.3, label="exact"
    )
    for name, colour in (("float64", INK["ramp"]), ("float32", INK["staircase"])):
        axes.plot(t, [_shown(row[name]) for row in rows], color=colour, label=name, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_xlabel("t")
    axes.set_ylabel("derivative of the sigmoid")
    axes.set_title("where a line ends, autograd returns exactly 0")
    axes.legend(frameon=False)


def _casts(figure: Any, rows: Rows) -> None:
    axes = figure.add_subplot()
    colours = ("#5c5c5c", "#1f5fa8", "#2e7d32", "#b3261e", "#8e24aa")
    for name, colour in zip(dict.fromkeys(row["cast"] for row in rows), colours, strict=False):
        mine = [row for row in rows if row["cast"] == name]
        h = [float(row["h"]) for row in mine]
        label = "float32, as it is" if name == "none" else name
        axes.plot(h, [float(row["slope"]) for row in mine], color=colour, label=label, linewidth=1.2)
        level = float(mine[0]["autograd"])
        axes.axhline(level, color=colour, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("step h")
    axes.set_ylabel("median slope over steps of h")
    axes.set_title(
        "dotted: what autograd says; it is the same for every floating point cast, and 0 for uint8"
    )
    axes.legend(frameon=False)


def _shown(text: str) -> float:
    """A zero has no place on a logarithmic axis: the line ends there."""
    value = float(text)
    return value if value > 0 else math.nan


DRAWERS: dict[str, Callable[[Any, Rows], None]] = {
    "steps": _steps,
    "regimes": _regimes,
    "underflow": _underflow,
    "casts": _casts,
}

__all__ = ["DRAWERS", "draw", "drawable"]
