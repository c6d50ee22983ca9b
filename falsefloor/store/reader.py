"""Reads a run while it is written or long after: what the app, `watch`, `show` and `export` look at."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from falsefloor.checks.verdicts import MISCLASSIFIED, ORDER, SEVERITIES, STATES, VERDICTS, rank
from falsefloor.errors import StoreError
from falsefloor.jsonable import finite
from falsefloor.store.forms import (
    Cell,
    RunInfo,
    SeriesRow,
    estimate_record,
    series_row,
    warning_record,
)
from falsefloor.store.paths import RunDir
from falsefloor.store.records import Array
from falsefloor.store.schema import connect_readonly

REASONS = 1000
"""Of so many estimates the reasons are counted to tell the most frequent one."""
ENDED = frozenset(("done", "cancelled", "failed", "lost"))


class RunReader:
    """A read-only connection to one run. Close it, or use it in a `with`."""

    def __init__(self, run: RunDir) -> None:
        self.run_dir = run
        self._db = connect_readonly(run.db)
        self._version = -1

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
        meta = self.meta()
        status = str(meta.get("status", "queued"))
        if status not in ENDED and not meta.get("in_process") and not self.run_dir.is_alive():
            # A worker takes its lock a moment after the directory appears.
            young = abs(time.time() - float(meta.get("created", 0))) < 10 and status == "queued"
            status = status if young else "lost"
        counts = {r[0]: r[1] for r in self._all("SELECT verdict, sum(count) FROM tally GROUP BY verdict")}
        done, failed, cancelled, total, forward, backward, busy = self._one(
            "SELECT count(*) FILTER (WHERE status IN ('ok', 'skipped')),"
            " count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'cancelled'),"
            " count(*), coalesce(sum(forward), 0), coalesce(sum(backward), 0), coalesce(sum(seconds), 0)"
            " FROM unit"
        )
        started = float(meta.get("started", meta.get("created", 0.0)))
        if status == "cancelled":
            cancelled = total - done - failed  # nor will what was only foreseen come
        ended = meta.get("ended") or self._last_seen(status)
        # A run that was gone on with worked in several pieces; what lay between them is not its duration.
        worked = float(meta.get("worked", 0.0)) + max(0.0, float(ended) - float(meta.get("resumed", started)))
        return RunInfo(
            id=str(meta.get("id", self.run_dir.id)),
            status=status,
            seed=int(meta.get("seed", 0)),
            device=str(meta.get("device", "cpu")),
            started=started,
            seconds=worked,
            versions=meta.get("versions", {}),
            study=meta.get("study", {}),
            tag=str(meta.get("tag", "")),
            error=meta.get("error"),
            counts=counts,
            units_done=done,
            units_failed=failed,
            units_cancelled=cancelled,
            units_total=total,
            forward=forward,
            backward=backward,
            busy_seconds=busy,
        )

    def _last_seen(self, status: str) -> float:
        if status != "lost":
            return time.time()
        last = self._one("SELECT max(finished) FROM unit")[0]
        return float(last or 0.0)

    def meta(self) -> dict[str, Any]:
        return {r["key"]: json.loads(r["value"]) for r in self._all("SELECT key, value FROM meta")}

    def models(self) -> dict[str, dict[str, Any]]:
        """Model name to what was found when it was loaded: count, classes, units, shape, names, labels."""
        return {r["name"]: json.loads(r["facts"]) for r in self._all("SELECT name, facts FROM model")}

    def fingerprints(self) -> dict[str, Any]:
        """Model name to the digests of its weights, files, inputs and bounds."""
        return {r["name"]: json.loads(r["fingerprint"]) for r in self._all("SELECT * FROM model")}

    def series(self) -> list[SeriesRow]:
        """All cells, in the table's order."""
        return [series_row(row) for row in self._all("SELECT * FROM series ORDER BY id")]

    def cells(self) -> dict[int, Cell]:
        """Every series' summary, by series id. Costs little even over a million estimates."""
        tallies: dict[int, dict[str, int]] = {}
        for series, verdict, count in self._all("SELECT series, verdict, count FROM tally WHERE count > 0"):
            tallies.setdefault(series, {})[verdict] = count
        live: dict[int, tuple[float, float | None]] = {}
        for series, done, total, radius in self._all(
            "SELECT u.series, p.done, p.total, p.radius FROM progress p JOIN unit u ON u.id = p.unit"
            " WHERE u.series IS NOT NULL"
        ):
            moving = sorted(float(r) for r in json.loads(radius))
            live[series] = (done / max(total, 1), moving[len(moving) // 2] if moving else None)
        planned = dict(
            tuple(row)
            for row in self._all(
                "SELECT series, sum(stop - first) FROM unit WHERE series IS NOT NULL AND kind != 'observe'"
                " GROUP BY series"
            )
        )
        return {
            series: self._cell(series, planned.get(series, 0), tallies.get(series, {}), live.get(series))
            for series in (row[0] for row in self._all("SELECT id FROM series ORDER BY id"))
        }

    def _cell(
        self, series: int, total: int, counts: Mapping[str, int], live: tuple[float, float | None] | None
    ) -> Cell:
        worst = next((verdict for verdict in VERDICTS if counts.get(verdict)), None)
        state = next((state for state in STATES if counts.get(state)), None)
        judged = sum(count for word, count in counts.items() if word not in STATES)
        # what is misclassified has radius 0: few rows to look at, and the first in order
        wrong = self._one(
            "SELECT count(*) FROM estimate WHERE series = ? AND radius = 0 AND predicted IS NOT label", series
        )[0]
        correct = judged - wrong
        radius, capped = None, False
        if correct:
            middle = self._all(
                "SELECT radius, capped FROM estimate WHERE series = ? AND radius IS NOT NULL"
                " ORDER BY radius LIMIT ? OFFSET ?",
                series,
                2 - correct % 2,
                wrong + (correct - 1) // 2,
            )
            radius = sum(row[0] for row in middle) / len(middle) if middle else None
            capped = any(row[1] for row in middle)
        reason = self._most(
            "SELECT reason FROM estimate WHERE series = ? AND verdict = ? AND reason != ? LIMIT ?",
            series,
            worst,
            MISCLASSIFIED,
            REASONS,
        )
        failure = self._most(
            "SELECT coalesce(error, '') AS reason FROM estimate"
            " WHERE series = ? AND verdict IS NULL AND status = ? LIMIT ?",
            series,
            state,
            REASONS,
        )
        return Cell(
            series=series,
            total=total,
            radius=radius,
            capped=capped,
            verdicts=counts,
            worst=worst,
            worst_count=counts.get(worst or "", 0),
            reason=reason if worst else "",
            live=live,
            correct=correct,
            judged=judged,
            failure=failure if state else "",
        )

    def _most(self, reasons: str, *values: Any) -> str:
        """The most frequent of the first thousand, the first in the alphabet among equals."""
        row = self._one(
            f"SELECT reason FROM ({reasons}) GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 1", *values
        )
        return str(row[0] or "") if row else ""

    def estimates(self, **where: Any) -> Iterator[dict[str, Any]]:
        """Records as in the JSON of a run, in the table's order, a few hundred at a time.

        ``where``: series=, input=, unit=, id=, model=, masker=, norm=.
        """
        clause = " AND ".join(f"{_owner(name)}.{_column(name)} = ?" for name in where)
        rows = self._db.execute(
            "SELECT e.*, u.key AS unit_key, u.cell AS unit_cell, s.model, s.masker, s.stack, s.norm,"
            " s.estimator, s.label AS cell, s.params, s.gradient, s.recovers, s.claim, s.plugin"
            " FROM estimate e"
            " JOIN series s ON s.id = e.series JOIN unit u ON u.id = e.unit"
            + (f" WHERE {clause}" if clause else "")
            + " ORDER BY e.series, e.input",
            tuple(where.values()),
        )
        while some := rows.fetchmany(500):
            warnings = self._warnings([row["id"] for row in some])
            for row in some:
                yield estimate_record(row, warnings.get(row["id"], []))

    def _warnings(self, estimates: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        made: dict[int, list[dict[str, Any]]] = {}
        rows = self._db.execute(
            "SELECT f.*, a.facts AS seen FROM finding f LEFT JOIN array a ON a.name = f.witness"
            f" WHERE f.estimate IN ({', '.join('?' * len(estimates))})",
            estimates,
        )
        for row in rows:
            made.setdefault(row["estimate"], []).append(warning_record(row))
        for found in made.values():
            found.sort(key=lambda w: (rank(w["severity"]), w["code"], w["id"]))
        return made

    def ranked(self, **where: Any) -> Iterator[tuple[int, int, int]]:
        """(id, series, input) of every estimate, the worst verdicts first, by input among equals.

        From an index alone, so that the worst of a million are found without reading the others.
        ``where``: series=.
        """
        clause = " AND ".join(f"e.{_column(name)} = ?" for name in where)
        order = " ".join(f"WHEN '{word}' THEN {at}" for at, word in enumerate(ORDER))
        rows = self._db.execute(
            "SELECT e.id, e.series, e.input FROM estimate e"
            + (f" WHERE {clause}" if clause else "")
            + f" ORDER BY CASE coalesce(e.verdict, e.status) {order} ELSE {len(ORDER)} END,"
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

    def findings(self) -> Iterator[dict[str, Any]]:
        """Every warning of the run with its series and input, worst first."""
        rows = self._db.execute(
            "SELECT f.*, a.facts AS seen, e.series, e.input, e.radius FROM finding f"
            " JOIN estimate e ON e.id = f.estimate LEFT JOIN array a ON a.name = f.witness"
            f" ORDER BY CASE f.severity {_RANKS} ELSE {len(SEVERITIES)} END, f.code, e.series, e.input"
        )
        for row in rows:
            yield warning_record(row) | {
                "series": row["series"],
                "input": row["input"],
                "radius": row["radius"],
            }

    def refuted(self) -> Iterator[tuple[dict[str, Any], int, list[tuple[str, int]]]]:
        """For every cell with a refuted estimate: the warning whose witness is nearest, on how many inputs,
        and which suspicions were raised there (among the first thousand), most frequent first.

        By the index alone, since a million estimates are many pages: 4 s became 1 s.
        """
        for series, inputs in self._all(
            "SELECT series, count FROM tally WHERE verdict = 'refuted' AND count > 0 ORDER BY series"
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
            row = self._one(
                "SELECT f.*, a.facts AS seen, e.series, e.input, e.radius FROM finding f"
                " JOIN estimate e ON e.id = f.estimate LEFT JOIN array a ON a.name = f.witness"
                " WHERE f.id = ?",
                nearest[0],
            )
            doubts = self._all(
                "SELECT f.code, count(*) AS n FROM (SELECT id FROM estimate"
                " WHERE series = ? AND verdict = 'refuted' ORDER BY input LIMIT 1000) e"
                " JOIN finding f ON f.estimate = e.id WHERE f.severity = 'suspect'"
                " GROUP BY 1 ORDER BY n DESC, f.code",
                series,
            )
            found = warning_record(row) | {
                "series": row["series"],
                "input": row["input"],
                "radius": row["radius"],
            }
            yield found, inputs, [(code, count) for code, count in doubts]

    def observations(self, **where: Any) -> Iterator[dict[str, Any]]:
        """As in the JSON of a run, in the table's order. ``where``: model=, masker=, norm=, input=."""
        clause = " AND ".join(f"{_column(name)} = ?" for name in where)
        for row in self._db.execute(
            # Not by id: units arrive in another order where a run was interrupted or had several workers.
            "SELECT * FROM observation o" + (f" WHERE {clause}" if clause else "") + " ORDER BY (SELECT"
            " min(s.id) FROM series s WHERE s.model = o.model AND s.masker = o.masker AND s.norm = o.norm),"
            " o.input",
            tuple(where.values()),
        ):
            agreement = None if row["agreement"] is None else bool(row["agreement"])
            yield {
                "model": row["model"],
                "masker": row["masker"],
                "norm": row["norm"],
                "input": row["input"],
                "agreement": agreement,
                "facts": json.loads(row["facts"]),
            }

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
        """A stored tensor by its name, or None."""
        row = self._one("SELECT * FROM array WHERE name = ?", name)
        if row is None:
            return None
        return Array(row["dtype"], tuple(json.loads(row["shape"])), row["data"], json.loads(row["facts"]))

    def array_names(self, prefix: str) -> list[str]:
        return [
            row[0]
            for row in self._all(
                "SELECT name FROM array WHERE name >= ? AND name < ? ORDER BY name",
                prefix,
                prefix + "\U0010ffff",
            )
        ]

    def document(self) -> dict[str, Any]:
        """The whole run as the JSON document falsefloor.run/1."""
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
            },
            "estimates": [_without(e, "id", "series") for e in self.estimates()],
            "observations": list(self.observations()),
        }

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._db.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()


_RANKS = " ".join(f"WHEN '{severity}' THEN {at}" for at, severity in enumerate(SEVERITIES))
_COLUMNS = frozenset(("series", "input", "unit", "id", "model", "masker", "norm"))


def _column(name: str) -> str:
    if name not in _COLUMNS:
        raise StoreError(f"cannot select by {name!r}")
    return name


def _owner(name: str) -> str:
    """The table of an estimate's column: what is planned stands in its series."""
    return "s" if name in ("model", "masker", "norm") else "e"


def _without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Numbers of rows are this file's own business: they depend on the order of arrival."""
    return {key: value for key, value in record.items() if key not in keys}


__all__ = ["ENDED", "Cell", "RunInfo", "RunReader", "SeriesRow"]
