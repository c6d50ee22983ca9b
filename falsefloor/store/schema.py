"""The tables of run.db with their append-only migrations, and the reader's edge: what may stand in them.

Anybody may have written the file. What passes here is of its kind and nested within reason, or a
`StoreError`; what it says is still anybody's word.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from falsefloor.errors import StoreError
from falsefloor.store.received import APPLICATION_ID, check_database

_V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A model as loaded: facts (count, classes, labels, units …) and the fingerprint resuming compares.
CREATE TABLE model (
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, facts TEXT NOT NULL, fingerprint TEXT NOT NULL);

-- One cell of the comparison: subject × norm × estimator.
CREATE TABLE series (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, masker TEXT NOT NULL, stack TEXT NOT NULL,
    norm TEXT NOT NULL, estimator TEXT NOT NULL, label TEXT NOT NULL, params TEXT NOT NULL,
    gradient TEXT NOT NULL, recovers TEXT,
    claim TEXT NOT NULL, plugin TEXT NOT NULL,
    UNIQUE (model, masker, norm, label));

CREATE TABLE unit (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cell TEXT NOT NULL, kind TEXT NOT NULL,
    spec TEXT NOT NULL,
    model TEXT NOT NULL, masker TEXT NOT NULL, norm TEXT NOT NULL, series INTEGER REFERENCES series(id),
    first INTEGER NOT NULL, stop INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued', fingerprint TEXT NOT NULL DEFAULT '', error TEXT,
    forward INTEGER NOT NULL DEFAULT 0, backward INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0, finished REAL);
CREATE INDEX unit_status ON unit (status);

CREATE TABLE estimate (
    id INTEGER PRIMARY KEY, unit INTEGER NOT NULL REFERENCES unit(id), series INTEGER NOT NULL,
    input INTEGER NOT NULL, label INTEGER, predicted INTEGER, radius REAL, capped INTEGER NOT NULL DEFAULT 0,
    low REAL, high REAL, verdict TEXT, reason TEXT NOT NULL DEFAULT '', evidence TEXT NOT NULL,
    curves TEXT NOT NULL DEFAULT '[]', notes TEXT NOT NULL DEFAULT '[]', witness TEXT,
    forward INTEGER NOT NULL, backward INTEGER NOT NULL, seconds REAL NOT NULL,
    status TEXT NOT NULL, error TEXT,
    UNIQUE (series, input));
CREATE INDEX estimate_radius ON estimate (series, radius);

CREATE TABLE observation (
    id INTEGER PRIMARY KEY, unit INTEGER NOT NULL REFERENCES unit(id),
    model TEXT NOT NULL, masker TEXT NOT NULL, norm TEXT NOT NULL, input INTEGER NOT NULL,
    agreement INTEGER, facts TEXT NOT NULL, UNIQUE (model, masker, norm, input));

CREATE TABLE finding (
    id TEXT PRIMARY KEY, estimate INTEGER NOT NULL REFERENCES estimate(id), code TEXT NOT NULL,
    severity TEXT NOT NULL, message TEXT NOT NULL, evidence TEXT NOT NULL, witness TEXT) WITHOUT ROWID;
CREATE INDEX finding_estimate ON finding (estimate);
CREATE INDEX finding_code ON finding (code);

-- Tensors by name (CELL/INPUT/ROLE); facts: what was measured there (distance, predicted).
CREATE TABLE array (
    name TEXT PRIMARY KEY, unit INTEGER NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    facts TEXT NOT NULL DEFAULT '{}', data BLOB NOT NULL);

-- Kept by the writer, so that counts over a million estimates cost nothing.
CREATE TABLE tally (series INTEGER NOT NULL, verdict TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (series, verdict)) WITHOUT ROWID;

-- What moves while a unit runs; emptied when it ends.
CREATE TABLE progress (unit INTEGER PRIMARY KEY, done INTEGER NOT NULL, total INTEGER NOT NULL,
    radius TEXT NOT NULL, at REAL NOT NULL);

CREATE TABLE event (id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL);
"""


_V2 = """
-- Which inputs of a cell have a verdict and why, without reading the estimates themselves.
CREATE INDEX estimate_verdict ON estimate (series, verdict, input, reason);

-- What viewers count ten times a second, without the units' descriptions beside it.
DROP INDEX unit_status;
CREATE INDEX unit_status ON unit (status, forward, backward, seconds);
CREATE INDEX unit_planned ON unit (series, kind, first, stop);
"""

RIGHT = "radius IS NOT NULL AND (label IS NULL OR predicted IS NULL OR label = predicted)"
"""Of an estimate that a median is over. An index is used where a query says exactly this."""

_V3 = f"""
-- False for the ceiling that a study gets unasked.
ALTER TABLE series ADD COLUMN asked INTEGER NOT NULL DEFAULT 1;

-- Medians are over the inputs that are classified as labelled; how many are not is tallied too.
DROP INDEX estimate_radius;
CREATE INDEX estimate_radius ON estimate (series, radius, capped) WHERE {RIGHT};
INSERT INTO tally SELECT series, 'wrong', count(*) FROM estimate
    WHERE status = 'ok' AND label != predicted GROUP BY series;
"""


MIGRATIONS = (_V1, _V2, _V3)
"""Append only. The n-th brings a file from version n to n + 1."""

VERSION = len(MIGRATIONS)

DEEPEST = 40
"""Levels of nesting in stored JSON. Ours has at most ten; whoever walks thousands runs out of stack."""
_JSON: Mapping[str, type] = {"object": dict, "array": list}
_TIMES = ("created", "started", "ended", "resumed", "worked")
LATEST = 1e11
"""Seconds since 1970 that still are a date."""
META: Mapping[str, type | tuple[type, ...]] = {
    "id": str, "status": str, "seed": int, "tag": str, "device": str, "study": dict, "versions": dict,
    "exit_code": int, "error": str, "cwd": str, "on": str, "reuse": str, "seal": str, "left_out": int,
    **dict.fromkeys(_TIMES, (int, float)),
}  # fmt: skip
STATUSES = ("queued", "running", "paused", "done", "cancelled", "failed", "lost")


def migrate(connection: sqlite3.Connection, *, to: int = VERSION) -> None:
    """Bring a database to a version, the current one. Raises `StoreError` for one from a newer falsefloor."""
    if check_version(connection) >= to:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # All or nothing, and by one of two who open the same old file: a kill leaves the version it had.
        for number in range(check_version(connection), to):
            for statement in _statements(MIGRATIONS[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit before the first of them."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def check_foreign(connection: sqlite3.Connection) -> None:
    """Refuse a file that could do something by itself when it is read or written. Raises `StoreError`.

    A run holds plain tables and indexes only. Triggers would run as ours when we write, a view may never end,
    a virtual table loads code, a generated or defaulted column computes.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreError("this file is no falsefloor run: another program made it.")
    odd = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
        " OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL%') LIMIT 1"
    ).fetchone()
    if odd is None:
        odd = connection.execute(
            "SELECT 'computed column', m.name || '.' || c.name FROM sqlite_master m,"
            " pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND c.hidden != 0 LIMIT 1"
        ).fetchone()
    if odd is not None:
        raise StoreError(f"this file is no falsefloor run: it holds the {odd[0]} {odd[1]!r}; no run does.")


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection) -> int:
    found = version(connection)
    if found < 0:
        raise StoreError(f"this file is no falsefloor run: it says that its schema is {found}.")
    if found > VERSION:
        raise StoreError(
            f"this run was written by a newer falsefloor (schema {found}; this one reads up to {VERSION})."
            " Upgrade falsefloor to open it."
        )
    return found


def connect_readonly(path: Path) -> sqlite3.Connection:
    """A connection that cannot write and trusts nothing in the file. Raises `StoreError`."""
    check_database(path)
    if not path.exists():
        raise StoreError(f"no run.db at {path.parent}.")
    quoted = path.resolve().as_uri()
    for options in ("?mode=ro", "?mode=ro&immutable=1"):
        # immutable: a finished run in a directory that may not be written
        try:
            connection = sqlite3.connect(quoted + options, uri=True, timeout=5.0, check_same_thread=False)
            connection.execute("PRAGMA query_only = ON")
            check_foreign(connection)
            connection.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error) and "unable to open" not in str(error):
                raise StoreError(f"cannot read {path}: {error}.") from error
            if _has_log(path):
                raise StoreError(
                    f"{path} has a log beside it that can only be read where its directory may be written"
                    " (its worker runs, or was killed). Copy the whole directory to one of your own."
                ) from error
            continue
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} is not a falsefloor run: {error}.") from error
        if check_version(connection) == 0:
            raise StoreError(f"{path} is not a falsefloor run: it has no version.")
        connection.row_factory = sqlite3.Row
        return connection
    raise StoreError(f"cannot open {path}; is the directory readable?")


def _has_log(path: Path) -> bool:
    """Whether part of the run is still in SQLite's log: the file alone would show less than is stored."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def meta(db: sqlite3.Connection) -> dict[str, Any]:
    """What a run says of itself; null is left out. Raises `StoreError` for what no falsefloor wrote."""
    found = {}
    for key, text in db.execute("SELECT key, value FROM meta"):
        value = parsed(text, "", where=f"the entry {key!r}")
        if value is None:
            continue
        fits = isinstance(value, META.get(key, object))
        if fits and key in _TIMES:
            fits = 0 <= value < LATEST
        elif fits and key == "versions":
            fits = all(isinstance(version, str) for version in value.values())
        elif fits and key == "status":
            fits = value in STATUSES
        if not fits:
            raise odd(f"the entry {key!r}")
        found[key] = value
    return found


def odd(where: str) -> StoreError:
    return StoreError(f"{where} holds a value that no falsefloor wrote.")


def parsed(text: object, holds: str, *, where: str) -> Any:
    """A stored JSON text as a value. holds: "object", "array" or "" for anything.

    Raises `StoreError` where it is no such JSON, or nested beyond reason: anybody may have written it.
    """
    try:
        value = json.loads(text)  # type: ignore[arg-type]
        fits = isinstance(value, _JSON.get(holds, object)) and not _deep(text, value)
    except (TypeError, ValueError, RecursionError):
        fits = False
    if not fits:
        raise odd(where)
    return value


def _deep(text: Any, value: Any) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inner if isinstance(one, dict | list))
