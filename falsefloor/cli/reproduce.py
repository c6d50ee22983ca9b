"""`reproduce`: the note's figures, measured anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from falsefloor.cli.terminal import AsJson, say, show_document, show_text
from falsefloor.errors import UsageError

DEFAULT = Path("falsefloor-figures")


def reproduce(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go; made if missing.")
    ] = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Measure the note's figures again: data as CSV, pictures as SVG and PNG.

    CLEVER against exact distances, without and behind a staircase; the
    staircase and its ramp (Figure 1); the two regimes of a ramp against N·D·δ
    with a prediction; the sigmoid's underflow; what casts do to a model's
    slopes; noisy and misdirected gradients. Prints the files it wrote.
    Pictures need matplotlib: pip install "falsefloor[report]".
    """
    from falsefloor.plugins.process import ask
    from falsefloor.report.figures import draw
    from falsefloor.report.paint_plot import drawable

    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a directory for the figures: --out DIR")
    pictures = drawable()
    written: list[Path] = []
    for answer in ask("falsefloor.engine.reproduce", {"folder": str(out)}, doing="measuring the figures"):
        table = Path(answer["table"])
        written += [table, *(draw(table) if pictures else [])]
        say(f"{table.stem} done")
    if not pictures:
        say('no pictures: matplotlib is not installed; pip install "falsefloor[report]"')
    if as_json:
        files = [str(path) for path in written]
        show_document({"schema": "falsefloor.figures/1", "directory": str(out), "files": files})
    else:
        for path in written:
            show_text(str(path))
