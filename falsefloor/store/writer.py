"""The one writer of a run: creates run.db, stores each unit in one transaction, keeps the tally."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from falsefloor.checks.verdicts import Place
from falsefloor.jsonable import finite
from falsefloor.store.asked import known
from falsefloor.store.cells import WRONG, is_wrong
from falsefloor.store.files import said_plainly
from falsefloor.store.points import Budget, held, zipped
from falsefloor.store.received import check_database, make_file
from falsefloor.store.records import Array, EstimateResult, UnitResult
from falsefloor.store.rows import (
    ArrayRow,
    EstimateRow,
    EventRow,
    MetaRow,
    ModelRow,
    ObservationRow,
    ProgressRow,
    SeriesRow,
    UnitRow,
    fingerprints,
    insert,
    select,
    shared,
)
from falsefloor.store.run_dir import is_network, private_or_shared
from falsefloor.store.schema import check_foreign, meta, migrate, parsed
from falsefloor.store.verdicts import Judge, add_facts, cells_at, rejudge, tally, tell_met
from falsefloor.study.followups import Known
from falsefloor.study.units import Series, Unit, stack_json

UNFINISHED = ("queued", "running")
ENDED = ("done", "cancelled", "failed")


class RunWriter:
    """Writes one run.db. Each public method is one transaction, safe against a kill at any moment."""

    def __init__(self, path: Path, judge: Judge, *, durable: bool = True) -> None:
        with said_plainly(path):
            check_database(path, writes=True)
            make_file(path, mode=private_or_shared(path.parent)[1])
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
            check_foreign(self._db)
            migrate(self._db)
            # The log's shared memory does not reach other hosts: there readers wait for the writer instead.
            self._db.execute(f"PRAGMA journal_mode = {'DELETE' if is_network(path.parent) else 'WAL'}")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        self._path = path
        self._judge = judge
        self._budget = Budget()

    def free(self) -> int:
        """Bytes that the disk has left for points, those of this run included."""
        return shutil.disk_usage(self._path.parent).free + held(self._db)

    def hold_to(self, limit: int | None) -> None:
        """Points take at most so many bytes from now on (`store.points`); None: as many as come."""
        self._budget.set(self._db, limit)

    def close(self) -> None:
        """Leave one file behind where the run has ended, unless a viewer is still attached to it."""
        if self.meta().get("status") in ENDED:
            for _ in range(20):
                try:
                    self._db.execute("PRAGMA journal_mode = DELETE")
                    break
                except sqlite3.OperationalError:
                    time.sleep(0.05)
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with said_plainly(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has rolled back by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    def set_meta(self, **values: Any) -> None:
        with self._transaction() as db:
            for key, value in values.items():
                insert(db, MetaRow(key, json.dumps(finite(value))), replace=True)

    def meta(self) -> dict[str, Any]:
        return meta(self._db)

    def event(self, kind: str, message: str) -> None:
        with self._transaction() as db:
            insert(db, EventRow(0, time.time(), kind, message))

    def add_model(self, name: str, *, spec: Any, facts: Any, fingerprint: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            insert(db, ModelRow(name, spec, facts, fingerprint), replace=True)

    def fingerprints(self) -> dict[str, Mapping[str, Any]]:
        """Model name to its fingerprint, for the models loaded so far."""
        return fingerprints(self._db)

    def fingerprinted(self) -> list[tuple[str, dict[str, Any], str]]:
        """(model, spec, fingerprint) of stored units, one for each cell and fingerprint."""
        rows = self._db.execute(
            "SELECT model, spec, fingerprint FROM unit WHERE status = 'ok' GROUP BY cell, fingerprint"
        )
        return [(model, _spec(spec), stored) for model, spec, stored in rows]

    def waiting(self) -> list[tuple[int, str, str, dict[str, Any]]]:
        """(id, key, model, spec) of all units still to be computed."""
        rows = self._db.execute(
            "SELECT id, key, model, spec FROM unit WHERE status IN ('queued', 'running') ORDER BY id"
        )
        return [(id_, key, model, _spec(spec)) for id_, key, model, spec in rows]

    def begun(self, series: Iterable[Series]) -> list[Series]:
        """The series as this run began them: with the options they were stored with, whatever has been added
        to a plugin since, or is its default now."""
        stored = {row.place: row.params for row in select(self._db, SeriesRow)}
        return [replace(one, params=stored.get(one.place, one.params)) for one in series]

    def add_series(self, series: Iterable[Series]) -> None:
        with self._transaction() as db:
            for one in series:
                estimator = one.estimator
                row = shared(
                    SeriesRow,
                    one,
                    id=0,
                    model=one.model.name,
                    masker=one.stack.name,
                    stack=stack_json(one.stack),
                    estimator=estimator.use,
                    gradient=estimator.gradient,
                )
                insert(db, row, conflict="ON CONFLICT DO NOTHING")

    def add_units(self, units: Iterable[Unit], *, foreseen: bool = False) -> None:
        """Queue units; those that are there already stay as they are.

        ``foreseen``: they only count in the total until they are asked for, when they are added again, or
        until `skip_foreseen`.
        """
        with self._transaction() as db:
            rows = db.execute("SELECT id, model, masker, norm, label FROM series")
            ids = {Place(*cell): id_ for id_, *cell in rows}
            for unit in units:
                first, stop = unit.inputs
                row = shared(
                    UnitRow,
                    unit,
                    id=0,
                    spec=unit.spec(),
                    model=unit.model.name,
                    masker=unit.stack.name,
                    # a series that is only foreseen has no place in the table yet
                    series=ids[unit.series.place] if unit.series and not foreseen else None,
                    first=first,
                    stop=stop,
                    status="planned" if foreseen else "queued",
                )
                insert(
                    db,
                    row,
                    conflict="ON CONFLICT (key) DO UPDATE SET"
                    " status = excluded.status, series = excluded.series, error = NULL"
                    " WHERE unit.status IN ('planned', 'skipped') AND excluded.status = 'queued'",
                )

    def skip_foreseen(self) -> None:
        """Nothing asked for what is still planned, and nothing will."""
        with self._transaction() as db:
            db.execute(
                "UPDATE unit SET status = 'skipped', error = 'was foreseen; nothing asked for it'"
                " WHERE status = 'planned'"
            )

    def queued(self) -> list[tuple[int, dict[str, Any]]]:
        """(id, spec) of all units still to be computed, in order."""
        rows = self._db.execute("SELECT id, spec FROM unit WHERE status IN ('queued', 'running') ORDER BY id")
        return [(id_, _spec(spec)) for id_, spec in rows]

    def known(self) -> Known:
        """What follow-up rules look at."""
        return known(self._db)

    def requeue(self, statuses: Sequence[str]) -> int:
        """Put units of these statuses back in the queue, forgetting what they stored. Returns how many.

        Units of a model that could not be loaded go altogether: how many inputs it has was not known then.
        """
        marks = ", ".join("?" * len(statuses))
        with self._transaction() as db:
            absent = "model NOT IN (SELECT name FROM model)"
            again = db.execute(
                f"SELECT id FROM unit WHERE status IN ({marks}) OR {absent}", tuple(statuses)
            ).fetchall()
            ids = [row[0] for row in again]
            for unit in ids:
                self._forget(db, unit)
                db.execute("UPDATE unit SET status = 'queued', error = NULL WHERE id = ?", (unit,))
            db.execute(f"DELETE FROM unit WHERE status = 'queued' AND {absent}")
            db.execute("DELETE FROM progress")
        return len(ids)

    def _forget(self, db: sqlite3.Connection, unit: int) -> None:
        for row in select(db, EstimateRow, "WHERE unit = ?", unit):
            tally(db, row.series, row.verdict or row.status, -1)
            if _wrong(row):
                tally(db, row.series, WRONG, -1)
        db.execute("DELETE FROM finding WHERE estimate IN (SELECT id FROM estimate WHERE unit = ?)", (unit,))
        for table in ("estimate", "observation", "array"):
            db.execute(f"DELETE FROM {table} WHERE unit = ?", (unit,))

    def progress(
        self, moves: Mapping[int, tuple[int, int, Sequence[float]]], *, running: Iterable[int] = ()
    ) -> None:
        """What moves, for all running units at once: unit to (done, total, radii so far)."""
        now = time.time()
        with self._transaction() as db:
            for unit in running:
                db.execute("UPDATE unit SET status = 'running' WHERE id = ? AND status = 'queued'", (unit,))
            for unit, (done, total, radius) in moves.items():
                insert(db, ProgressRow(unit, done, total, radius, now), replace=True)

    def store(self, unit: int, result: UnitResult) -> None:
        """Store a unit and judge what it touches, its siblings too, in one transaction.

        Storing a unit that is stored already changes nothing, so a repeated delivery does no harm.
        """
        self.store_all([(unit, result)])

    def store_all(self, results: Sequence[tuple[int, UnitResult]]) -> None:
        """`store` for all that arrived together, in one transaction: a slow disk is waited for once.

        One wait took 8 ms on a busy cloud disk, where judging and writing a unit take 0.4 ms.
        """
        with self._transaction() as db:
            touched: dict[Place, None] = {}
            for unit, result in results:
                touched |= dict.fromkeys(self._store(db, unit, result))
            rejudge(db, touched, self._judge)
            self._budget.keep(db)

    def _store(self, db: sqlite3.Connection, unit: int, result: UnitResult) -> list[Place]:
        """Store one unit; the subjects' inputs that it touches."""
        row = db.execute(
            "SELECT status, model, masker, norm, series, cell, first, stop, kind FROM unit WHERE id = ?",
            (unit,),
        ).fetchone()
        if row is None or row[0] not in UNFINISHED:
            return []
        _, *subject, series, cell, first, stop, kind = row
        at = Place(*subject)
        for estimate in result.estimates:
            self._estimate(db, unit, cell, series, estimate)
        if series is not None and result.status != "ok" and not result.estimates:
            for input_ in range(first, stop):
                missing = EstimateResult(input_, status=result.status, error=result.error)
                self._estimate(db, unit, cell, series, missing)
        for seen in result.observations:
            if kind != "observe":
                if add_facts(db, at._replace(input=seen.input), cell, seen):
                    self._arrays(db, unit, cell, seen.input, seen.arrays)
                continue
            names = {role: f"{cell}/{seen.input}/{role}" for role in seen.arrays}
            facts = {**seen.facts, "arrays": names}
            row = shared(
                ObservationRow,
                seen,
                id=0,
                unit=unit,
                facts=facts,
                model=at.model,
                masker=at.masker,
                norm=at.norm,
            )
            insert(db, row, replace=True)
            self._arrays(db, unit, cell, seen.input, seen.arrays)
        db.execute(
            "UPDATE unit SET status = :status, error = :error, fingerprint = :fingerprint,"
            " forward = :forward, backward = :backward, seconds = :seconds, finished = :finished"
            " WHERE id = :unit",
            {**vars(result), "finished": time.time(), "unit": unit},
        )
        db.execute("DELETE FROM progress WHERE unit = ?", (unit,))
        touched = {e.input for e in result.estimates} | {o.input for o in result.observations}
        for input_ in touched:
            there = at._replace(input=input_)
            tell_met(db, there, [cell, *cells_at(db, there)] if kind == "observe" else [cell])
        return [at._replace(input=input_) for input_ in sorted(touched)]

    def _estimate(self, db: sqlite3.Connection, unit: int, cell: str, series: int, e: EstimateResult) -> None:
        low, high = e.interval or (None, None)
        row = shared(
            EstimateRow,
            e,
            id=0,
            unit=unit,
            series=series,
            low=low,
            high=high,
            curves=sorted(n.removeprefix("curve-") for n in e.arrays if n.startswith("curve-")),
            witness=f"{cell}/{e.input}/witness" if "witness" in e.arrays else None,
        )
        insert(db, row)
        if e.status != "ok":
            tally(db, series, e.status, 1)
        if _wrong(row):
            tally(db, series, WRONG, 1)
        self._arrays(db, unit, cell, e.input, e.arrays)

    def _arrays(
        self, db: sqlite3.Connection, unit: int, cell: str, input_: int, arrays: Mapping[str, Array]
    ) -> None:
        for role, array in arrays.items():
            stored = zipped(array)
            insert(db, shared(ArrayRow, stored, name=f"{cell}/{input_}/{role}", unit=unit), replace=True)
            self._budget.add(len(stored.data))

    def judge_all(self) -> int:
        """Judge the whole run again from what is stored. Returns at how many inputs of subjects."""
        rows = self._db.execute(
            "SELECT DISTINCT s.model, s.masker, s.norm, '', e.input FROM estimate e"
            " JOIN series s ON s.id = e.series"
        )
        places = [Place(*row) for row in rows]
        with self._transaction() as db:
            rejudge(db, places, self._judge)
        self._keep_codes()
        return len(places)

    def _keep_codes(self) -> None:
        """What others' codes mean, as their checks say it now."""
        if codes := getattr(self._judge, "codes", None):
            self.set_meta(codes=codes)

    def finish(self, status: str, *, error: str | None = None, exit_code: int = 0) -> None:
        """End the run; `close` makes it one file."""
        self._keep_codes()
        self.set_meta(status=status, error=error, exit_code=exit_code, ended=time.time())
        with self._transaction() as db:
            db.execute("DELETE FROM progress")
            left = self._budget.keep(db, ended=True)
        if left:
            with suppress(sqlite3.OperationalError):  # it is only smaller after it
                self._db.execute("VACUUM")


def _spec(text: str) -> dict[str, Any]:
    found: dict[str, Any] = parsed(text, "object", where="unit.spec")
    return found


def _wrong(row: EstimateRow) -> bool:
    return row.status == "ok" and is_wrong(row.label, row.predicted)
