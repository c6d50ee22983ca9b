"""The reader's edge: what stands in a run's file as values of the kinds that we store, or a `StoreError`.

Anybody may have written the file. What passes here is of its kind and nested within reason; what it says is
still anybody's word.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from falsefloor.errors import StoreError

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
