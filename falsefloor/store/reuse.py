"""Takes units over from another run: those whose key and fingerprint are the same."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from falsefloor.jsonable import revive
from falsefloor.store.paths import RunDir
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.store.schema import connect_readonly


class Stored:
    """The finished units of another run, by key."""

    def __init__(self, run: RunDir) -> None:
        self._db = connect_readonly(run.db)

    def close(self) -> None:
        self._db.close()

    def fingerprint(self, key: str) -> str | None:
        """Of a unit that ended well; None where there is none."""
        row = self._db.execute(
            "SELECT fingerprint FROM unit WHERE key = ? AND status = 'ok'", (key,)
        ).fetchone()
        return row[0] if row else None

    def result(self, key: str) -> UnitResult:
        """What the unit brought back then."""
        unit = self._db.execute("SELECT * FROM unit WHERE key = ?", (key,)).fetchone()
        arrays = _arrays(self._db, unit["id"])
        rows = self._db.execute("SELECT * FROM estimate WHERE unit = ? ORDER BY id", (unit["id"],))
        seen = self._db.execute("SELECT * FROM observation WHERE unit = ? ORDER BY id", (unit["id"],))
        return UnitResult(
            key,
            "ok",
            None,
            unit["fingerprint"],
            unit["forward"],
            unit["backward"],
            unit["seconds"],
            [_estimate(row, arrays) for row in rows],
            [_observation(row, arrays) for row in seen],
        )


def _arrays(db: sqlite3.Connection, unit: int) -> dict[int, dict[str, Array]]:
    """Input to role to array."""
    found: dict[int, dict[str, Array]] = {}
    for row in db.execute("SELECT * FROM array WHERE unit = ?", (unit,)):
        _, input_, role = row["name"].split("/", 2)
        shape = tuple(json.loads(row["shape"]))
        array = Array(row["dtype"], shape, row["data"], revive(json.loads(row["facts"])))
        found.setdefault(int(input_), {})[role] = array
    return found


def _estimate(row: Any, arrays: dict[int, dict[str, Array]]) -> EstimateResult:
    return EstimateResult(
        input=row["input"],
        label=row["label"],
        predicted=row["predicted"],
        status=row["status"],
        error=row["error"],
        radius=row["radius"],
        capped=bool(row["capped"]),
        interval=None if row["low"] is None else (row["low"], row["high"]),
        evidence=revive(json.loads(row["evidence"])),
        notes=[(code, message) for code, message in json.loads(row["notes"])],
        forward=row["forward"],
        backward=row["backward"],
        seconds=row["seconds"],
        arrays=arrays.get(row["input"], {}),
    )


def _observation(row: Any, arrays: dict[int, dict[str, Array]]) -> ObservationResult:
    facts = revive(json.loads(row["facts"]))
    for later in ("arrays", "trap", "resampled"):
        # what follow-ups learnt of the other run's estimators; this run asks for it anew
        facts.pop(later, None)
    agreement = None if row["agreement"] is None else bool(row["agreement"])
    return ObservationResult(row["input"], agreement, facts, arrays.get(row["input"], {}))
