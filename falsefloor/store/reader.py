"""Reads a run while it is written or long after: what the app, `watch`, `show` and `export` look at."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from falsefloor.api import CodeInfo
from falsefloor.checks.verdicts import ORDER, SEVERITIES, rank
from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.jsonable import as_number, finite
from falsefloor.plugins.described import clean_info
from falsefloor.store.cells import Cell, Cells
from falsefloor.store.points import is_left_out, unzipped
from falsefloor.store.records import Array
from falsefloor.store.rows import (
    ArrayRow,
    EstimateRow,
    FindingRow,
    ModelRow,
    ObservationRow,
    SeriesRow,
    each,
    fingerprints,
    names,
    read,
    select,
)
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import connect_readonly, meta, parsed
from falsefloor.store.standing import RunInfo, standing

_INFO = tuple(field.name for field in dataclasses.fields(CodeInfo))

UNREADABLE = (
    *(FalsefloorError, sqlite3.Error, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What reading a run can raise that somebody else wrote, another version, or half, or that is moved away."""


@contextmanager
def readable(run: RunDir) -> Iterator[None]:
    """Turns all of that into `StoreError`."""
    try:
        yield
    except FalsefloorError:
        raise
    except UNREADABLE as error:
        raise StoreError(f"run {run.id} cannot be read: {error or type(error).__name__}.") from error


@contextmanager
def reading(run: RunDir) -> Iterator[RunReader]:
    """A reader for whoever shows several runs, or goes on where one cannot be read."""
    with readable(run), RunReader(run) as reader:
        yield reader


class RunReader:
    """A read-only connection to one run. Close it, or use it in a `with`."""

    def __init__(self, run: RunDir) -> None:
        self.run_dir = run
        self._db = connect_readonly(run.db)
        self._version = -1
        self._cells = Cells(self._db)

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def changed(self) -> bool:
        """Whether anything was written since the last call; microseconds."""
        version = int(self._one("PRAGMA data_version")[0])
        moved, self._version = version != self._version, version
        return moved

    def info(self) -> RunInfo:
        """How the run stands now."""
        return standing(self._db, self.run_dir)

    def meta(self) -> dict[str, Any]:
        return meta(self._db)

    def models(self) -> dict[str, Mapping[str, Any]]:
        """Model name to what was found when it was loaded: count, classes, units, shape, names, labels."""
        return {row.name: row.facts for row in select(self._db, ModelRow)}

    def said(self) -> list[str]:
        """What is to be known before any number: sentences of the models, found when they were loaded, and
        what of the run was not kept."""
        models = self.models()
        lists = {name: facts.get("said") for name, facts in models.items()}
        return [
            f"{name}: {one}" if len(models) > 1 else one
            for name, told in lists.items()
            for one in (told if isinstance(told, list) else ())
            if isinstance(one, str)
        ] + [
            f"{count:,} points were left out, to stay within the disk set for them (witnesses). What was"
            " measured there stands; the same study with --witnesses all keeps them."
            for count in (self.meta().get("left_out"),)
            if count
        ]

    def fingerprints(self) -> dict[str, Mapping[str, Any]]:
        """Model name to the digests of its weights, files, inputs and bounds."""
        return fingerprints(self._db)

    def series(self) -> list[SeriesRow]:
        """All cells, in the table's order."""
        return select(self._db, SeriesRow, "ORDER BY id")

    def cells(self) -> dict[int, Cell]:
        """Every series' summary, by series id. Costs little even over a million estimates."""
        return self._cells.read()

    def estimates(self, **where: Any) -> Iterator[dict[str, Any]]:
        """Records as in the JSON of a run, in the table's order, a few hundred at a time.

        ``where``: series=, input=, unit=, id=, model=, masker=, norm=.
        """
        rows = self._db.execute(
            f"SELECT {names(EstimateRow, 'e', of=self._db)}, u.key, u.cell FROM estimate e"
            f" JOIN series s ON s.id = e.series JOIN unit u ON u.id = e.unit {_where(where)}"
            " ORDER BY e.series, e.input",
            tuple(where.values()),
        )
        series: dict[int, SeriesRow] = {}
        while some := rows.fetchmany(500):
            found = [(read(EstimateRow, row), *row[-2:]) for row in some]
            warnings = self._warnings([row.id for row, _, _ in found])
            for row, unit, cell in found:
                if row.series not in series:
                    (series[row.series],) = select(self._db, SeriesRow, "WHERE id = ?", row.series)
                said = warnings.get(row.id, [])
                yield _estimate(row, series[row.series], unit=unit, cell=cell, warnings=said)

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

    def ranked(self, **where: Any) -> Iterator[tuple[int, int, int]]:
        """(id, series, input) of every estimate, the worst verdicts first, by input among equals.

        From an index alone, so that the worst of a million are found without reading the others.
        ``where``: series=.
        """
        order = " ".join(f"WHEN '{word}' THEN {at}" for at, word in enumerate(ORDER))
        rows = self._db.execute(
            f"SELECT e.id, e.series, e.input FROM estimate e {_where(where)}"
            f" ORDER BY CASE coalesce(e.verdict, e.status) {order} ELSE {len(ORDER)} END,"
            " e.input, e.series",
            tuple(where.values()),
        )
        yield from map(tuple, rows)

    def unjudged(self) -> str | None:
        """Why nothing was judged, or None. A misclassified input's floor is 0 and judges no estimator."""
        right = "SELECT 1 FROM estimate e JOIN series s ON s.id = e.series WHERE e.label = e.predicted"
        floor = f"{right} AND s.claim != 'upper_bound'"
        any_right, any_floor, judged = self._one(
            f"SELECT EXISTS({right}), EXISTS({floor}), EXISTS({floor} AND e.status = 'ok')"
        )
        if not any_right:
            return "no input is classified as its label says"
        return "every lower estimate was skipped" if any_floor and not judged else None

    def findings(self, **where: Any) -> Iterator[dict[str, Any]]:
        """Warnings with their series and input, worst first: all of the run, or of series=, code=, input=."""
        order = f"ORDER BY {_GRAVITY}, f.code, e.series, e.input"
        return self._found(f"{_where(where)} {order}", *where.values())

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

    def radii(self, series: int, *, most: int) -> list[tuple[int, float, str]]:
        """(input, radius, verdict) of a series' first estimates of inputs that are classified as labelled."""
        rows = self._all(
            "SELECT input, radius, verdict FROM estimate WHERE series = ? AND status = 'ok'"
            " AND radius IS NOT NULL AND label IS predicted ORDER BY input LIMIT ?",
            series,
            most,
        )
        return [(row[0], row[1], row[2] or "") for row in rows]

    def codes(self) -> dict[str, CodeInfo]:
        """What the codes of others' checks mean, as they were when the run was judged. Safe to show."""
        stored = self.meta().get("codes")
        return {
            str(code): clean_info(CodeInfo(**{name: info.get(name, "") for name in _INFO}))
            for code, info in (stored.items() if isinstance(stored, dict) else ())
            if isinstance(info, dict)
        }

    def shown(self, estimator: str) -> dict[str, Any]:
        """How others' numbers are to be shown, as their package said: {"columns": …, "axes": …}."""
        stored = self.meta().get("shown")
        told = stored.get(estimator) if isinstance(stored, dict) else None
        return told if isinstance(told, dict) else {}

    def counted(self) -> list[tuple[str, str, int, str]]:
        """(code, severity, on how many estimates, one of the messages) of each kind of warning, gravest
        first."""
        rows = self._db.execute(
            "SELECT code, severity, count(DISTINCT estimate), min(message) FROM finding"
            " GROUP BY code, severity"
        )
        return sorted(rows.fetchall(), key=lambda row: (rank(row[1]), row[0]))

    def words(self, series: int) -> list[tuple[float | None, str | None, int]]:
        """(confidence, function that its claims are about, on how many estimates) of a series."""
        rows = self._db.execute(
            "SELECT json_extract(evidence, '$.confidence'), json_extract(evidence, '$.about'), count(*)"
            " FROM estimate WHERE series = ? AND status = 'ok' GROUP BY 1, 2",
            (series,),
        )
        return [
            (as_number(sure), about if isinstance(about, str) else None, count) for sure, about, count in rows
        ]

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

    def observations(self, **where: Any) -> Iterator[dict[str, Any]]:
        """As in the JSON of a run, in the table's order. ``where``: model=, masker=, norm=, input=."""
        for row in each(
            self._db,
            ObservationRow,
            # Not by id: units arrive in another order where a run was interrupted or had several workers.
            f"{_where(where, of='observation')} ORDER BY (SELECT min(s.id) FROM series s"
            " WHERE s.model = observation.model AND s.masker = observation.masker"
            " AND s.norm = observation.norm), input",
            *where.values(),
        ):
            yield _without(vars(row), "id", "unit")

    def agreement(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """(model, masker, norm) to on how many inputs the masked model keeps the class, and of how many."""
        return {
            (row[0], row[1], row[2]): (row[3], row[4])
            for row in self._all(
                "SELECT model, masker, norm, sum(agreement), count(*) FROM observation"
                " WHERE agreement IS NOT NULL GROUP BY model, masker, norm"
            )
        }

    def units(self, status: str | None = None) -> list[dict[str, Any]]:
        clause, given = (" WHERE status = ?", (status,)) if status else ("", ())
        return [dict(row) for row in self._db.execute(f"SELECT * FROM unit{clause} ORDER BY id", given)]

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """What happened to the run, in words: (id, at, kind, message)."""
        return [dict(row) for row in self._all("SELECT * FROM event WHERE id > ? ORDER BY id", after)]

    def array(self, name: str) -> Array | None:
        """A stored tensor by its name; None where there is none, or its budget left it out."""
        found = select(self._db, ArrayRow, "WHERE name = ?", name)
        array = unzipped(found[0]) if found else None
        return None if array is None or is_left_out(array) else array

    def document(self) -> dict[str, Any]:
        """The whole run as the JSON document falsefloor.run/1."""
        return {key: [*one] if isinstance(one, Iterator) else one for key, one in self.streamed().items()}

    def streamed(self) -> dict[str, Any]:
        """`document`, with records that are read as they are asked for: there may be a million."""
        info = self.info()
        return {
            "schema": "falsefloor.run/1",
            "run": {
                "id": info.id,
                "status": info.status,
                "seed": info.seed,
                "device": info.device,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.started)),
                "seconds": round(info.seconds, 3),
                "versions": dict(info.versions),
                "study": finite(info.study),
                "counts": dict(info.counts),
                "units": info.units(),
                "tag": info.tag,
                "error": info.error,
                "said": self.said(),
            },
            "estimates": (_without(e, "id", "series") for e in self.estimates()),
            "observations": self.observations(),
        }

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._db.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()


_RANKS = " ".join(f"WHEN '{severity}' THEN {rank(severity)}" for severity in SEVERITIES)
_GRAVITY = f"CASE f.severity {_RANKS} ELSE 99 END"
_TABLES = {
    **dict.fromkeys(("series", "input", "unit", "id"), "e"),
    **dict.fromkeys(("model", "masker", "norm"), "s"),
    "code": "f",
}
"""Of an estimate's or a warning's column: what is planned stands in its series."""


def _where(values: Mapping[str, Any], *, of: str = "") -> str:
    given = " AND ".join(f"{of or _TABLES[name]}.{name} = ?" for name in values)
    return f"WHERE {given}" if given else ""


def _without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Numbers of rows are this file's own business: they depend on the order of arrival."""
    return {key: value for key, value in record.items() if key not in keys}


def _estimate(
    row: EstimateRow, series: SeriesRow, *, unit: str, cell: str, warnings: list[dict[str, Any]]
) -> dict[str, Any]:
    """unit and cell: the key of its unit, with and without the chunk."""
    told = {**vars(series), **vars(row)}
    for apart in ("low", "high", "forward", "backward"):
        del told[apart]
    return told | {
        "name": series.label,
        "radius": finite(row.radius),
        "interval": None if row.low is None else [finite(row.low), finite(row.high)],
        "warnings": warnings,
        "queries": {"forward": row.forward, "backward": row.backward},
        "unit": unit,
        "arrays": f"{cell}/{row.input}",
    }


def _warning(row: FindingRow, seen: str | None) -> dict[str, Any]:
    """seen: what was measured of the witness, as stored."""
    witness = (
        None
        if row.witness is None
        else {"array": row.witness, **parsed(seen or "{}", "object", where="array.facts")}
    )
    told = {name: getattr(row, name) for name in ("id", "code", "severity", "message", "evidence")}
    return told | {"witness": witness}
