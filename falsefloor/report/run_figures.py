"""A run's figures for a paper or slides, as SVG or PNG files through matplotlib (the extra `report`).

One figure compares all estimates; one an estimate shows its stored curves: the slope over the step width with
autograd's level, the batch maxima with the fitted end, the score as batches arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from falsefloor.checks.verdicts import VERDICTS, rank
from falsefloor.errors import UsageError
from falsefloor.jsonable import as_number
from falsefloor.report.drawings import values
from falsefloor.report.html import COLOURS
from falsefloor.report.text import clean
from falsefloor.store.reader import RunReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["svg", "png"]
DRAWN = 40
"""Estimates with a figure of their own, the first input's and the worst verdicts first."""
_COMPARED = ("model", "masker", "norm", "name", "radius", "verdict")


def write_figures(reader: RunReader, folder: Path, *, kind: Kind) -> list[Path]:
    """Write the figures of a run into a folder, made if need be; returns their paths.

    Raises `UsageError` where matplotlib is not installed, or the folder cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError("figures need matplotlib: pip install 'falsefloor[report]'.") from error
    written = []
    # text stays text, and the same run gives the same bytes
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "falsefloor", "font.size": 9}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, figure in _figures(reader):
                path = folder / f"{name}.{kind}"
                # matplotlib stamps the time into an SVG, but nothing into a PNG
                stamp = {"Date": None} if kind == "svg" else None
                figure.savefig(path, dpi=160, metadata=stamp, bbox_inches="tight")
                written.append(path)
        except OSError as error:
            raise UsageError(f"cannot write figures to {folder}: {error.strerror or error}.") from error
    return written


def _figures(reader: RunReader) -> Iterator[tuple[str, Figure]]:
    drawn: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for record in reader.estimates():
        if record["status"] == "ok":
            points.append({key: record[key] for key in _COMPARED})
        worst = record["verdict"] in VERDICTS[:2] or record["input"] == 0
        if worst and record["curves"]:
            drawn.append(record)
    yield "comparison", _comparison(points)
    drawn.sort(key=lambda r: (rank(r["verdict"]), r["input"]))
    for record in drawn[:DRAWN]:
        figure = _curves(reader, record)
        if figure is not None:
            words = (record["model"], record["masker"], record["norm"], record["name"], str(record["input"]))
            yield re.sub(r"[^A-Za-z0-9.=_-]+", "-", "_".join(words)), figure


def _comparison(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Radii on a logarithmic axis: a row a subject, a marker an estimator, the colour its verdict."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    subjects = list(dict.fromkeys(f"{p['model']} {p['masker']} {p['norm']}" for p in points))
    labels = list(dict.fromkeys(p["name"] for p in points))
    figure = Figure(figsize=(7, 1 + 0.45 * max(1, len(subjects))))
    axes = figure.subplots()
    for point in points:
        radius = as_number(point["radius"])
        if radius is not None and 0 < radius < float("inf"):
            row = subjects.index(f"{point['model']} {point['masker']} {point['norm']}")
            at = row + 0.6 * ((labels.index(point["name"]) + 0.5) / len(labels) - 0.5)
            colour = COLOURS.get(str(point["verdict"]), "black")
            axes.plot(radius, at, _marker(labels.index(point["name"])), color=colour, alpha=0.7, ms=5, lw=0)
    axes.set_xscale("log")
    axes.set_xlabel("radius, in the input's own units")
    axes.set_yticks(range(len(subjects)), [clean(subject) for subject in subjects])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    keys = [
        Line2D([], [], color="0.3", marker=_marker(n), lw=0, label=clean(name))
        for n, name in enumerate(labels)
    ]
    keys += [Line2D([], [], color=COLOURS[v], marker="s", lw=0, label=v) for v in VERDICTS if v in COLOURS]
    axes.legend(handles=keys, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _marker(number: int) -> str:
    return "osv^D<>pPXh*"[number % 12]


def _curves(reader: RunReader, record: Mapping[str, Any]) -> Figure | None:
    """The stored curves of one estimate side by side; None where there are none that can be drawn."""
    from matplotlib.figure import Figure

    found = {name: values(reader.array(f"{record['arrays']}/curve-{name}")) for name in record["curves"]}
    evidence = record["evidence"]
    panels = [name for name in ("spectrum", "maxima", "score") if len(found.get(name, ())) > 1]
    if "spectrum" in panels and len(found.get("scales", ())) < 2:
        panels.remove("spectrum")
    if not panels:
        return None
    figure = Figure(figsize=(3.6 * len(panels), 2.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if name == "spectrum":
            _spectrum(
                axes, found["scales"], found["spectrum"], as_number(evidence.get("gradient_norm_median"))
            )
        elif name == "maxima":
            axes.hist(found["maxima"], bins=20, color="#1a56b0")
            if (end := as_number(evidence.get("lipschitz"))) is not None:
                axes.axvline(end, color="#b00020", ls="--", label=f"end {end:.3g}")
                axes.legend(frameon=False)
            axes.set_xlabel("largest slope of a batch")
        else:
            axes.plot(range(1, len(found["score"]) + 1), found["score"], color="#1a56b0")
            axes.set_xlabel("batches")
            axes.set_ylabel("score")
    words = (record["masker"], record["norm"], record["name"], f"input {record['input']}", record["verdict"])
    figure.suptitle(clean(" · ".join(str(word) for word in words)))
    return figure


def _spectrum(axes: Axes, scales: list[float], slopes: list[float], level: float | None) -> None:
    axes.plot(scales, slopes, "o-", ms=3, color="#1a56b0", label="the function")
    if level is not None:
        axes.axhline(level, color="#b00020", ls="--", label=f"autograd {level:.3g}")
    axes.set_xscale("log")
    positive = [slope for slope in slopes if slope > 0]
    axes.set_yscale("symlog", linthresh=min(positive, default=1.0))
    axes.set_xlabel("step width h")
    axes.set_ylabel("slope")
    axes.legend(frameon=False)


__all__ = ["Kind", "write_figures"]
