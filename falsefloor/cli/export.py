"""`export` and `compare`: a run for a paper, a spreadsheet, a colleague; and two runs side by side."""

from __future__ import annotations

import enum
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.terminal import (
    AsJson,
    Radii,
    RunName,
    complete_run,
    find,
    say,
    show,
    show_document,
    show_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from falsefloor.store.reader import RunReader


class Format(enum.StrEnum):
    """What a run can be exported as."""

    json = "json"
    csv = "csv"
    md = "md"
    html = "html"
    tex = "tex"
    svg = "svg"
    png = "png"
    run = "run"


def export(
    ctx: typer.Context,
    run: RunName = "last",
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="svg, png: a folder of figures; run: a copy for others.")
    ] = Format.json,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: stdout; else a name from the id."),
    ] = None,
    at: Radii = None,
) -> None:
    """Export a run: for programs (json, csv), people (md, html), papers (tex, svg, png), or a copy (run)."""
    found = find(ctx, run)
    if format_ is Format.run:
        from falsefloor.store.files import copy_folder

        target = output or Path(f"falsefloor-{found.id}")
        copy_folder(found, target)
        say(f"copied to {target}; open it: falsefloor show {target}")
        return
    if format_ is Format.html and output is None:
        output = Path(f"falsefloor-{found.id}.html")
    from falsefloor.store.reader import RunReader

    if format_ in (Format.svg, Format.png):
        from falsefloor.report.paint_plot import write_figures

        folder = output or Path(f"falsefloor-{found.id}-figures")
        with RunReader(found) as reader:
            made = write_figures(reader, folder, kind="svg" if format_ is Format.svg else "png")
        say(f"wrote {len(made)} figures to {folder}")
        return
    from falsefloor.store.files import write_whole

    shown = output is None or str(output) == "-"
    with RunReader(found) as reader:
        if format_ is not Format.json:
            told: str | Iterator[str] = _text(reader, format_, at)
        elif shown:
            show_document(reader.streamed())
            return
        else:
            from falsefloor.jsonable import written

            told = written(reader.streamed())
        if output is not None and not shown:
            write_whole(output, told)
            say(f"wrote {output}")
        elif isinstance(told, str):
            show_text(told)


def _text(reader: RunReader, format_: Format, at: str | None) -> str:
    if format_ is Format.csv:
        from falsefloor.report.spreadsheet import write_csv

        file = io.StringIO()
        write_csv(reader.estimates(), file)
        return file.getvalue()
    if format_ in (Format.md, Format.tex):
        from falsefloor.report.accuracy import read_sets, tabular
        from falsefloor.report.citing import latex
        from falsefloor.report.comparison import read_comparison
        from falsefloor.report.markdown import markdown
        from falsefloor.report.radii import chosen_radii

        sets = read_sets(reader)
        radii, said = chosen_radii([] if at is None else at.split(","), sets, reader.models())
        for line in said:
            say(f"note: {line}")
        shares = tabular(sets, radii)
        if format_ is Format.md:
            return f"{markdown(reader)}\n{shares.markdown()}"
        return f"{latex(read_comparison(reader))}\n{shares.latex()}"
    from falsefloor.report.page import page

    return page(reader)


def compare(
    ctx: typer.Context,
    first: RunName,
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="The run to compare it with.", autocompletion=complete_run)
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two runs: which numbers and verdicts changed, and whether the intervals overlap."""
    from falsefloor.report.changes import ChangesTable, compare_runs
    from falsefloor.store.reader import RunReader

    runs = find(ctx, first), find(ctx, second)
    with RunReader(runs[0]) as one, RunReader(runs[1]) as other:
        changes = compare_runs(one, other)
    if as_json:
        ids = [run.id for run in runs]
        show_document({"schema": "falsefloor.compare/1", "runs": ids, **changes.to_json()})
        return
    show(ChangesTable(changes, runs[0].id, runs[1].id))
