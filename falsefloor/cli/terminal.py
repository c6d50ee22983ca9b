"""Where words go: data to stdout, narration to stderr, and what a terminal can show of either."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

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


def show_text(text: str) -> None:
    """Data as it is, on stdout: nothing wrapped, nothing coloured."""
    _tolerant(sys.stdout)
    with _quiet_pipe():
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


def show_document(document: Mapping[str, Any]) -> None:
    """A JSON document, on stdout, readable in any encoding; infinity and NaN are words."""
    from falsefloor.jsonable import finite

    with _quiet_pipe():
        json.dump(finite(document), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
        sys.stdout.flush()


def say(message: str) -> None:
    """Narration, on stderr. What others wrote must have passed `falsefloor.report.text.clean`."""
    _tolerant(sys.stderr)
    with _quiet_pipe():
        sys.stderr.write(message + "\n")
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


__all__ = ["console", "interactive", "say", "show", "show_document", "show_text"]
