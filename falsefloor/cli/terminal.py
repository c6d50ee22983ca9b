"""Where words go (data to stdout, narration to stderr), and how a run is named where they come from."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from falsefloor.store.run_dir import RunDir

PIPE_WIDTH = 120
"""Columns of a table that is not printed on a terminal; COLUMNS overrides."""


def interactive() -> bool:
    """Whether somebody sits at a terminal that can show the app."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def console(stream: TextIO) -> Console:
    """A rich console that keeps to the stream's encoding and never reads its text as markup."""
    from rich.console import Console

    _tolerant(stream)
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def show(what: RenderableType) -> None:
    """Data for a person, on stdout."""
    with _quiet_pipe():
        console(sys.stdout).print(what)
        sys.stdout.flush()


def show_text(text: str | Iterator[str]) -> None:
    """Data as it is, on stdout, perhaps in parts: nothing wrapped or coloured, a line end behind it."""
    _tolerant(sys.stdout)
    with _quiet_pipe():
        part = ""
        for part in [text] if isinstance(text, str) else text:
            sys.stdout.write(part)
        sys.stdout.write("\n" * (part[-1:] != "\n"))
        sys.stdout.flush()


def show_document(document: Mapping[str, Any]) -> None:
    """A JSON document, on stdout, readable in any encoding; infinity and NaN are words."""
    from falsefloor.jsonable import written

    show_text(written(document))


def say(message: str) -> None:
    """Narration, on stderr. What others wrote in it can move no cursor."""
    from falsefloor.report.text import clean_lines

    _tolerant(sys.stderr)
    with _quiet_pipe():
        sys.stderr.write(clean_lines(message) + "\n")
        sys.stderr.flush()


def _tolerant(stream: TextIO) -> None:
    """Signs that the encoding lacks become escapes rather than errors."""
    with suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    """A reader that went away (`falsefloor show last | head -1`) is no error: the rest goes nowhere."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            # Python flushes both once more at exit; rich may have held back some of the text.
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
            with suppress(OSError, ValueError, AttributeError):
                if not stream.isatty():
                    os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


OPENED: list[RunDir] = []
"""The runs that this command looked at: where one fails, the file may be to blame and not we."""


def complete_run(incomplete: str) -> list[str]:
    """Ids of the runs that begin so, newest first; for the shell's completion."""
    from falsefloor.store.run_dir import list_dirs, store_root

    ids = ["last", *(run.id for run in list_dirs(store_root()))]
    return [name for name in ids if name.startswith(incomplete)]


def find(ctx: typer.Context, ref: str) -> RunDir:
    """The run that a RUN argument means. Raises `StoreError`."""
    from falsefloor.store.run_dir import find_run

    root: Path = ctx.obj
    found = find_run(root, ref)
    OPENED.append(found)
    return found


def stored(ctx: typer.Context, subject: str, given: Mapping[str, Any]) -> RunDir | None:
    """The run that a MODEL|RUN argument means; None for a model, which has a scheme before a colon.

    given: options that only a model takes, with their values. Raises `StoreError`, and `UsageError` where a
    stored run is given one of them.
    """
    from falsefloor.errors import StoreError, UsageError

    if ":" in subject and not Path(subject).is_dir():
        return None
    try:
        found = find(ctx, subject)
    except StoreError as error:
        if subject == "last" or "/" in subject:
            raise
        raise StoreError(f"{error} A model is SCHEME:REF, as digits:mlp or python:net.py:build.") from error
    if named := [name for name, value in given.items() if value]:
        raise UsageError(f"--{named[0].replace('_', '-')} is of a new run; {subject} is a stored one.")
    return found


def in_store(ctx: typer.Context) -> str:
    """What a suggested command needs to mean the same runs: " --store DIR", where that was said here."""
    from falsefloor.store.run_dir import store_root

    return "" if ctx.obj == store_root() else f" --store {shlex.quote(str(ctx.obj))}"


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The beginning of a run's id, its path, `last`, or `last~1` for the one before.",
        autocompletion=complete_run,
    ),
]
Radii = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="R,R,…",
        help="Robust accuracy at these radii, as 0.03,8/255, in the inputs' own units.",
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run what a run of somebody else's names: its models' code.")
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON document and nothing else on stdout.")]
