"""Received runs as nobody honest sends them: a recorded run changed in one to three ways, by a seed.

Nothing in one may be executed, nothing outside its folder touched, and every command must end in words.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from stored_run import stored

from falsefloor.store.run_dir import RunDir

NAMES = (
    "\x1b[2J\x1b]0;title\x07", "\x9b31m", "\u202egnp.exe", "\u2066\u2069\u200b", "[red]x[/red][link=file:///]",
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)", "=cmd|'/c calc'!A0",
    "../../outside/precious", "/etc/passwd", "..", "a\x00b", "x" * 70_000, "\ud800", "%n%s%x",
    "{0.__class__}",
    "`id`", "$(id)", "| |\n| - |", "\r\nSet-Cookie: a=b", "CON", "-rf", "~", "*",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, -1, 0, 2**63 - 1, -(2**63), 1e308, float("inf"), float("-inf"), "nan", "inf", "",
    b"", b"\x00\xff" * 40,
    "[]", "{}", "null", "true", "1e999", "[" * 2000, "[" * 400 + "]" * 400, '{"a": {"a": {"a": []}}}',
    '{"distance": "far"}', '{"distance": -1, "predicted": [1]}', "[[1, 2], [3]]", "[-5, 0]",
    "[1e9, 1e9]", *NAMES,
)  # fmt: skip
PLANTED = (
    "sqlite3", "queue", "torch", "numpy", "json", "random", "falsefloor", "rich", "typer", "net",
    "usercustomize", "sitecustomize", "conftest", "tomllib",
)  # fmt: skip
"""Modules that are put into the folder; importing one leaves a mark."""


def mail(root: Path, seed: int, *, outside: Path, mark: Path) -> tuple[RunDir, str]:
    """A hostile run in a store, and how it was changed, in words. ``outside``: a folder of somebody else's;
    ``mark``: a file that whatever is executed would write."""
    chance = random.Random(seed)
    name = f"{seed:08x}"
    run = stored(root, name)
    ways = chance.sample([*WAYS], k=chance.choice((1, 1, 1, 2, 3)))
    for way in ways:
        with suppress(OSError, sqlite3.Error, UnicodeEncodeError, ValueError):
            WAYS[way](run, chance, outside, mark)
    return run, f"{seed}: {', '.join(ways)}"


def _opened(run: RunDir) -> closing[sqlite3.Connection]:
    """The run's file, where a way before this one left one: SQLite would make another through a link."""
    if run.db.is_symlink() or not run.db.is_file():
        raise OSError(f"{run.db} is no file any more")
    return closing(sqlite3.connect(run.db))


def _database(run: RunDir, statement: str, *values: Any) -> None:
    with _opened(run) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(statement, values)
        db.commit()


def _columns(run: RunDir) -> list[tuple[str, str]]:
    with _opened(run) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in db.execute(f"PRAGMA table_info({table})")]


def _value(run: RunDir, chance: random.Random, values: tuple[Any, ...] = VALUES) -> None:
    known = _columns(run)
    if not known:  # a way before this one dropped all
        return
    table, column = chance.choice(known)
    some = "" if chance.random() < 0.5 else " WHERE rowid % 2 = 0"
    try:
        _database(run, f'UPDATE {table} SET "{column}" = ?{some}', chance.choice(values))
    except sqlite3.OperationalError:
        _database(run, f'UPDATE {table} SET "{column}" = ?', chance.choice(values))


def _json(run: RunDir, chance: random.Random) -> None:
    """One value inside a stored document becomes another."""
    table, column = chance.choice(
        [("meta", "value"), ("model", "facts"), ("model", "spec"), ("unit", "spec"), ("series", "stack"),
         ("series", "params"), ("estimate", "evidence"), ("estimate", "notes"), ("observation", "facts"),
         ("finding", "evidence"), ("array", "facts"), ("array", "shape")]
    )  # fmt: skip
    with _opened(run) as db:
        texts = [text for (text,) in db.execute(f"SELECT {column} FROM {table}")]
    text = chance.choice(texts)
    changed = json.dumps(_within(json.loads(text), chance), ensure_ascii=True)
    _database(run, f"UPDATE {table} SET {column} = ? WHERE {column} = ?", changed, text)


def _within(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice([*value])
        return {**value, key: _within(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], _within(value[at], chance), *value[at + 1 :]]
    new = chance.choice([one for one in VALUES if not isinstance(one, bytes)])
    return chance.choice([new, [new], {str(new)[:20]: new}])


def _study(run: RunDir, chance: random.Random, _outside: Path, mark: Path) -> None:
    """A model that is code, a folder to stand in, another executor: all of the sender's choosing."""
    code = f"open({str(mark)!r}, 'a').write('model ')\nbuild = None\n"
    (run.path.parent / "net.py").write_text(code)
    with _opened(run) as db:
        (text,) = db.execute("SELECT value FROM meta WHERE key = 'study'").fetchone()
        study = json.loads(text)
        study["models"] = [
            {"use": chance.choice([f"python:{run.path.parent / 'net.py'}:build", "python:net:build"])}
        ]
        meta = {
            "study": study, "cwd": str(run.path.parent),
            "status": chance.choice(["cancelled", "lost", "running"]),
            "on": chance.choice(["local", "dask", "dask:tcp://127.0.0.1:1", "python:os:system", 7]),
            "reuse": chance.choice([None, "/etc", str(run.path)]), "seal": chance.choice([None, "0" * 64, 5]),
        }  # fmt: skip
        for key, value in meta.items():
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))
        db.commit()


def _plant(run: RunDir, chance: random.Random, _outside: Path, mark: Path) -> None:
    for name in chance.sample(PLANTED, k=5):
        (run.path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')\n")
    _database(run, "INSERT OR REPLACE INTO meta VALUES ('cwd', ?)", json.dumps(str(run.path)))


def _bytes(run: RunDir, chance: random.Random) -> None:
    data = bytearray(run.db.read_bytes())
    for _ in range(chance.choice((1, 8, 200))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    run.db.write_bytes(data)


def _instead(run: RunDir, name: str, chance: random.Random, outside: Path) -> None:
    """Something else where a file of the run's stands."""
    place = run.path / name
    if place.is_dir() and not place.is_symlink():
        with suppress(OSError):
            place.rmdir()
    place.unlink(missing_ok=True)
    how = chance.choice(
        ["link", "folder link", "dangling", "loop", "pipe", "socket", "folder", "device", "sparse"]
    )
    if how == "link":
        place.symlink_to(outside / "precious")
    elif how == "folder link":
        place.symlink_to(outside)
    elif how == "dangling":
        place.symlink_to(outside / "made")
    elif how == "loop":
        place.symlink_to(place)
    elif how == "pipe":
        os.mkfifo(place)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(place))
    elif how == "folder":
        place.mkdir()
        (place / "inside").write_text("x")
    elif how == "device":
        place.symlink_to("/dev/zero")
    else:
        with place.open("wb") as file:
            file.truncate(2**40)


def _orders(run: RunDir, chance: random.Random, outside: Path) -> None:
    for name in chance.sample(["kill", "cancel", "pause", "retry-1", "x" * 200, "\x1b[2J", "..\\x"], k=4):
        if chance.random() < 0.5:
            (run.commands / name).symlink_to(outside / "precious")
        else:
            (run.commands / name).touch()


def _schema(run: RunDir, chance: random.Random) -> None:
    _database(run, chance.choice([
        "DROP TABLE unit", "DROP TABLE estimate", "DROP TABLE meta", "DROP TABLE series",
        "DROP TABLE finding",
        "DELETE FROM series", "DELETE FROM unit", "DELETE FROM meta", "DELETE FROM model",
        "DELETE FROM tally",
        "DELETE FROM estimate WHERE id % 2", "DELETE FROM array", "DELETE FROM observation",
        "PRAGMA user_version = -5", "PRAGMA user_version = 0", "PRAGMA user_version = 99999",
        "PRAGMA user_version = 2147483647", "PRAGMA application_id = 7", "PRAGMA application_id = 0",
        "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM unit; END",
        "CREATE VIEW v AS WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT k FROM n",
        "ALTER TABLE estimate RENAME COLUMN radius TO radius2", "ALTER TABLE meta RENAME TO meta2",
        "CREATE TABLE more AS SELECT * FROM estimate", "UPDATE estimate SET id = id + 1000000",
    ]))  # fmt: skip


def _journal(run: RunDir, chance: random.Random, outside: Path) -> None:
    name = chance.choice(["run.db-wal", "run.db-shm", "run.db-journal"])
    named = bytes(512) + str(outside / "precious").encode() + bytes.fromhex("d9d505f920a163d7")
    (run.path / name).write_bytes(chance.choice([os.urandom(4096), bytes(65536), b"", named]))


def _huge(run: RunDir, chance: random.Random) -> None:
    kind = chance.choice(["values", "events", "names"])
    if kind == "values":
        _database(run, "UPDATE finding SET message = hex(zeroblob(1000000))")
    elif kind == "events":
        _database(run, "INSERT INTO event (at, kind, message) WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL"
                  " SELECT k + 1 FROM n WHERE k < 20000) SELECT k, 'note', 'x' || k FROM n")  # fmt: skip
    else:
        _database(run, "UPDATE series SET model = hex(zeroblob(50000)), label = hex(zeroblob(50000)) || id")


def _paths(run: RunDir, chance: random.Random) -> None:
    """Names of arrays and witnesses that lead out of the folder."""
    name = chance.choice(["../../outside/precious", "/etc/passwd", "..", "\x1b[31m"])
    for statement in ("UPDATE array SET name = ? || '/' || name", "UPDATE finding SET witness = ?",
                      "UPDATE estimate SET witness = ?", "UPDATE finding SET id = ? || id"):  # fmt: skip
        if chance.random() < 0.6:
            _database(run, statement, name)


Way = Callable[[RunDir, random.Random, Path, Path], None]
WAYS: dict[str, Way] = {
    "a value": lambda run, chance, *_: _value(run, chance),
    "another value": lambda run, chance, *_: _value(run, chance),
    "a name": lambda run, chance, *_: _value(run, chance, NAMES),
    "a value in JSON": lambda run, chance, *_: _json(run, chance),
    "another value in JSON": lambda run, chance, *_: _json(run, chance),
    "bytes": lambda run, chance, *_: _bytes(run, chance),
    "code for a model": _study,
    "planted modules": _plant,
    "tables": lambda run, chance, *_: _schema(run, chance),
    "a journal": lambda run, chance, outside, _: _journal(run, chance, outside),
    "orders": lambda run, chance, outside, _: _orders(run, chance, outside),
    "size": lambda run, chance, *_: _huge(run, chance),
    "paths": lambda run, chance, *_: _paths(run, chance),
    **{
        f"no {name}": (lambda run, chance, outside, _, name=name: _instead(run, name, chance, outside))
        for name in ("run.db", "study.toml", "worker.log", "lock", "commands")
    },
}
