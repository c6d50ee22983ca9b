"""Runs as files: what SQLite and the system refuse, copies while they are written, exports, and damage."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from falsefloor.errors import StoreError
from falsefloor.store.received import read_regular
from falsefloor.store.rows import ROWS, Column, Row, columns
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import connect_readonly, meta, migrate, version

LARGEST = 64 * 2**20
"""Bytes of a study, and of the end of a log, that a copy takes."""


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """SQLite's and the system's refusals as a `StoreError` with a cure; nothing that is stored is harmed."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        said, room = str(error), _refusal(path.parent)
        if room is not None and room.strerror and room.strerror not in said:
            said += f" ({room.strerror})"
        cure = "what is stored is unharmed; then: falsefloor resume RUN"
        if "full" in said or ENOSPC in (getattr(error, "errno", 0), getattr(room, "errno", 0)):
            cure = f"Free some space: {cure}."
        elif "disk I/O" in said:
            cure = f"Free some space, or look after the disk: {cure}."
        elif isinstance(error, OSError) or "readonly" in said or "unable to open" in said:
            cure = "May the directory be written? A copy of your own can: falsefloor export --format run."
        elif "locked" in said:
            cure = f"Another process holds it; wait, or end it: {cure}."
        else:
            cure = "Is it a run of falsefloor's? `falsefloor doctor` looks for damage."
        raise StoreError(f"cannot write {path}: {said}. {cure}") from error


def _refusal(folder: Path) -> OSError | None:
    """Why a file there cannot be made and written, which SQLite does not tell; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" " * 4096)
    except OSError as error:
        return error
    return None


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
                    (part / file.name).write_bytes(read_regular(file, most=LARGEST))
            part.chmod(0o755 & ~_umask())
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        place = error.filename or target
        raise StoreError(f"cannot copy the run to {target}: {place}: {error.strerror or error}.") from error


def write_whole(path: Path, told: str | bytes | Iterator[str]) -> None:
    """All of it or nothing: an export that broke off leaves an older file as it was, and nothing beside it.

    What is no file is written into, as the shell would: a pipe, a device, the other end of a link. Raises
    `StoreError`.
    """
    parts = _lines(told)
    try:
        place = path.resolve() if path.is_symlink() else path
        if place.exists() and not place.is_file():
            with place.open("wb") as there:
                there.writelines(parts)
            return
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}", delete=False) as file:
            try:
                file.writelines(parts)
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink()
                raise
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise StoreError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}.") from error


def _lines(told: str | bytes | Iterator[str]) -> Iterator[bytes]:
    """What is written, in parts; text ends with the end of a line."""
    if isinstance(told, bytes):
        yield told
        return
    last = "\n"
    for part in [told] if isinstance(told, str) else told:
        yield part.encode(errors="backslashreplace")
        last = part[-1:] or last
    if last != "\n" or told == "":
        yield b"\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def damage(run: RunDir) -> str | None:
    """What is wrong with a run's file, in a sentence; None where it is as a writer leaves it.

    A bad disk, a broken copy or a stranger may have changed it. Too slow for every opening, since it reads
    the whole file: `doctor` asks, and a command that failed over a run.
    """
    try:
        with closing(connect_readonly(run.db)) as db:
            return _said(db)
    except (StoreError, sqlite3.Error, OSError, ValueError) as error:
        return str(error)


def _said(db: sqlite3.Connection) -> str | None:
    said = [str(row[0]) for row in db.execute("PRAGMA integrity_check(1)")]
    if said != ["ok"]:
        return f"SQLite finds it damaged: {said[0] if said else 'no answer'}"
    meta(db)
    return _tables(db) or _values(db)


def _tables(db: sqlite3.Connection) -> str | None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, to=version(db))
        for kind in ROWS:
            if not _columns(model, kind) <= _columns(db, kind):
                return f"the table {kind.table} is missing or lacks columns"
    return None


def _columns(db: sqlite3.Connection, kind: type[Row]) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({kind.table})")}


def _values(db: sqlite3.Connection) -> str | None:
    """Names in the queries come from our own rows, never from the file."""
    for kind in ROWS:
        have = _columns(db, kind)
        for column in columns(kind):
            wrong = _wrong(column) if column.name in have else "0"
            if db.execute(f"SELECT 1 FROM {kind.table} WHERE {wrong} LIMIT 1").fetchone():
                return f"{kind.table}.{column.name} holds a value that no falsefloor wrote"
            if column.name in have and column.holds != "bytes":
                for _ in db.execute(f"SELECT {column.name} FROM {kind.table}"):
                    pass  # a text that is none is raised as it is fetched
    return None


_KINDS = {dict: "object", list: "array", str: "text", int: "integer", float: "real"}


def _wrong(column: Column) -> str:
    """What no value of a column may be, as SQL."""
    name = column.name
    if column.holds in ("object", "array"):
        fits = f"CASE WHEN json_valid({name}) THEN json_type({name}) = '{column.holds}' ELSE 0 END"
        whole = f"NOT coalesce({fits}, 0)"
        kinds = ", ".join(f"'{_KINDS[one]}'" for one in column.elements)
        odd = f"EXISTS (SELECT 1 FROM json_each({name}) WHERE type NOT IN ({kinds}))"
        return f"CASE WHEN {whole} THEN 1 ELSE {odd} END" if kinds else whole
    if column.holds in ("number", "flag"):
        return f"typeof({name}) NOT IN ('integer', 'real', 'null')"
    if column.words:
        words = ", ".join(f"'{word}'" for word in column.words)
        return f"{name} NOT IN ({words})"
    return "0"
