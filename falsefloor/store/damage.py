"""Looks for damage in a run's file: what a bad disk, a broken copy or a stranger may have done to it.

Too slow for every opening (it reads the whole file): `doctor` asks, and a command that failed over a run.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any, get_args

from falsefloor.api import NORMS, Claim
from falsefloor.checks.verdicts import SEVERITIES, STATES, VERDICTS
from falsefloor.errors import StoreError
from falsefloor.store.paths import RunDir
from falsefloor.store.schema import connect_readonly, migrate

STATUSES = ("queued", "running", "paused", "done", "cancelled", "failed", "lost")
ENDS = ("ok", *STATES)
_JSON = {
    "model": {"spec": "object", "facts": "object", "fingerprint": "object"},
    "series": {"stack": "array", "params": "object", "plugin": "object"},
    "unit": {"spec": "object"},
    "estimate": {"evidence": "object", "curves": "array", "notes": "array"},
    "observation": {"facts": "object"},
    "finding": {"evidence": "object"},
    "array": {"shape": "array", "facts": "object"},
    "progress": {"radius": "array"},
}
_NUMBERS = {
    "unit": ("first", "stop", "forward", "backward", "seconds", "finished"),
    "estimate": ("series", "input", "label", "predicted", "radius", "low", "high", "forward", "backward"),
    "observation": ("input", "agreement"),
    "tally": ("series", "count"),
    "event": ("at",),
}
_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("series", "norm"): tuple(sorted(NORMS)),
    ("series", "claim"): get_args(Claim),
    ("finding", "severity"): SEVERITIES,
    ("unit", "status"): ("planned", "queued", "running", *ENDS),
    ("estimate", "status"): ENDS,
    ("estimate", "verdict"): VERDICTS,
}
_META: dict[str, type | tuple[type, ...]] = {
    "id": str, "status": str, "seed": int, "tag": str, "device": str, "study": dict, "versions": dict,
    "created": (int, float), "started": (int, float), "ended": (int, float),
    "resumed": (int, float), "worked": (int, float), "exit_code": int, "error": str,
}  # fmt: skip


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
    return _tables(db) or _values(db) or _meta(db)


def _tables(db: sqlite3.Connection) -> str | None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model)
        for table in _columns(model):
            if not set(_columns(model)[table]) <= set(_columns(db).get(table, ())):
                return f"the table {table} is missing or lacks columns"
    return None


def _columns(db: sqlite3.Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, column in db.execute(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
    ):
        found.setdefault(table, []).append(column)
    return found


def _values(db: sqlite3.Connection) -> str | None:
    """Names in the queries come from the tables above, never from the file."""
    wrong: list[tuple[str, str, str]] = []
    for table, columns in _JSON.items():
        for column, kind in columns.items():
            fits = f"CASE WHEN json_valid({column}) THEN json_type({column}) = '{kind}' ELSE 0 END"
            wrong.append((table, column, f"NOT coalesce({fits}, 0)"))
    for table, names in _NUMBERS.items():
        wrong += [(table, column, f"typeof({column}) NOT IN ('integer', 'real', 'null')") for column in names]
    for (table, column), words in _WORDS.items():
        known = ", ".join(f"'{word}'" for word in words)
        wrong.append((table, column, f"{column} NOT IN ({known})"))
    for table, column, clause in wrong:
        if db.execute(f"SELECT 1 FROM {table} WHERE {clause} LIMIT 1").fetchone():
            return f"{table}.{column} holds a value that no falsefloor wrote"
    return None


def _meta(db: sqlite3.Connection) -> str | None:
    for key, text in db.execute("SELECT key, value FROM meta"):
        try:
            value: Any = json.loads(text)
        except (TypeError, ValueError):
            return f"the entry {key!r} is no JSON"
        if value is not None and key in _META and not isinstance(value, _META[key]):
            return f"the entry {key!r} holds a value that no falsefloor wrote"
    status = db.execute("SELECT value FROM meta WHERE key = 'status'").fetchone()
    if status is not None and json.loads(status[0]) not in STATUSES:
        return f"its status is {status[0]}, which no run has"
    return None


__all__ = ["damage"]
