"""Verdicts follow facts: what units learn is told beside what was observed, and stored estimates are judged
again whenever anything beside them was stored."""

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
from falsefloor.jsonable import as_number, finite, revive
from falsefloor.observed import MET
from falsefloor.store.records import ObservationResult
from falsefloor.store.rows import EstimateRow, FindingRow, TallyRow, insert, names, read, shared
from falsefloor.store.schema import parsed
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


def add_facts(db: sqlite3.Connection, at: Place, cell: str, seen: ObservationResult) -> bool:
    """What a follow-up learnt (a repair's agreement, a trap, more samples), beside what was seen; whether
    anything was seen there."""
    if (known := _facts(db, at)) is None:
        return False
    for part, more in seen.facts.items():
        known[part] = {**known.get(part, {}), **more}
    # what was met is told with its array, if it is the nearest
    roles = seen.arrays.keys() - MET.values()
    names = {role: f"{cell}/{seen.input}/{role}" for role in sorted(roles)}
    _tell(db, at, {**known, "arrays": {**known.get("arrays", {}), **names}})
    return True


def tell_met(db: sqlite3.Connection, at: Place, cells: Iterable[str]) -> None:
    """What units of these cells met becomes a fact of the observation there, where it is nearer than what is
    known; nothing where there is no observation yet.

    Units end in any order, and an estimate may be stored before the observation it is judged by. So points
    stay the arrays of the unit that met them, and whichever comes later brings the two together.
    """
    if (known := _facts(db, at)) is None:
        return
    told, names = dict(known.get("met", {})), dict(known.get("arrays", {}))
    for cell in cells:
        for what, role in MET.items():
            name = f"{cell}/{at.input}/{role}"
            stored = db.execute("SELECT facts FROM array WHERE name = ?", (name,)).fetchone()
            if stored is not None:
                point = json.loads(stored[0])
                if what not in told or _order(point, name) < _order(told[what], names.get(role, "")):
                    told[what], names[role] = {**point, "array": role}, name
    if told != known.get("met", {}):
        _tell(db, at, {**known, "met": told, "arrays": names})


def _order(point: Mapping[str, Any], name: str) -> tuple[float, str]:
    """The nearer first; of equals the same one, whichever came first."""
    distance = as_number(point.get("distance"))
    return math.inf if distance is None else distance, name


def _facts(db: sqlite3.Connection, at: Place) -> dict[str, Any] | None:
    row = db.execute(f"SELECT facts FROM observation WHERE {THERE}", at._asdict()).fetchone()
    return None if row is None else parsed(row[0], "object", where="observation.facts")


def _tell(db: sqlite3.Connection, at: Place, facts: Mapping[str, Any]) -> None:
    told = {"facts": json.dumps(finite(facts)), **at._asdict()}
    db.execute(f"UPDATE observation SET facts = :facts WHERE {THERE}", told)


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
