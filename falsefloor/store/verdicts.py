"""Verdicts follow facts: judges stored estimates again whenever anything beside them was stored."""

from __future__ import annotations

import json
import math
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from falsefloor.api import Facts, Finding, Record
from falsefloor.checks.catalogue import CATALOGUE
from falsefloor.checks.judge import Judgement
from falsefloor.checks.verdicts import Place
from falsefloor.jsonable import finite, revive
from falsefloor.study.units import digest

Judge = Callable[[Facts, Sequence[Finding]], Judgement]

THERE = "model = :model AND masker = :masker AND norm = :norm AND input = :input"
"""Of an observation, at a `Place`."""

_ESTIMATES = (
    "SELECT e.id, e.series, e.radius, e.evidence, e.notes, e.witness, e.verdict, e.status, e.input, u.cell,"
    " e.forward, e.backward, s.label AS name, s.claim, s.gradient FROM series s"
    " JOIN estimate e ON e.series = s.id AND e.input = :input JOIN unit u ON u.id = e.unit"
    " WHERE s.model = :model AND s.masker = :masker AND s.norm = :norm ORDER BY s.id"
)


class _Row(NamedTuple):
    """A row of _ESTIMATES."""

    id: int
    series: int
    radius: float | None
    evidence: str
    notes: str
    witness: str | None
    verdict: str | None
    status: str
    input: int
    cell: str
    forward: int
    backward: int
    name: str
    claim: Any
    gradient: str


def rejudge(db: sqlite3.Connection, places: Iterable[Place], judge: Judge) -> None:
    """Judge every estimate of these subjects' inputs from what is stored, inside the caller's transaction."""
    for place in places:
        rows = [_Row(*row) for row in db.execute(_ESTIMATES, place._asdict())]
        observed = _observed(db, place)
        records = {row.id: _record(db, row) for row in rows if row.status == "ok"}
        for row in rows:
            if row.status != "ok":
                continue
            others = [record for id_, record in records.items() if id_ != row.id]
            facts = Facts(place.norm, records[row.id], others, _with_queries(observed, row))  # type: ignore[arg-type]
            notes = [note(code, message) for code, message in json.loads(row.notes)]
            _write(db, row, judge(facts, notes))


def _with_queries(observed: dict[str, Any], row: _Row) -> dict[str, Any]:
    """The observed facts, where ``queries`` counts the estimate's own too: "held" says how many in all."""
    if "queries" not in observed:
        return observed
    counted = observed["queries"]
    spent = {"forward": row.forward, "backward": row.backward}
    return {**observed, "queries": {name: counted.get(name, 0) + more for name, more in spent.items()}}


def note(code: str, message: str) -> Finding:
    """An estimator's own remark as a finding; a code that is not ours weighs nothing."""
    known = CATALOGUE.get(code)
    return Finding(code, known.info.severity if known else "note", message)


def _write(db: sqlite3.Connection, row: _Row, judged: Judgement) -> None:
    if row.verdict != judged.verdict:
        if row.verdict is not None:
            tally(db, row.series, row.verdict, -1)
        tally(db, row.series, judged.verdict, 1)
    db.execute(
        "UPDATE estimate SET verdict = ?, reason = ? WHERE id = ?", (judged.verdict, judged.reason, row.id)
    )
    db.execute("DELETE FROM finding WHERE estimate = ?", (row.id,))
    seen: dict[str, int] = {}
    for finding in judged.findings:
        nth = seen[finding.code] = seen.get(finding.code, 0) + 1
        name = digest(f"{row.cell}|{row.input}|{finding.code}|{nth}")[:10]
        db.execute(
            "INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                row.id,
                finding.code,
                finding.severity,
                finding.message,
                json.dumps(finite(finding.evidence)),
                finding.witness,
            ),
        )


def tally(db: sqlite3.Connection, series: int, verdict: str, change: int) -> None:
    db.execute(
        "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        (series, verdict, change),
    )


def _observed(db: sqlite3.Connection, place: Place) -> dict[str, Any]:
    row = db.execute(f"SELECT facts FROM observation WHERE {THERE}", place._asdict()).fetchone()
    return _parsed(row[0]) if row else {}


@lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """Stored facts as values; kept, since every estimate beside them is judged by the same ones."""
    found: dict[str, Any] = revive(json.loads(text))
    return found


def _record(db: sqlite3.Connection, row: _Row) -> Record:
    radius = math.inf if row.radius is None else row.radius
    curves = Curves(db, f"{row.cell}/{row.input}/curve-")
    return Record(
        row.name, row.claim, row.gradient, radius, revive(json.loads(row.evidence)), curves, row.witness
    )


class Curves(Mapping[str, Sequence[float]]):
    """An estimate's curves, read from the database only where a check asks for one."""

    def __init__(self, db: sqlite3.Connection, prefix: str) -> None:
        self._db, self._prefix = db, prefix

    def __getitem__(self, name: str) -> Sequence[float]:
        row = self._db.execute("SELECT data FROM array WHERE name = ?", (self._prefix + name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return array("f", row[0])

    def __iter__(self) -> Iterator[str]:
        end = self._prefix + "\U0010ffff"
        rows = self._db.execute("SELECT name FROM array WHERE name >= ? AND name < ?", (self._prefix, end))
        return (row[0].removeprefix(self._prefix) for row in rows)

    def __len__(self) -> int:
        return sum(1 for _ in self)
