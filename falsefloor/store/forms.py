"""The forms in which a run is read: its head, its cells, and one estimate or warning as a JSON record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from falsefloor.jsonable import finite
from falsefloor.store.edge import parsed
from falsefloor.store.rows import EstimateRow, FindingRow, SeriesRow


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
    busy_seconds: float
    """sum of the finished units' seconds"""
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


def estimate_record(
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


def warning_record(row: FindingRow, seen: str | None) -> dict[str, Any]:
    """seen: what was measured of the witness, as stored."""
    witness = (
        None
        if row.witness is None
        else {"array": row.witness, **parsed(seen or "{}", "object", where="array.facts")}
    )
    told = {name: getattr(row, name) for name in ("id", "code", "severity", "message", "evidence")}
    return told | {"witness": witness}
