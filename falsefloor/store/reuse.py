"""Takes units over from another run: those whose key and fingerprint are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from falsefloor.jsonable import revive
from falsefloor.store.points import unzipped
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.store.rows import ArrayRow, EstimateRow, ObservationRow, UnitRow, fingerprints, select, shared
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import connect_readonly


class Stored:
    """The finished units of another run, by key."""

    def __init__(self, run: RunDir) -> None:
        self._db = connect_readonly(run.db)

    def close(self) -> None:
        self._db.close()

    def models(self) -> dict[str, Mapping[str, Any]]:
        """Model name to its fingerprint then."""
        return fingerprints(self._db)

    def fingerprint(self, key: str) -> str | None:
        """Of a unit that ended well; None where there is none."""
        row = self._db.execute(
            "SELECT fingerprint FROM unit WHERE key = ? AND status = 'ok'", (key,)
        ).fetchone()
        return row[0] if row else None

    def result(self, key: str) -> UnitResult:
        """What the unit brought back then."""
        (unit,) = select(self._db, UnitRow, "WHERE key = ?", key)
        arrays = _arrays(select(self._db, ArrayRow, "WHERE unit = ?", unit.id))
        return shared(
            UnitResult,
            unit,
            estimates=[
                shared(
                    EstimateResult,
                    row,
                    interval=None if row.low is None or row.high is None else (row.low, row.high),
                    evidence=revive(row.evidence),
                    notes=[(code, message) for code, message in row.notes],
                    arrays=arrays.get(row.input, {}),
                )
                for row in select(self._db, EstimateRow, "WHERE unit = ? ORDER BY id", unit.id)
            ],
            observations=[
                shared(ObservationResult, row, facts=_facts(row), arrays=arrays.get(row.input, {}))
                for row in select(self._db, ObservationRow, "WHERE unit = ? ORDER BY id", unit.id)
            ],
        )


def _arrays(rows: list[ArrayRow]) -> dict[int, dict[str, Array]]:
    """Input to role to array."""
    found: dict[int, dict[str, Array]] = {}
    for row in rows:
        _, input_, role = row.name.split("/", 2)
        found.setdefault(int(input_), {})[role] = unzipped(row, facts=revive(row.facts))
    return found


def _facts(row: ObservationRow) -> dict[str, Any]:
    """Without what follow-ups and estimators learnt in the other run: this one asks for it anew, and what
    estimates met comes with their arrays."""
    later = ("arrays", "met", "trap", "resampled", "closer")
    return {name: fact for name, fact in revive(row.facts).items() if name not in later}
