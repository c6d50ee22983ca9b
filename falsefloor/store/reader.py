"""Reads a run while it is written or long after: what the app, `watch`, `show` and `export` look at."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from falsefloor.checks.verdicts import ORDER
from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.jsonable import as_number, finite
from falsefloor.store.cells import Cell, Cells
from falsefloor.store.findings import FindingReader, where
from falsefloor.store.points import is_left_out, unzipped
from falsefloor.store.records import Array
from falsefloor.store.rows import (
    ArrayRow,
    EstimateRow,
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
from falsefloor.store.schema import connect_readonly, meta
from falsefloor.store.standing import RunInfo, standing

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


class RunReader(FindingReader):
    """A read-only connection to one run. Close it, or use it in a `with`."""

    def __init__(self, run: RunDir) -> None:
        self.run_dir = run
        super().__init__(connect_readonly(run.db))
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

    def estimates(self, **of: Any) -> Iterator[dict[str, Any]]:
        """Records as in the JSON of a run, in the table's order, a few hundred at a time.

        ``of``: series=, input=, unit=, id=, model=, masker=, norm=.
        """
        rows = self._db.execute(
            f"SELECT {names(EstimateRow, 'e', of=self._db)}, u.key, u.cell FROM estimate e"
            f" JOIN series s ON s.id = e.series JOIN unit u ON u.id = e.unit {where(of)}"
            " ORDER BY e.series, e.input",
            tuple(of.values()),
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

    def ranked(self, **of: Any) -> Iterator[tuple[int, int, int]]:
        """(id, series, input) of every estimate, the worst verdicts first, by input among equals.

        From an index alone, so that the worst of a million are found without reading the others.
        ``of``: series=.
        """
        order = " ".join(f"WHEN '{word}' THEN {at}" for at, word in enumerate(ORDER))
        rows = self._db.execute(
            f"SELECT e.id, e.series, e.input FROM estimate e {where(of)}"
            f" ORDER BY CASE coalesce(e.verdict, e.status) {order} ELSE {len(ORDER)} END,"
            " e.input, e.series",
            tuple(of.values()),
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

    def radii(self, series: int, *, most: int) -> list[tuple[int, float, str]]:
        """(input, radius, verdict) of a series' first estimates of inputs that are classified as labelled."""
        rows = self._all(
            "SELECT input, radius, verdict FROM estimate WHERE series = ? AND status = 'ok'"
            " AND radius IS NOT NULL AND label IS predicted ORDER BY input LIMIT ?",
            series,
            most,
        )
        return [(row[0], row[1], row[2] or "") for row in rows]

    def shown(self, estimator: str) -> dict[str, Any]:
        """How others' numbers are to be shown, as their package said: {"columns": …, "axes": …}."""
        stored = self.meta().get("shown")
        told = stored.get(estimator) if isinstance(stored, dict) else None
        return told if isinstance(told, dict) else {}

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

    def observations(self, **of: Any) -> Iterator[dict[str, Any]]:
        """As in the JSON of a run, in the table's order. ``of``: model=, masker=, norm=, input=."""
        for row in each(
            self._db,
            ObservationRow,
            # Not by id: units arrive in another order where a run was interrupted or had several workers.
            f"{where(of, of='observation')} ORDER BY (SELECT min(s.id) FROM series s"
            " WHERE s.model = observation.model AND s.masker = observation.masker"
            " AND s.norm = observation.norm), input",
            *of.values(),
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
