"""What was found wrong with the estimates of a run: warnings one by one, counted, and what was refuted."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from falsefloor.api import CodeInfo
from falsefloor.checks.verdicts import SEVERITIES, rank
from falsefloor.plugins.described import clean_info
from falsefloor.store.rows import FindingRow, names, read
from falsefloor.store.schema import meta, parsed

_INFO = tuple(field.name for field in dataclasses.fields(CodeInfo))
_RANKS = " ".join(f"WHEN '{severity}' THEN {rank(severity)}" for severity in SEVERITIES)
_GRAVITY = f"CASE f.severity {_RANKS} ELSE 99 END"
_TABLES = {
    **dict.fromkeys(("series", "input", "unit", "id"), "e"),
    **dict.fromkeys(("model", "masker", "norm"), "s"),
    "code": "f",
}
"""Of an estimate's or a warning's column: what is planned stands in its series."""


def where(values: Mapping[str, Any], *, of: str = "") -> str:
    """SQL for columns with these values. of: their table; else an estimate's or a warning's own."""
    given = " AND ".join(f"{of or _TABLES[name]}.{name} = ?" for name in values)
    return f"WHERE {given}" if given else ""


class FindingReader:
    """A connection to one run, as far as its warnings go."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._db.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()

    def findings(self, **of: Any) -> Iterator[dict[str, Any]]:
        """Warnings with their series and input, worst first: all of the run, or of series=, code=, input=."""
        order = f"ORDER BY {_GRAVITY}, f.code, e.series, e.input"
        return self._found(f"{where(of)} {order}", *of.values())

    def finding_groups(self) -> list[dict[str, Any]]:
        """Warnings by code and series, worst first: how many, on how many inputs, the first as an example."""
        return self._grouped("count(*), count(DISTINCT e.input), min(e.input)", "GROUP BY 1, 2, 3", -1)

    def finding_lines(self, *, most: int) -> list[dict[str, Any]]:
        """The worst warnings one by one in the same form, without their evidence, which costs parsing."""
        return self._grouped("1, 1, e.input", "", most)

    def _grouped(self, counts: str, group: str, most: int) -> list[dict[str, Any]]:
        rows = self._db.execute(
            f"SELECT f.code, f.severity, e.series, {counts}, f.id, f.message FROM finding f"
            f" JOIN estimate e ON e.id = f.estimate {group} ORDER BY {_GRAVITY}, 1, 3, 6 LIMIT ?",
            (most,),
        )
        heads = ("code", "severity", "series", "count", "inputs", "input", "id", "message")
        return [dict(zip(heads, row, strict=True)) for row in rows]

    def counted(self) -> list[tuple[str, str, int, str]]:
        """(code, severity, on how many estimates, one of the messages) of each kind of warning, gravest
        first."""
        rows = self._db.execute(
            "SELECT code, severity, count(DISTINCT estimate), min(message) FROM finding"
            " GROUP BY code, severity"
        )
        return sorted(rows.fetchall(), key=lambda row: (rank(row[1]), row[0]))

    def codes(self) -> dict[str, CodeInfo]:
        """What the codes of others' checks mean, as they were when the run was judged. Safe to show."""
        stored = meta(self._db).get("codes")
        return {
            str(code): clean_info(CodeInfo(**{name: info.get(name, "") for name in _INFO}))
            for code, info in (stored.items() if isinstance(stored, dict) else ())
            if isinstance(info, dict)
        }

    def _found(self, rest: str, *given: Any) -> Iterator[dict[str, Any]]:
        rows = self._db.execute(
            f"SELECT {names(FindingRow, 'f')}, a.facts, e.series, e.input, e.radius FROM finding f"
            " JOIN estimate e ON e.id = f.estimate JOIN series s ON s.id = e.series"
            f" LEFT JOIN array a ON a.name = f.witness {rest}",
            given,
        )
        for *values, seen, series, input_, radius in rows:
            told = _warning(read(FindingRow, values), seen)
            yield told | {"series": series, "input": input_, "radius": radius}

    def refuted(self) -> Iterator[tuple[dict[str, Any], int, list[tuple[str, int]]]]:
        """For every cell with a refuted estimate: the warning whose witness is nearest, on how many inputs,
        and which suspicions were raised there (among the first thousand), most frequent first.

        By the index alone, since a million estimates are many pages: 4 s became 1 s.
        """
        for series, inputs in self._all(
            "SELECT t.series, t.count FROM tally t JOIN series s ON s.id = t.series"
            " WHERE t.verdict = 'refuted' AND t.count > 0 ORDER BY t.series"
        ):
            nearest = self._one(
                "SELECT f.id FROM estimate e JOIN finding f ON f.estimate = e.id"
                " LEFT JOIN array a ON a.name = f.witness"
                " WHERE e.series = ? AND e.verdict = 'refuted' AND f.severity = 'refuted'"
                " ORDER BY coalesce(json_extract(a.facts, '$.distance'), 'none'), e.input, f.code LIMIT 1",
                series,
            )
            if nearest is None:
                continue
            found = next(self._found("WHERE f.id = ?", nearest[0]))
            doubts = self._all(
                "SELECT f.code, count(*) AS n FROM (SELECT id FROM estimate"
                " WHERE series = ? AND verdict = 'refuted' ORDER BY input LIMIT 1000) e"
                " JOIN finding f ON f.estimate = e.id WHERE f.severity = 'suspect'"
                " GROUP BY 1 ORDER BY n DESC, f.code",
                series,
            )
            yield found, inputs, [(code, count) for code, count in doubts]

    def _warnings(self, estimates: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        made: dict[int, list[dict[str, Any]]] = {}
        rows = self._db.execute(
            f"SELECT {names(FindingRow, 'f')}, a.facts FROM finding f LEFT JOIN array a ON a.name = f.witness"
            f" WHERE f.estimate IN ({', '.join('?' * len(estimates))})",
            estimates,
        )
        for *values, seen in rows:
            row = read(FindingRow, values)
            made.setdefault(row.estimate, []).append(_warning(row, seen))
        for found in made.values():
            found.sort(key=lambda w: (rank(w["severity"]), w["code"], w["id"]))
        return made


def _warning(row: FindingRow, seen: str | None) -> dict[str, Any]:
    """seen: what was measured of the witness, as stored."""
    witness = (
        None
        if row.witness is None
        else {"array": row.witness, **parsed(seen or "{}", "object", where="array.facts")}
    )
    told = {name: getattr(row, name) for name in ("id", "code", "severity", "message", "evidence")}
    return told | {"witness": witness}
