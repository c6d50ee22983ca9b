"""How a run is named on the command line, with completion of what exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from falsefloor.store.paths import RunDir


OPENED: list[RunDir] = []
"""The runs that this command looked at: where one fails, the file may be to blame and not we."""


def complete_run(incomplete: str) -> list[str]:
    """Ids of the runs that begin so, newest first; for the shell's completion."""
    from falsefloor.store.paths import list_dirs, store_root

    ids = ["last", *(run.id for run in list_dirs(store_root()))]
    return [name for name in ids if name.startswith(incomplete)]


def find(ctx: typer.Context, ref: str) -> RunDir:
    """The run that a RUN argument means. Raises `StoreError`."""
    from falsefloor.store.paths import find_run

    root: Path = ctx.obj
    found = find_run(root, ref)
    OPENED.append(found)
    return found


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The beginning of a run's id, its path, or `last`.",
        autocompletion=complete_run,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON document and nothing else on stdout.")]

__all__ = ["OPENED", "AsJson", "RunName", "complete_run", "find"]
