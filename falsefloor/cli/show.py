"""`show` and `watch`: what a run found so far, and while it finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from falsefloor.cli.ending import INTERRUPTED, ending, leave
from falsefloor.cli.terminal import AsJson, Radii, RunName, find, say, show_document
from falsefloor.cli.terminal import show as display

if TYPE_CHECKING:
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir


WIDE = 5000
"""Estimates behind the lines of `--wide` at most."""
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Also what is proved, estimated and found at each input, on one axis."),
]


def show(
    ctx: typer.Context,
    run: RunName = "last",
    as_json: AsJson = False,
    wide: Wide = False,
    at: Radii = None,
) -> None:
    """Print a run: the table, what was refuted and by which witness; or, with --at, its robust accuracy.

    Works while it runs and long after; `falsefloor show last --json` gives everything for a script.
    """
    found = find(ctx, run)
    if at is not None:
        _print_accuracy(found, at, as_json=as_json)
        return
    print_run(found, as_json=as_json)
    if wide and not as_json:
        _print_wide(found)


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
            show_document(reader.streamed())
            if error := reader.info().error:
                say(f"error: {error}")
        else:
            _print_table(reader)


def _print_table(reader: RunReader) -> None:
    from falsefloor.report.comparison import read_comparison
    from falsefloor.report.refutations import read_kinds, read_refutations
    from falsefloor.report.summary import Summary

    told, kinds = tuple(read_refutations(reader)), tuple(read_kinds(reader))
    display(Summary(reader.info(), read_comparison(reader), told, kinds))


def _print_accuracy(run: RunDir, asked: str, *, as_json: bool) -> None:
    from falsefloor.report.accuracy import document, read_sets, tabular
    from falsefloor.report.radii import chosen_radii
    from falsefloor.store.reader import RunReader

    with RunReader(run) as reader:
        sets, models = read_sets(reader), reader.models()
    radii, said = chosen_radii(asked.split(","), sets, models)
    for line in said:
        say(f"note: {line}")
    if as_json:
        show_document(document(run.id, sets, radii))
    else:
        display(tabular(sets, radii))


def _print_wide(run: RunDir) -> None:
    from itertools import chain

    from falsefloor.report.detail import first_records
    from falsefloor.report.standing import Lines, by_input
    from falsefloor.store.reader import RunReader

    with RunReader(run) as reader:
        known = by_input(chain.from_iterable(first_records(reader, most=WIDE).values()))
    display("")
    display(Lines(known))
