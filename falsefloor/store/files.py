"""A run's file as a file: what SQLite and the system refuse of it, and copies of it while it is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

from falsefloor.errors import StoreError
from falsefloor.store.schema import connect_readonly


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """SQLite's and the system's refusals as a `StoreError` with a cure; nothing that is stored is harmed."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        said = str(error)
        cure = "what is stored is unharmed; then: falsefloor resume RUN"
        if "full" in said or "disk I/O" in said or getattr(error, "errno", 0) == ENOSPC:
            cure = f"Free some space: {cure}."
        elif isinstance(error, OSError) or "readonly" in said or "unable to open" in said:
            cure = "May the directory be written? A copy of your own can: falsefloor export --format run."
        elif "locked" in said:
            cure = f"Another process holds it; wait, or end it: {cure}."
        else:
            cure = "Is it a run of falsefloor's? `falsefloor doctor` looks for damage."
        raise StoreError(f"cannot write {path}: {said}. {cure}") from error


def copy_run(source: Path, target: Path) -> None:
    """A consistent copy of a live or finished run.db. Raises `StoreError` where the target exists."""
    if target.exists():
        raise StoreError(f"{target} exists already; name another file.")
    temporary = target.with_suffix(".part")
    live = connect_readonly(source)
    try:
        with said_plainly(target):
            copy = sqlite3.connect(temporary)
            try:
                live.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()
        temporary.replace(target)
    finally:
        live.close()
        temporary.unlink(missing_ok=True)
