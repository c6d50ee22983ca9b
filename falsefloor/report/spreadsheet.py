"""A run as CSV: one line an estimate and input. No cell is a formula, whatever a plugin wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from falsefloor.report.comparison import label_of
from falsefloor.report.text import clean

COLUMNS = (
    "model", "masker", "norm", "name", "estimator", "gradient", "recovers", "input", "label", "predicted",
    "claim", "radius", "capped", "low", "high", "verdict", "reason", "warnings", "status", "error", "forward",
    "backward", "seconds", "plugin",
)  # fmt: skip


def write_csv(records: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write the records' columns, and the parameters as one cell `key=value;…`. Numbers stay numbers."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow([*COLUMNS, "params"])
    for record in records:
        rows.writerow([safe(value) for value in _row(record)])


def safe(value: object) -> object:
    """A cell that no spreadsheet computes: text that begins like a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return "" if value is None else value
    shown = clean(value)
    return f"'{shown}" if shown.lstrip()[:1] in ("=", "+", "-", "@") and shown else shown


def _row(record: Mapping[str, Any]) -> list[object]:
    low, high = record["interval"] or (None, None)
    special = {
        "name": label_of(record),
        "low": low,
        "high": high,
        "warnings": " ".join(w["code"] for w in record["warnings"]),
        "forward": record["queries"]["forward"],
        "backward": record["queries"]["backward"],
        "plugin": f"{record['plugin'].get('dist', '')} {record['plugin'].get('version', '')}".strip(),
    }
    cells = [special[name] if name in special else record.get(name) for name in COLUMNS]
    return [*cells, ";".join(f"{key}={value}" for key, value in record["params"].items())]
