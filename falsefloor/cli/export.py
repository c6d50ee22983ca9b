"""`export` and `compare`: a run for a paper, a spreadsheet, a colleague; and two runs side by side."""

from __future__ import annotations

import enum
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.terminal import AsJson, RunName, complete_run, find, say, show, show_document, show_text
from falsefloor.errors import StoreError, UsageError

if TYPE_CHECKING:
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir


class Format(enum.StrEnum):
    """What a run can be exported as."""

    json = "json"
    csv = "csv"
    md = "md"
    html = "html"
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
) -> None:
    """Export a run: for programs (json, csv), people (md, html), papers (svg, png), or as a copy (run)."""
    found = find(ctx, run)
    if format_ is Format.run:
        _copy(found, output or Path(f"falsefloor-{found.id}"))
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
    with RunReader(found) as reader:
        text = _text(reader, format_)
    if output is None or str(output) == "-":
        show_text(text)
        return
    _write(output, text)
    say(f"wrote {output}")


def _text(reader: RunReader, format_: Format) -> str:
    if format_ is Format.json:
        from falsefloor.jsonable import finite

        return json.dumps(finite(reader.document()), indent=1, allow_nan=False)
    if format_ is Format.csv:
        from falsefloor.report.spreadsheet import write_csv

        file = io.StringIO()
        write_csv(reader.estimates(), file)
        return file.getvalue()
    if format_ is Format.md:
        from falsefloor.report.markdown import markdown

        return markdown(reader)
    from falsefloor.report.page import page

    return page(reader)


def _write(path: Path, text: str) -> None:
    """All of it or nothing: an export that broke off leaves an older file as it was."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}", delete=False, encoding="utf-8"
        ) as file:
            file.write(text if text.endswith("\n") else text + "\n")
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _copy(run: RunDir, target: Path) -> None:
    """A consistent copy of a run, live or not: a directory that `falsefloor show DIR` opens."""
    from falsefloor.store.files import copy_run

    try:
        target.mkdir(mode=0o755)
        copy_run(run.db, target / "run.db")
        for file in (run.study, run.log):
            if file.exists():
                (target / file.name).write_bytes(file.read_bytes())
    except FileExistsError as error:
        raise StoreError(f"{target} exists already; name another: --output DIR.") from error
    except OSError as error:
        raise StoreError(f"cannot copy the run to {target}: {error.strerror or error}.") from error
    say(f"copied to {target}; open it: falsefloor show {target}")


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
