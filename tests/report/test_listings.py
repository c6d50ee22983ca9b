"""Lists on a terminal that is wide enough, and on one that is not."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console

from falsefloor.report.listings import Listing

ROWS = tuple(
    (subject, radius, "not decided", "why " * 9) for subject in ("a" * 40, "b" * 40) for radius in "12"
)
LISTING = Listing(("subject", "radius", "outcome", "why"), ROWS)


def drawn(width: int) -> list[str]:
    into = io.StringIO()
    Console(file=into, width=width, color_system=None).print(LISTING)
    return into.getvalue().splitlines()


def test_where_there_is_room_every_row_is_a_line() -> None:
    lines = drawn(120)
    assert len(lines) == 2 + len(ROWS)
    assert [line.split()[0] for line in lines[2:]] == [row[0] for row in ROWS]


def test_where_there_is_none_the_first_column_stands_above_its_rows_once() -> None:
    lines = drawn(50)
    assert [line for line in lines if line.strip() in ("a" * 40, "b" * 40)] == ["a" * 40, "b" * 40]
    assert sum("not decided" in line for line in lines) == len(ROWS)
    assert lines[0].split() == ["radius", "outcome", "why"]
    assert max(map(cell_len, lines)) <= 50
