"""Rows and tables are one thing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from falsefloor.errors import StoreError
from falsefloor.store.rows import (
    ROWS,
    ArrayRow,
    EventRow,
    ObservationRow,
    SeriesRow,
    columns,
    insert,
    select,
)
from falsefloor.store.schema import migrate


def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    return db


def test_every_table_has_a_row_and_every_column_a_field() -> None:
    with closing(database()) as db:
        tables = dict(
            db.execute(
                "SELECT m.name, group_concat(c.name) FROM sqlite_master m, pragma_table_info(m.name) c"
                " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' GROUP BY 1"
            ).fetchall()
        )
    stored = {name: set(listed.split(",")) for name, listed in tables.items()}
    assert {kind.table: {column.name for column in columns(kind)} for kind in ROWS} == stored


def test_a_row_comes_back_as_it_was_stored() -> None:
    series = SeriesRow(7, "m", "none", [{"use": "none"}], "l2", "clever", "c", {"a": 1}, "auto", None,
                       "lower_bound", {}, asked=False)  # fmt: skip
    seen = ObservationRow(1, 1, "m", "none", "l2", 0, False, {"far": float("inf")})
    array = ArrayRow("a/0/pair", 1, "uint8", (2, 1), {}, b"\0\1")
    with closing(database()) as db:
        for row in (series, array):
            insert(db, row)
        assert select(db, SeriesRow) == [series]
        assert select(db, ArrayRow)[0].data == b"\0\1"
        insert(db, EventRow(0, 1.0, "note", "said"))
        assert select(db, EventRow) == [EventRow(1, 1.0, "note", "said")]
        db.execute("PRAGMA foreign_keys = OFF")
        insert(db, seen)
        assert select(db, ObservationRow, "WHERE input = ?", 0)[0].facts == {"far": "inf"}
        assert select(db, ObservationRow)[0].agreement is False


def test_an_array_whose_bytes_cannot_have_its_shape_is_no_row() -> None:
    with closing(database()) as db:
        insert(db, ArrayRow("a/0/pair", 1, "uint8", (2, 1), {}, b"\0\1"))
        for shape in ("[-1]", "[3]", "[1.0, 2]", '["2"]', "[1000000000, 1000000000]"):
            db.execute("UPDATE array SET shape = ?", (shape,))
            with pytest.raises(StoreError, match=r"array\.shape"):
                select(db, ArrayRow)


def test_a_file_without_a_later_column_is_read_with_its_default() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, to=2)
        db.execute(
            "INSERT INTO series VALUES (1, 'm', 'none', '[]', 'l2', 'clever', 'c', '{}', 'auto', NULL,"
            " 'lower_bound', '{}')"
        )
        assert [row.asked for row in select(db, SeriesRow)] == [True]
