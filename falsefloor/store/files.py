"""Runs as files: what SQLite and the system refuse, copies while they are written, and exports."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from falsefloor.errors import StoreError
from falsefloor.store.received import read_regular
from falsefloor.store.run_dir import RunDir
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


def copy_folder(run: RunDir, target: Path) -> None:
    """A consistent copy of a run, live or not: a folder that `falsefloor show` opens; all of it or nothing.

    Raises `StoreError` where the target exists, and where a file of the run is a link: what it points to is
    not the run's.
    """
    if os.path.lexists(target):
        raise StoreError(f"{target} exists already; name another.")
    try:
        part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        try:
            copy_run(run.db, part / "run.db")
            for file in (run.study, run.log):
                with suppress(FileNotFoundError):
                    (part / file.name).write_bytes(read_regular(file))
            part.chmod(0o755 & ~_umask())
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        place = error.filename or target
        raise StoreError(f"cannot copy the run to {target}: {place}: {error.strerror or error}.") from error


def write_whole(path: Path, told: str | bytes) -> None:
    """All of it or nothing: an export that broke off leaves an older file as it was, and nothing beside it.

    What is no file is written into, as the shell would: a pipe, a device, the other end of a link. Raises
    `StoreError`.
    """
    if isinstance(told, str):
        told = (told if told.endswith("\n") else f"{told}\n").encode(errors="backslashreplace")
    try:
        place = path.resolve() if path.is_symlink() else path
        if place.exists() and not place.is_file():
            with place.open("wb") as there:
                there.write(told)
            return
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}", delete=False) as file:
            try:
                file.write(told)
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink()
                raise
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise StoreError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
