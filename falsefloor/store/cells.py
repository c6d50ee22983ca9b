"""A cell of the comparison: what a series says over its inputs, from the tally and two indexes alone.

Medians are over the inputs that are classified as labelled: a misclassified one has nothing to lose, and its
radius of 0 says nothing of the others.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from falsefloor.checks.verdicts import MISCLASSIFIED, STATES, VERDICTS
from falsefloor.jsonable import number
from falsefloor.store.rows import TallyRow, select
from falsefloor.store.schema import RIGHT, odd, parsed, version

WRONG = "wrong"
"""A word of the tally beside verdicts and states: estimates that came back, of misclassified inputs."""
MOST = 2**40
"""Estimates that no run has."""
REASONS = 1000
"""How many reasons are looked at for the most frequent one."""


@dataclass(frozen=True)
class Cell:
    """What a series shows in one cell: over its inputs, or live while it runs.

    Of the ``judged`` inputs that came back, ``correct`` are classified as labelled: radius is the median over
    these. reason: the most frequent of the worst verdict of one of these; failure: the most frequent error of
    the gravest state. live: (share done, median of the moving radii or None) while a unit runs.
    """

    series: int
    total: int
    radius: float | None
    capped: bool
    verdicts: Mapping[str, int]
    reason: str
    live: tuple[float, float | None] | None
    correct: int = 0
    judged: int = 0
    failure: str = ""


def is_wrong(label: int | None, predicted: int | None) -> bool:
    """Whether an input is known not to be classified as labelled."""
    return label is not None and predicted is not None and label != predicted


def of_right(counts: Mapping[str, int], wrong: int) -> Counter[str]:
    """Verdicts or states without those of ``wrong`` misclassified inputs, of which nothing is said.

    They are unchecked, and were held in runs of older versions.
    """
    kept = Counter(counts)
    for word in ("unchecked", "held"):
        taken = min(wrong, kept[word])
        kept[word], wrong = kept[word] - taken, wrong - taken
    return +kept


def middle(found: Iterable[tuple[float, bool]]) -> tuple[float | None, bool]:
    """The median of (radius, capped): the mean of an even count's two middle ones, capped if one is."""
    ordered = sorted(found)
    kept = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return (median(radius for radius, _ in kept) if kept else None), any(capped for _, capped in kept)


def tallied(db: sqlite3.Connection) -> list[TallyRow]:
    """How many estimates of each series have which verdict or state, and how many are `WRONG`.

    Raises `StoreError`.
    """
    found = select(db, TallyRow, "WHERE count > 0 ORDER BY series, verdict")
    if any(row.count > MOST for row in found):
        raise odd("tally.count")
    if version(db) < 3:  # where only a count can say it
        wrong = db.execute(
            "SELECT series, sum(label != predicted) FROM estimate WHERE status = 'ok' GROUP BY series"
        )
        found += [TallyRow(series=series, verdict=WRONG, count=count) for series, count in wrong if count]
    return found


class Cells:
    """Every series' cell, by its id; read again where something was stored since. Costs little even over a
    million estimates.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._told: dict[int, tuple[Any, ...]] = {}
        self._cells: dict[int, Cell] = {}
        self._seen = 0.0

    def read(self) -> dict[int, Cell]:
        """The cells now. Raises `StoreError`."""
        stored = self._stored()  # first: what comes in between is then read once more
        tallies: dict[int, Counter[str]] = {}
        for row in tallied(self._db):
            tallies.setdefault(row.series, Counter())[row.verdict] = row.count
        moving = _moving(self._db)
        planned = dict(
            self._db.execute(
                "SELECT series, sum(stop - first) FROM unit WHERE series IS NOT NULL AND kind != 'observe'"
                " GROUP BY series"
            ).fetchall()
        )
        told = {
            series: (planned.get(series, 0), tallies.get(series, Counter()), moving.get(series))
            for (series,) in self._db.execute("SELECT id FROM series ORDER BY id").fetchall()
        }
        changed = {series for series in told if series in stored or told[series] != self._told.get(series)}
        # Where nothing was stored and the run has changed all the same, it may have been judged again.
        again = changed or told.keys()
        self._cells = {
            series: _cell(self._db, series, *told[series]) if series in again else self._cells[series]
            for series in told
        }
        self._told = told
        return self._cells

    def _stored(self) -> set[int]:
        """The series of subjects that a unit came back for: whatever comes, its siblings are judged again."""
        rows = self._db.execute(
            "SELECT s.id, u.at FROM (SELECT model, masker, norm, max(finished) AS at FROM unit"
            " WHERE finished > ? GROUP BY model, masker, norm) u JOIN series s USING (model, masker, norm)",
            (self._seen,),
        ).fetchall()
        self._seen = max((at for _, at in rows), default=self._seen)
        return {series for series, _ in rows}


def _moving(db: sqlite3.Connection) -> dict[int, tuple[float, float | None]]:
    found: dict[int, tuple[int, int, list[float]]] = {}
    for series, done, total, moved in db.execute(
        "SELECT u.series, p.done, p.total, p.radius FROM progress p JOIN unit u ON u.id = p.unit"
        " WHERE u.series IS NOT NULL"
    ):
        before, planned, radii = found.get(series, (0, 0, []))
        told = parsed(moved, "array", where="progress.radius")
        radii += [radius for radius in map(number, told) if radius is not None]
        found[series] = (before + done, planned + total, radii)
    return {
        series: (done / max(total, 1), median(radii) if radii else None)
        for series, (done, total, radii) in found.items()
    }


def _cell(
    db: sqlite3.Connection,
    series: int,
    total: int,
    counts: Counter[str],
    live: tuple[float, float | None] | None,
) -> Cell:
    wrong = counts[WRONG]
    counts = Counter({word: count for word, count in counts.items() if word != WRONG})
    right = of_right(counts, wrong)
    worst = next((verdict for verdict in VERDICTS if right[verdict]), None)
    state = next((state for state in STATES if counts[state]), None)
    judged = sum(count for word, count in counts.items() if word not in STATES)
    correct = judged - wrong
    reason = _most(db, series, "reason", "verdict = ? AND reason != ?", worst, MISCLASSIFIED) if worst else ""
    radius, capped = middle(
        (radius, bool(capped))
        for radius, capped in db.execute(
            f"SELECT radius, capped FROM estimate WHERE series = ? AND {RIGHT} ORDER BY radius, capped"
            " LIMIT ? OFFSET ?",
            (series, 2 - correct % 2 if correct > 0 else 0, (correct - 1) // 2),
        )
    )
    return Cell(
        series=series,
        total=total,
        radius=radius,
        capped=capped,
        verdicts=dict(counts),
        reason=reason,
        live=live,
        correct=correct,
        judged=judged,
        failure=_most(db, series, "error", "verdict IS NULL AND status = ?", state) if state else "",
    )


def _most(db: sqlite3.Connection, series: int, column: str, where: str, *given: str) -> str:
    """The most frequent of the first thousand, the first in the alphabet among equals."""
    row = db.execute(
        f"SELECT said FROM (SELECT coalesce({column}, '') AS said FROM estimate WHERE series = ? AND {where}"
        " LIMIT ?) GROUP BY said ORDER BY count(*) DESC, said LIMIT 1",
        (series, *given, REASONS),
    ).fetchone()
    return str(row[0]) if row else ""
