"""`show` and `watch`: what a run found so far, and while it finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from falsefloor.cli.ending import INTERRUPTED, ending, leave
from falsefloor.cli.terminal import AsJson, RunName, find, say, show_document

if TYPE_CHECKING:
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir


def show(ctx: typer.Context, run: RunName = "last", as_json: AsJson = False) -> None:
    """Print a run: the table, what was refuted and by which witness.

    Works while it runs and long after; `falsefloor show last --json` gives everything for a script.
    """
    print_run(find(ctx, run), as_json=as_json)


def watch(ctx: typer.Context, run: RunName = "last", as_json: AsJson = False) -> None:
    """Follow a run until it ends, then print it. Ctrl-C stops watching; the run goes on.

    The exit code is the run's: 0 ok, 1 an estimate failed, 5 its worker was lost, 130 cancelled.
    """
    from falsefloor.cli.follow import follow

    found = find(ctx, run)
    try:
        follow(found, owner=False)
    except KeyboardInterrupt:
        say(f"stopped watching; the run goes on: falsefloor watch {found.id}")
        raise typer.Exit(INTERRUPTED) from None
    print_run(found, as_json=as_json)
    leave(ending(found))


def print_run(run: RunDir, *, as_json: bool) -> None:
    """A run on stdout, as a table or as the document falsefloor.run/1."""
    from falsefloor.store.reader import RunReader

    with RunReader(run) as reader:
        if as_json:
            show_document(reader.document())
            if error := reader.info().error:
                say(f"error: {error}")
        else:
            _print_table(reader)


def _print_table(reader: RunReader) -> None:
    from falsefloor.cli.terminal import show as display
    from falsefloor.report.comparison import read_comparison
    from falsefloor.report.refutations import read_refutations
    from falsefloor.report.summary import Summary

    told = tuple(read_refutations(reader))
    display(Summary(reader.info(), read_comparison(reader), told))
