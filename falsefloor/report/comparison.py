"""The comparison: subject × norm against estimators, as one value that every form of a report draws.

Built from a run's summary (a million estimates cost nothing) or from a run's JSON document (a notebook).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from falsefloor.checks.verdicts import VERDICTS
from falsefloor.jsonable import as_number
from falsefloor.store.reader import Cell, RunReader, SeriesRow
from falsefloor.study.units import is_masked

Subject = tuple[str, str, str]
"""model, masker, norm"""


@dataclass(frozen=True)
class Entry:
    """One estimator on one subject: what was planned, and what is there of it."""

    series: SeriesRow
    cell: Cell

    @property
    def lower(self) -> bool:
        return self.series.claim != "upper_bound"

    @property
    def failed(self) -> int:
        return self.cell.verdicts.get("failed", 0)


@dataclass(frozen=True)
class Row:
    """A subject under a norm. told: the entry that the row's verdict and reason speak of.

    ratio: of the floor that moved most against the unmasked subject, as a multiple; None for that subject.
    agreement: on how many inputs the masked and the unmasked model gave the same class, of how many.
    """

    subject: Subject
    entries: tuple[Entry | None, ...]
    ratio: float | None = None
    agreement: tuple[int, int] | None = None

    @property
    def told(self) -> Entry | None:
        present = [entry for entry in self.entries if entry is not None]
        for verdict in VERDICTS:
            found = [entry for entry in present if entry.cell.worst == verdict]
            if found:
                return next((entry for entry in found if entry.lower), found[0])
        return next((entry for entry in present if entry.cell.verdicts), None)

    @property
    def verdict(self) -> str:
        """The worst verdict; "failed" or "skipped" where nothing came back; empty while nothing is there."""
        told = self.told
        if told is None:
            return ""
        return told.cell.worst or max(told.cell.verdicts, key=lambda v: told.cell.verdicts[v])

    @property
    def complete(self) -> bool:
        """Whether every planned estimate of the row has come in, in whatever state."""
        present = [entry for entry in self.entries if entry is not None]
        return all(sum(entry.cell.verdicts.values()) >= max(entry.cell.total, 1) for entry in present)


@dataclass(frozen=True)
class Comparison:
    """columns: the estimators' labels. ratios: whether any row has one."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    ratios: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.subject[0] for row in self.rows))

    def without_recovered(self) -> Comparison:
        """The same rows without the columns of estimates that were made again with a repaired gradient."""
        kept = [
            at
            for at in range(len(self.columns))
            if any((entry := row.entries[at]) and entry.series.recovers is None for row in self.rows)
        ]
        rows = tuple(replace(row, entries=tuple(row.entries[at] for at in kept)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[at] for at in kept), rows=rows)

    @property
    def norms(self) -> list[str]:
        return list(dict.fromkeys(row.subject[2] for row in self.rows))


def compare_cells(
    series: Sequence[SeriesRow],
    cells: Mapping[int, Cell],
    *,
    agreement: Mapping[Subject, tuple[int, int]] | None = None,
) -> Comparison:
    """The comparison of a run from its series and their summaries, in the order of the study."""
    columns = tuple(dict.fromkeys(one.label for one in series))
    table: dict[Subject, dict[str, Entry]] = {}
    for one in series:
        subject = (one.model, one.masker, one.norm)
        table.setdefault(subject, {})[one.label] = Entry(one, cells[one.id])
    bare = {
        (s[0], s[2]): row
        for s, row in table.items()
        if not any(is_masked(e.series.stack) for e in row.values())
    }
    rows = []
    for subject, entries in table.items():
        base = bare.get((subject[0], subject[2]), {})
        rows.append(
            Row(
                subject,
                tuple(entries.get(column) for column in columns),
                ratio=None if base is entries else _ratio(entries, base),
                agreement=(agreement or {}).get(subject),
            )
        )
    counts: Counter[str] = Counter()
    for cell in cells.values():
        counts.update(cell.verdicts)
    return Comparison(columns, tuple(rows), any(row.ratio is not None for row in rows), dict(counts))


def read_comparison(reader: RunReader) -> Comparison:
    """The comparison as a run stands now."""
    return compare_cells(reader.series(), reader.cells(), agreement=reader.agreement())


def document_comparison(document: Mapping[str, Any]) -> Comparison:
    """The comparison of a falsefloor.run/1 document."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in document["estimates"]:
        key = (record["model"], record["masker"], record["norm"], label_of(record))
        groups.setdefault(key, []).append(record)
    series, cells = [], {}
    for number, ((model, masker, norm, label), records) in enumerate(groups.items()):
        first = records[0]
        series.append(
            SeriesRow(
                number,
                model,
                masker,
                list(first["stack"]),
                norm,
                first["estimator"],
                label,
                first["params"],
                first["gradient"],
                first.get("recovers"),
                first["claim"],
                first["plugin"],
            )
        )
        cells[number] = _cell(number, records)
    return compare_cells(series, cells, agreement=_agreement(document.get("observations", ())))


def label_of(record: Mapping[str, Any]) -> str:
    """The column of a record: its label, or its estimator where an older document has none."""
    return str(record.get("name") or record["estimator"])


def _cell(number: int, records: Sequence[Mapping[str, Any]]) -> Cell:
    counts = Counter(r["verdict"] if r["status"] == "ok" else r["status"] for r in records)
    worst = next((verdict for verdict in VERDICTS if counts[verdict]), None)
    valued = sorted(
        ((r["capped"], value) for r in records if (value := as_number(r["radius"])) is not None),
        key=lambda pair: pair[1],
    )
    capped, radius = valued[(len(valued) - 1) // 2] if valued else (False, None)
    reasons = Counter(
        str(r.get("reason") or "") if worst else str(r["error"] or "")
        for r in records
        if worst is None or r["verdict"] == worst
    )
    reason = min(reasons, key=lambda text: (-reasons[text], text)) if reasons else ""
    count = counts[worst] if worst else 0
    return Cell(number, len(records), radius, bool(capped), dict(counts), worst, count, reason, None)


def _ratio(entries: Mapping[str, Entry], base: Mapping[str, Entry]) -> float | None:
    """The multiple that is farthest from 1, up or down, among floors that both subjects have."""
    found = []
    for label, entry in entries.items():
        bare = base[label].cell.radius if label in base else None
        radius = entry.cell.radius
        if entry.lower and radius is not None and bare and math.isfinite(bare) and math.isfinite(radius):
            found.append(radius / bare)
    return max(found, key=lambda f: abs(math.log(f)) if f > 0 else math.inf, default=None)


def _agreement(observations: Iterable[Mapping[str, Any]]) -> dict[Subject, tuple[int, int]]:
    made: dict[Subject, tuple[int, int]] = {}
    for seen in observations:
        if seen["agreement"] is not None:
            subject = (seen["model"], seen["masker"], seen["norm"])
            same, of = made.get(subject, (0, 0))
            made[subject] = (same + bool(seen["agreement"]), of + 1)
    return made


__all__ = [
    "Comparison",
    "Entry",
    "Row",
    "compare_cells",
    "document_comparison",
    "label_of",
    "read_comparison",
]
