"""What follow-up rules ask of a run: which claims stand how, and what was asked for already."""

from __future__ import annotations

import base64
import sqlite3
from collections import defaultdict

from falsefloor.checks.verdicts import LOWER, Place
from falsefloor.store.points import unzipped
from falsefloor.store.rows import ArrayRow, select
from falsefloor.store.schema import parsed
from falsefloor.study.followups import CODES, MASKED, NEAR, Ceiling, Floor, Known, asked_by

LARGEST = 1 << 20
"""Bytes of a point that a unit carries: 262,144 coordinates in float32. Larger ones are not started from."""


def known(db: sqlite3.Connection) -> Known:
    """All that the rules look at."""
    return Known(_floors(db), _fired(db), _first_judged(db), _asked(db), _ceilings(db))


def _floors(db: sqlite3.Connection) -> list[Floor]:
    """Every lower estimate with a verdict, in the table's order."""
    rows = db.execute(
        "SELECT s.model, s.masker, s.norm, s.label, e.input, s.gradient, s.recovers, e.verdict, e.backward,"
        " EXISTS (SELECT 1 FROM finding f WHERE f.estimate = e.id AND f.severity != 'note'"
        f" AND f.code IN {MASKED}) FROM estimate e JOIN series s ON s.id = e.series"
        f" WHERE s.claim IN {LOWER} AND e.status = 'ok' ORDER BY s.id, e.input"
    )
    return [Floor(Place(*row[:5]), *row[5:]) for row in rows]


def _ceilings(db: sqlite3.Connection) -> list[Ceiling]:
    """The attack's nearest bound at each input, where a nearer point is known or a floor comes near it."""
    rows = db.execute(
        "WITH held AS (SELECT s.model, s.masker, s.norm, e.input, max(e.radius) AS radius FROM estimate e"
        " JOIN series s ON s.id = e.series WHERE s.claim = 'lower_estimate' AND e.verdict = 'held'"
        " GROUP BY s.model, s.masker, s.norm, e.input),"
        " nearest AS (SELECT s.model, s.masker, s.norm, s.label, e.id, e.input, min(e.radius) AS radius,"
        " e.witness FROM estimate e JOIN series s ON s.id = e.series WHERE s.estimator = 'attack'"
        " AND e.status = 'ok' AND e.radius > 0 AND e.witness IS NOT NULL"
        " GROUP BY s.model, s.masker, s.norm, e.input)"
        " SELECT n.model, n.masker, n.norm, n.label, n.input,"
        " coalesce(json_extract(f.evidence, '$.distance'), n.radius), h.radius, a.name"
        " FROM nearest n LEFT JOIN held h USING (model, masker, norm, input)"
        " LEFT JOIN finding f ON f.estimate = n.id AND f.code = 'FF505'"
        " JOIN array a ON a.name = coalesce(f.witness, n.witness)"
        " WHERE (f.id IS NOT NULL OR h.radius >= ? * n.radius) AND length(a.data) BETWEEN 1 AND ?"
        " ORDER BY n.id",
        (NEAR, LARGEST),
    ).fetchall()
    found = []
    for *place, distance, floor, name in rows:
        point = unzipped(select(db, ArrayRow, "WHERE name = ?", name)[0])
        if len(point.data) <= LARGEST:
            start = {"dtype": point.dtype, "data": base64.b64encode(point.data).decode()}
            found.append(Ceiling(Place(*place), distance, floor, start))
    return found


def _fired(db: sqlite3.Connection) -> list[Place]:
    """Every lower claim with a warning that asks for more samples, in order.

    Only where the subject was observed: what a follow-up learns is stored beside the observation.
    """
    marks = ", ".join("?" * len(CODES))
    rows = db.execute(
        "SELECT DISTINCT s.model, s.masker, s.norm, s.label, e.input, s.id FROM finding f"
        " JOIN estimate e ON e.id = f.estimate JOIN series s ON s.id = e.series"
        " JOIN observation o ON o.model = s.model AND o.masker = s.masker AND o.norm = s.norm"
        f" AND o.input = e.input WHERE f.code IN ({marks}) AND s.claim IN {LOWER}"
        " AND e.status = 'ok' ORDER BY s.id, e.input",
        CODES,
    )
    return [Place(*row[:5]) for row in rows]


def _first_judged(db: sqlite3.Connection) -> dict[Place, int]:
    """Each subject's first input that was observed and is classified as labelled."""
    rows = db.execute(
        "SELECT model, masker, norm, min(input) FROM observation"
        " WHERE json_extract(facts, '$.misclassified') = 0 GROUP BY model, masker, norm"
    )
    return {Place(model, masker, norm): first for model, masker, norm, first in rows}


def _asked(db: sqlite3.Connection) -> dict[str, set[Place]]:
    """By kind, every place that a follow-up was asked for, whatever became of it."""
    rows = db.execute(
        "SELECT model, masker, norm, spec, first, stop FROM unit"
        # those that are or were only foreseen were never asked for
        " WHERE kind = 'follow-up' AND status NOT IN ('planned', 'skipped')"
    )
    found: dict[str, set[Place]] = defaultdict(set)
    for model, masker, norm, spec, first, stop in rows:
        if (by := asked_by(parsed(spec, "object", where="unit.spec"))) is not None:
            kind, label = by
            found[kind] |= {Place(model, masker, norm, label, n) for n in range(first, stop)}
    return found
