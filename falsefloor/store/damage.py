"""Looks for damage in a run's file: what a bad disk, a broken copy or a stranger may have done to it.

Too slow for every opening (it reads the whole file): `doctor` asks, and a command that failed over a run.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from falsefloor.errors import StoreError
from falsefloor.store.rows import ROWS, Column, Row, columns
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import connect_readonly, meta, migrate, version


def damage(run: RunDir) -> str | None:
    """What is wrong with a run's file, in a sentence; None where it is as a writer leaves it."""
    try:
        with closing(connect_readonly(run.db)) as db:
            return _found(db)
    except (StoreError, sqlite3.Error, OSError, ValueError) as error:
        return str(error)


def _found(db: sqlite3.Connection) -> str | None:
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
