"""The forms in which a run is read: its head, its cells, and one estimate or warning as a JSON record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from falsefloor.jsonable import finite


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
    """verdict to number of estimates, and failed / skipped / cancelled where there are any"""
    units_done: int
    """computed, or seen not to be wanted"""
    units_failed: int
    units_cancelled: int
    units_total: int
    """with every follow-up that can be foreseen"""
    forward: int
    backward: int
    busy_seconds: float
    """sum of the finished units' seconds"""

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


@dataclass(frozen=True)
class SeriesRow:
    """One cell of the comparison, as planned."""

    id: int
    model: str
    masker: str
    stack: list[dict[str, Any]]
    norm: str
    estimator: str
    label: str
    params: Mapping[str, Any]
    gradient: str
    recovers: str | None
    claim: str
    plugin: Mapping[str, str]
    asked: bool = True
    """False for the ceiling that a study gets unasked"""


@dataclass(frozen=True)
class Cell:
    """What a series shows in one cell: over its inputs, or live while it runs.

    Of the ``judged`` inputs that came back, ``correct`` are classified as labelled: radius is the median over
    these. worst: the worst verdict and worst_count how many have it; reason: the most frequent among those
    that are correct. failure: the most frequent error of the gravest state. live: (share done, median of the
    moving radii or None) while a unit runs.
    """

    series: int
    total: int
    radius: float | None
    capped: bool
    verdicts: Mapping[str, int]
    worst: str | None
    worst_count: int
    reason: str
    live: tuple[float, float | None] | None
    correct: int = 0
    judged: int = 0
    failure: str = ""


def series_row(row: sqlite3.Row) -> SeriesRow:
    return SeriesRow(
        row["id"],
        row["model"],
        row["masker"],
        json.loads(row["stack"]),
        row["norm"],
        row["estimator"],
        row["label"],
        json.loads(row["params"]),
        row["gradient"],
        row["recovers"],
        row["claim"],
        json.loads(row["plugin"]),
    )


def estimate_record(row: sqlite3.Row, warnings: list[dict[str, Any]]) -> dict[str, Any]:
    interval = None if row["low"] is None else [finite(row["low"]), finite(row["high"])]
    return {
        "id": row["id"],
        "series": row["series"],
        "model": row["model"],
        "masker": row["masker"],
        "stack": json.loads(row["stack"]),
        "norm": row["norm"],
        "estimator": row["estimator"],
        "name": row["cell"],
        "params": json.loads(row["params"]),
        "gradient": row["gradient"],
        "recovers": row["recovers"],
        "input": row["input"],
        "label": row["label"],
        "predicted": row["predicted"],
        "claim": row["claim"],
        "radius": finite(row["radius"]),
        "capped": bool(row["capped"]),
        "interval": interval,
        "verdict": row["verdict"],
        "reason": row["reason"],
        "warnings": warnings,
        "evidence": json.loads(row["evidence"]),
        "curves": json.loads(row["curves"]),
        "witness": row["witness"],
        "queries": {"forward": row["forward"], "backward": row["backward"]},
        "plugin": json.loads(row["plugin"]),
        "unit": row["unit_key"],
        "arrays": f"{row['unit_cell']}/{row['input']}",
        "seconds": row["seconds"],
        "status": row["status"],
        "error": row["error"],
    }


def warning_record(row: sqlite3.Row) -> dict[str, Any]:
    witness = None
    if row["witness"]:
        seen = json.loads(row["seen"]) if row["seen"] else {}
        witness = {"array": row["witness"], **seen}
    return {
        "id": row["id"],
        "code": row["code"],
        "severity": row["severity"],
        "message": row["message"],
        "evidence": json.loads(row["evidence"]),
        "witness": witness,
    }
