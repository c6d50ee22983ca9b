"""`export` and `compare`: a run for a paper, a spreadsheet, a colleague; and two runs side by side."""

from __future__ import annotations

import enum
from dataclasses import asdict
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
    from falsefloor.report.paint_plot import Kind


class Format(enum.StrEnum):
    """What a run can be exported as."""

    json = "json"
    csv = "csv"
    md = "md"
    html = "html"
    tex = "tex"
    bib = "bib"
    methods = "methods"
    svg = "svg"
    png = "png"
    pdf = "pdf"
    run = "run"


FIGURES: dict[Format, Kind] = {Format.svg: "svg", Format.png: "png", Format.pdf: "pdf"}


def export(
    ctx: typer.Context,
    run: RunName = "last",
    format_: Annotated[
        Format,
        typer.Option("--format", "-f", help="svg, png, pdf: a folder of figures; run: a copy."),
    ] = Format.json,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: stdout; else a name from the id."),
    ] = None,
    at: Radii = None,
    width: Annotated[
        float,
        typer.Option(metavar="INCHES", help="Of a figure, as a column's 3.25; 0: what it needs", min=0),
    ] = 0.0,
) -> None:
    """Export a run: for programs (json, csv), people (md, html), a paper or a copy (run).

    For a paper: tables (tex), the methods in a paragraph, what to cite (bib), figures (svg, png, pdf).
    """
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

    if format_ in FIGURES:
        from falsefloor.report.paint_plot import write_figures

        folder = output or Path(f"falsefloor-{found.id}-figures")
        with RunReader(found) as reader:
            made = write_figures(reader, folder, kind=FIGURES[format_], width=width)
        say(f"wrote {len(made)} figures to {folder}")
        return
    from falsefloor.report.forms import text
    from falsefloor.store.files import write_whole

    with RunReader(found) as reader:
        radii = [] if at is None else at.split(",")
        told = text(reader, format_.value, at=radii, note=lambda line: say(f"note: {line}"))
        if output is None or str(output) == "-":
            show_text(told)
        else:
            write_whole(output, told)
            say(f"wrote {output}")


def compare(
    ctx: typer.Context,
    first: RunName,
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="The run to compare it with.", autocompletion=complete_run)
    ],
    at: Radii = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Curves of both, as .svg, .png or .pdf."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs over the inputs that both have: which numbers and verdicts changed, and by how much.

    With --at, also their robust accuracy at these radii, paired.
    """
    from falsefloor.report.accuracy import read_sets
    from falsefloor.report.changes import ChangesTable, compare_runs, compare_sets, sets_table
    from falsefloor.report.radii import chosen_radii, overlaid
    from falsefloor.store.reader import RunReader

    runs = find(ctx, first), find(ctx, second)
    ids = [run.id for run in runs]
    with RunReader(runs[0]) as one, RunReader(runs[1]) as other:
        changes = compare_runs(one, other)
        sets = (read_sets(one), read_sets(other)) if at is not None or output is not None else ([], [])
        radii: list[float] = []
        if at is not None:
            models = {**other.models(), **one.models()}
            radii, said = chosen_radii(at.split(","), [*sets[0], *sets[1]], models)
            for line in said:
                say(f"note: {line}")
    accuracy = compare_sets(sets, radii)
    if output is not None:
        from falsefloor.report.paint_plot import write_figure

        write_figure(overlaid(sets, ids), output)
        say(f"wrote {output}")
    if as_json:
        shares = {} if at is None else {"accuracy": [each.to_json() for each in accuracy]}
        show_document({"schema": "falsefloor.compare/1", "runs": ids, **asdict(changes), **shares})
        return
    show(ChangesTable(changes, *ids))
    if at is not None:
        show("")
        show(sets_table(accuracy, *ids))
