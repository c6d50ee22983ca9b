"""What a run stores of points: packed where that pays, and as many as its budget allows, those first that a
number rests on.

Points (inputs, witnesses, pairs with steep secants) are all that is large in a run: some sixteen of an
input's size behind every masker and in every norm. What is measured at a point is a fact beside it and stays
when the point is left out, so no verdict, radius or follow-up depends on the budget. Curves are evidence that
checks read, at most 4 kB an estimate, and no part of it.
"""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from dataclasses import replace
from typing import Any

from falsefloor.store.records import Array, shaped
from falsefloor.store.rows import ArrayRow, MetaRow, insert, shared
from falsefloor.store.schema import meta, odd

PACKED = "/zlib"
"""Behind the number type of an array whose bytes are packed."""
SMALL = 1 << 14
"""Bytes below which an array is stored as it is."""
PAYS = 0.9
"""Packed bytes are kept where they are at most this share. At level 1 a photograph of 3 × 224 × 224 floats
takes 5 ms and comes to 0.30, a point found by an attack to 0.42."""
WIDEST, LONGEST = 16, 10**9
"""Bytes a number and an array take at most: what claims to unzipped to more is no array."""
SPARE = 0.9
"""Of the budget, what is left full when room is made: the next points need not make it anew."""

_HELD = "length(a.data) > 0 AND a.name NOT GLOB '*/*/curve-*'"
_RESTS = (
    "CREATE TEMP TABLE IF NOT EXISTS rests (name TEXT PRIMARY KEY, rank INTEGER) WITHOUT ROWID",
    "DELETE FROM rests",
    "INSERT OR IGNORE INTO rests SELECT witness, 0 FROM finding"
    " WHERE severity = 'refuted' AND witness IS NOT NULL",
    "INSERT OR IGNORE INTO rests SELECT witness, 0 FROM (SELECT e.witness, min(e.radius) FROM estimate e"
    " JOIN series s ON s.id = e.series WHERE s.claim = 'upper_bound' AND e.witness IS NOT NULL"
    " GROUP BY s.model, s.masker, s.norm, e.input)",
    "INSERT OR IGNORE INTO rests SELECT witness, 1 FROM finding WHERE witness IS NOT NULL",
)
"""Which points numbers rest on: 0 refute or are the nearest ceiling, 1 show a warning. Then come inputs, 2,
which the data set has, and all others, 3."""


def zipped(array: Array) -> Array:
    """The array as it is stored."""
    if len(array.data) < SMALL:
        return array
    data = zlib.compress(array.data, 1)
    if len(data) > PAYS * len(array.data):
        return array
    return replace(array, dtype=array.dtype + PACKED, data=data)


def unzipped(row: ArrayRow, **more: Any) -> Array:
    """A stored row as the array that it was, bit for bit. Raises `StoreError` for what nobody stored so."""
    array = shared(Array, row, **{"shape": tuple(row.shape), **more})
    if not row.dtype.endswith(PACKED):
        return array
    most = min(WIDEST * math.prod(row.shape), LONGEST)
    try:
        opened = zlib.decompressobj()
        data = opened.decompress(row.data, max(most, 1)) if row.data else b""
    except zlib.error:
        raise odd("array.data") from None
    if (row.data and not opened.eof) or not shaped(row.shape, data):
        raise odd("array.data")
    return replace(array, dtype=row.dtype.removesuffix(PACKED), data=data)


def is_left_out(array: Array) -> bool:
    """Whether only the facts of an array were kept."""
    return not array.data and math.prod(array.shape) > 0


class Budget:
    """How many bytes the points of a run may take; all are kept while no limit is known.

    While a run goes on, the points of rank 0 stay in any case: follow-ups start from them. The end holds them
    to the budget too.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._held = 0

    def set(self, db: sqlite3.Connection, limit: int | None) -> None:
        """From now on at most so many bytes."""
        self.limit, self._held = limit, held(db)

    def add(self, size: int) -> None:
        """So much more was stored."""
        self._held += size

    def keep(self, db: sqlite3.Connection, *, ended: bool = False) -> bool:
        """Leave out what is beyond the budget, inside the caller's transaction; whether anything was."""
        if self.limit is None or self._held <= self.limit:
            return False
        for statement in _RESTS:
            db.execute(statement)
        self._held, left = held(db), []
        most = self.limit if ended else SPARE * self.limit
        rows = db.execute(
            "SELECT a.name, length(a.data) FROM array a LEFT JOIN rests r ON r.name = a.name"
            f" WHERE {_HELD} AND coalesce(r.rank, 9) >= ?"
            " ORDER BY coalesce(r.rank, CASE WHEN a.name GLOB '*/*/input' THEN 2 ELSE 3 END) DESC,"
            " a.unit DESC, a.name",
            (0 if ended else 1,),
        ).fetchall()
        for name, size in rows:
            if self._held <= most:
                break
            left.append((name,))
            self._held -= size
        db.executemany("UPDATE array SET data = x'' WHERE name = ?", left)
        known = int(meta(db).get("left_out", 0)) + len(left)
        insert(db, MetaRow("left_out", json.dumps(known)), replace=True)
        return bool(left)


def held(db: sqlite3.Connection) -> int:
    """Bytes that a run's points take."""
    found = db.execute(f"SELECT coalesce(sum(length(a.data)), 0) FROM array a WHERE {_HELD}").fetchone()
    return int(found[0])
