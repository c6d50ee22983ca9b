"""How a run stands: what it says of itself, whether anybody still works on it, how much is left."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from falsefloor.store.cells import WRONG, of_right, tallied
from falsefloor.store.run_dir import RunDir, is_network
from falsefloor.store.schema import meta

ENDED = frozenset(("done", "cancelled", "failed", "lost"))
YOUNG = 10.0
"""Seconds that a worker may take to its lock, where only the clock can tell whether it is being started."""


@dataclass(frozen=True)
class RunInfo:
    """The head of a run. status is the truth now: a run whose worker is gone reads `lost`."""

    id: str
    status: str
    seed: int
    device: str
    started: float
    seconds: float
    versions: Mapping[str, str]
    study: Mapping[str, Any]
    tag: str
    error: str | None
    counts: Mapping[str, int]
    """verdict to number of estimates, and misclassified, failed, skipped, cancelled where there are any"""
    units_done: int
    """computed, or seen not to be wanted"""
    units_failed: int
    units_cancelled: int
    units_total: int
    """with every follow-up that can be foreseen"""
    forward: int
    backward: int
    left: float | None = None
    """seconds until the run ends, by its forecast and by what it took so far; None where it is not known"""

    @property
    def units_ended(self) -> int:
        """Of which nothing more will come."""
        return self.units_done + self.units_failed + self.units_cancelled

    def units(self) -> dict[str, int]:
        """As in the JSON of a run. planned: queued, running or foreseen."""
        return {
            "done": self.units_done,
            "total": self.units_total,
            "failed": self.units_failed,
            "cancelled": self.units_cancelled,
            "planned": self.units_total - self.units_ended,
        }


def standing(db: sqlite3.Connection, run: RunDir) -> RunInfo:
    """The status a run says or can be seen to have, what its units and estimates count, what is left."""
    told = meta(db)
    status = str(told.get("status", "queued"))
    if status not in ENDED and not told.get("in_process"):
        status, told = _seen(db, run, status, told)
    counts: Counter[str] = Counter()
    for row in tallied(db):
        counts[row.verdict] += row.count
    wrong = counts.pop(WRONG, 0)
    counts = of_right(counts, wrong)
    counts["misclassified"] = wrong
    done, failed, cancelled, total, forward, backward = _one(
        db,
        "SELECT count(*) FILTER (WHERE status IN ('ok', 'skipped')),"
        " count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'cancelled'),"
        " count(*), coalesce(sum(forward), 0), coalesce(sum(backward), 0)"
        " FROM unit",
    )
    started = float(told.get("started", told.get("created", 0.0)))
    if status == "cancelled":
        cancelled = total - done - failed  # nor will what was only foreseen come
    last = "SELECT max(finished) FROM unit"
    ended = told.get("ended") or (_one(db, last)[0] or 0.0 if status == "lost" else time.time())
    # A run that was gone on with worked in several pieces; what lay between them is not its duration.
    worked = float(told.get("worked", 0.0)) + max(0.0, float(ended) - float(told.get("resumed", started)))
    return RunInfo(
        id=str(told.get("id", run.id)),
        status=status,
        seed=int(told.get("seed", 0)),
        device=str(told.get("device", "cpu")),
        started=started,
        seconds=worked,
        versions=told.get("versions", {}),
        study=told.get("study", {}),
        tag=str(told.get("tag", "")),
        error=told.get("error") or (run.last_word() if status == "lost" else None),
        counts={word: count for word, count in sorted(counts.items()) if count},
        units_done=done,
        units_failed=failed,
        units_cancelled=cancelled,
        units_total=total,
        forward=forward,
        backward=backward,
        left=_left(db, told.get("forecast"), worked) if status in ("running", "paused") else None,
    )


def _left(db: sqlite3.Connection, forecast: Any, worked: float) -> float | None:
    """Seconds until every planned unit is computed: its forecast, times what others of its kind took.

    Where nothing was forecast, every unit counts the same.
    """
    each = forecast.get("each", {}) if isinstance(forecast, dict) else {}
    spent: dict[Any, tuple[float, float]] = {}
    todo: dict[Any, float] = {}
    for model, label, ended, inputs, seconds in db.execute(
        "SELECT unit.model, CASE WHEN unit.kind = 'observe' THEN '' ELSE coalesce(series.label, '?') END,"
        " unit.status IN ('ok', 'skipped', 'failed', 'cancelled'), sum(stop - first), sum(unit.seconds)"
        " FROM unit LEFT JOIN series ON series.id = unit.series GROUP BY 1, 2, 3"
    ):
        expected = float(each.get(model, {}).get(label, 0.0)) * inputs or float(inputs)
        if ended:
            spent[model, label] = (expected, float(seconds or 0.0))
        else:
            todo[model, label] = expected
    expected, took = (sum(part) for part in zip(*spent.values(), strict=True)) if spent else (0.0, 0.0)
    if not each and not took:
        return None
    pace = took / expected if took > 0 and expected > 0 else 1.0
    left = 0.0
    for kind, amount in todo.items():
        mine = spent.get(kind, (0.0, 0.0))
        left += amount * (mine[1] / mine[0] if mine[0] > 0 and mine[1] > 0 else pace)
    # several at once end sooner than one after the other
    return left * (min(1.0, worked / took) if took > 0 else 1.0)


def _seen(
    db: sqlite3.Connection, run: RunDir, status: str, told: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The status of a run that says it has not ended, and what it tells by then."""
    # asked in this order, since whoever starts a run lets go when its worker has the lock
    starting = run.is_starting()
    if run.is_alive():
        return status, told
    young = status == "queued" and abs(time.time() - float(told.get("created", 0))) < YOUNG
    if starting or (young and is_network(run.path)):
        return "queued", told
    told = meta(db)  # it may have ended since
    said = str(told.get("status", status))
    return (said if said in ENDED else "lost"), told


def _one(db: sqlite3.Connection, sql: str) -> Any:
    return db.execute(sql).fetchone()
