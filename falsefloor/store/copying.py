"""Copies of runs that are consistent although they are being written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from falsefloor.errors import StoreError
from falsefloor.store.refusals import said_plainly
from falsefloor.store.schema import connect_readonly


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


__all__ = ["copy_run"]
