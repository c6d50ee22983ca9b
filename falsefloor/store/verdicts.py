"""Verdicts follow facts: judges stored estimates again whenever anything beside them was stored."""

from __future__ import annotations

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
from falsefloor.jsonable import revive
from falsefloor.store.edge import parsed
from falsefloor.store.rows import EstimateRow, FindingRow, TallyRow, insert, names, read, shared
from falsefloor.study.units import digest

Judge = Callable[[Facts, Sequence[Finding]], Judgement]

THERE = "model = :model AND masker = :masker AND norm = :norm AND input = :input"
"""Of an observation, at a `Place`."""

_ESTIMATES = (
    f"SELECT {names(EstimateRow, 'e')}, u.cell, s.label, s.claim, s.gradient FROM series s"
    " JOIN estimate e ON e.series = s.id AND e.input = :input JOIN unit u ON u.id = e.unit"
    " WHERE s.model = :model AND s.masker = :masker AND s.norm = :norm ORDER BY s.id"
)


class _Stored(NamedTuple):
    """An estimate with what `_ESTIMATES` finds beside it."""

    row: EstimateRow
    cell: str
    name: str
    claim: Any
    gradient: str


def rejudge(db: sqlite3.Connection, places: Iterable[Place], judge: Judge) -> None:
    """Judge every estimate of these subjects' inputs from what is stored, inside the caller's transaction."""
    for place in places:
        found = [
            _Stored(read(EstimateRow, row), *row[-4:]) for row in db.execute(_ESTIMATES, place._asdict())
        ]
        came = [one for one in found if one.row.status == "ok"]
        observed = _observed(db, place)
        records = {one.row.id: _record(db, one) for one in came}
        for one in came:
            others = [record for id_, record in records.items() if id_ != one.row.id]
            told = _with_queries(observed, one.row)
            facts = Facts(place.norm, records[one.row.id], others, told)  # type: ignore[arg-type]
            _write(db, one, judge(facts, [note(code, message) for code, message in one.row.notes]))


def cells_at(db: sqlite3.Connection, place: Place) -> list[str]:
    """The cells of all units that brought an estimate there."""
    return [
        _Stored(read(EstimateRow, row), *row[-4:]).cell for row in db.execute(_ESTIMATES, place._asdict())
    ]


def _with_queries(observed: dict[str, Any], row: EstimateRow) -> dict[str, Any]:
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


def _write(db: sqlite3.Connection, one: _Stored, judged: Judgement) -> None:
    row = one.row
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
        name = digest(f"{one.cell}|{row.input}|{finding.code}|{nth}")[:10]
        insert(db, shared(FindingRow, finding, id=name, estimate=row.id))


def tally(db: sqlite3.Connection, series: int, verdict: str, change: int) -> None:
    add = "ON CONFLICT DO UPDATE SET count = count + excluded.count"
    insert(db, TallyRow(series, verdict, change), conflict=add)


def _observed(db: sqlite3.Connection, place: Place) -> dict[str, Any]:
    row = db.execute(f"SELECT facts FROM observation WHERE {THERE}", place._asdict()).fetchone()
    return _parsed(row[0]) if row else {}


@lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    """Stored facts as values; kept, since every estimate beside them is judged by the same ones."""
    found: dict[str, Any] = revive(parsed(text, "object", where="observation.facts"))
    return found


def _record(db: sqlite3.Connection, one: _Stored) -> Record:
    row = one.row
    radius = math.inf if row.radius is None else row.radius
    curves = Curves(db, f"{one.cell}/{row.input}/curve-")
    return Record(one.name, one.claim, one.gradient, radius, revive(row.evidence), curves, row.witness)


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
