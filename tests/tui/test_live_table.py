"""The live table: what is painted, what is not, and where the cursor goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from screens import text
from textual.app import App, ComposeResult
from textual.geometry import Region

from falsefloor.tui.widgets.cells import Cell, Column, Row, arrange, fit, lay_out
from falsefloor.tui.widgets.live_table import LiveTable

COLUMNS = [
    Column("name", "name", frozen=True),
    Column("a", "a", "right", selectable=True),
    Column("b", "b", "right", selectable=True),
    Column("why", "why"),
]


def rows(count: int = 5, **changed: Cell) -> list[Row]:
    made = []
    for n in range(count):
        cells = {
            "name": Cell(f"row {n}", "", f"row {n}"),
            "a": Cell(f"{n}.00", "", float(n)),
            "b": Cell(f"{10 - n}.00", "", float(10 - n)),
            "why": Cell("because"),
        }
        cells |= {
            key.removeprefix(f"r{n}_"): cell for key, cell in changed.items() if key.startswith(f"r{n}_")
        }
        made.append(Row(n, tuple(cells.values())))
    return made


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def compose(self) -> ComposeResult:
        yield LiveTable(id="table")

    def on_live_table_selected(self, event: LiveTable.Selected) -> None:
        self.seen.append((event.row, event.column))


async def test_a_changed_cell_repaints_its_own_rectangle_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows())
        await pilot.pause()
        painted: list[tuple[Region, ...]] = []
        monkeypatch.setattr(table, "refresh", lambda *regions, **_: painted.append(regions))
        table.show(COLUMNS, rows(r2_a=Cell("7.77", "refuted", 7.77)))
        (regions,) = painted
        assert len(regions) == 1 and regions[0].height == 1 and regions[0].y == 3
        assert regions[0].width < 12
        table.show(COLUMNS, rows(r2_a=Cell("7.77", "refuted", 7.77)))
        assert len(painted) == 1, "the same again paints nothing"


async def test_under_the_cursor_an_empty_cell_has_no_colour_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Host, "CSS", ".live-table--refuted { color: red; }")
    monkeypatch.setattr(Host, "native_ansi_color", True)  # the row is reversed: the colour would be a block
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows(r0_a=Cell("", "refuted", 0.0), r0_b=Cell("1", "refuted", 1.0)))
        await pilot.pause()
        (filled,) = (part.style for part in table.render_line(1) if part.text.strip() == "1")
        blank = {part.style and part.style.color for part in table.render_line(1) if not part.text.strip()}
        assert filled is not None and filled.color not in blank


async def test_a_change_out_of_sight_paints_nothing_and_is_there_when_scrolled_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Host()
    async with app.run_test(size=(60, 8)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows(50))
        await pilot.pause()
        with monkeypatch.context() as patch:
            painted: list[object] = []
            patch.setattr(table, "refresh", lambda *regions, **_: painted.append(regions))
            table.show(COLUMNS, rows(50, r40_a=Cell("4.04", "", 4.04)))
            assert painted == []
        table.focus()
        await pilot.press("end")
        assert "4.04" not in text(app) and "49.00" in text(app)
        await pilot.press("pageup", "pageup")
        assert "4.04" in text(app)


async def test_no_number_is_cut_in_half_at_the_edge() -> None:
    app = Host()
    async with app.run_test(size=(24, 10)) as pilot:
        table = app.query_one(LiveTable)
        table.show(
            [*COLUMNS[:3], Column("c", "c", "right", narrowest=9), COLUMNS[3]],
            [Row(0, (Cell("row 0"), Cell("1.00"), Cell("2.00"), Cell("123456789"), Cell("because")))],
        )
        await pilot.pause()
        assert "2.00" in text(app) and "123" not in text(app)


async def test_frozen_columns_stay_while_the_others_scroll_under_the_cursor() -> None:
    wide = [COLUMNS[0], *(Column(f"c{n}", f"c{n}", "right", selectable=True, narrowest=8) for n in range(9))]
    app = Host()
    async with app.run_test(size=(40, 8)) as pilot:
        table = app.query_one(LiveTable)
        table.show(wide, [Row(0, (Cell("row 0"), *(Cell(f"v{n}") for n in range(9))))])
        table.focus()
        await pilot.press(*["right"] * 8)
        await pilot.pause()
        assert "row 0" in text(app) and "v8" in text(app) and "v0" not in text(app)
        assert table.current_column == "c8"


async def test_enter_selects_and_a_second_click_does_the_same() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows())
        table.focus()
        await pilot.press("j", "right", "enter")
        assert app.seen == [(1, "b")]
        await pilot.click(LiveTable, offset=(12, 3))
        await pilot.click(LiveTable, offset=(12, 3))
        await pilot.pause()
        assert app.seen[1][0] == 2


async def test_the_scroll_bar_hides_no_end_of_a_number() -> None:
    app = Host()
    long = [Column(f"c{n}", f"c{n}", "right", narrowest=9) for n in range(9)]
    async with app.run_test(size=(42, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(long, [Row(n, (Cell("0.123456"),) * 9) for n in range(40)], gap=1)
        await pilot.pause()
        lines = text(app).splitlines()[:6]
        assert table.show_vertical_scrollbar and lines[0].endswith("›")
        assert {line.split()[-1] for line in lines[2:]} == {"0.123456"}


async def test_rows_that_come_and_go_leave_the_cursor_where_it_was() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows(3))
        table.focus()
        await pilot.press("end")
        table.show(COLUMNS, [Row(99, rows(1)[0].cells), *rows(3)])
        assert table.current == 2
        table.show(COLUMNS, rows(1))
        assert table.current == 0
        table.show(COLUMNS, [])
        assert table.current is None
        await pilot.press("down", "enter", "right")
        assert app.seen == []


async def test_a_sorted_table_moves_a_row_whose_number_changed() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows(4))
        table.sort_by("a", largest_first=True)
        assert list(table.shown) == [3, 2, 1, 0]
        table.show(COLUMNS, rows(4, r0_a=Cell("9.00", "", 9.0)))
        assert list(table.shown) == [0, 3, 2, 1]


@given(st.text(max_size=30), st.integers(1, 20), st.sampled_from(["left", "right"]))
@settings(max_examples=150, deadline=None)
def test_a_fitted_text_is_exactly_as_wide_as_asked(words: str, width: int, align: str) -> None:
    clean = "".join(c for c in words if c.isprintable())
    assert cell_len(fit(clean, width, align)) == width


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.text(max_size=3)), max_size=12),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_sorting_keeps_every_row_and_puts_the_unknown_last(values: list[Any], largest_first: bool) -> None:
    given_rows = {n: (Cell("", "", value),) for n, value in enumerate(values)}
    order = arrange(given_rows, column=0, largest_first=largest_first)
    assert sorted(order) == list(range(len(values)))
    unknown = [values[n] is None for n in order]
    assert unknown == sorted(unknown)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(10, 120))
@settings(max_examples=100, deadline=None)
def test_columns_never_overlap_and_something_is_left_to_scroll(widths: list[int], room: int) -> None:
    columns = [Column(f"c{n}", "c", frozen=n < 3) for n in range(len(widths))]
    cells = tuple(Cell("x" * width) for width in widths)
    lines = lay_out(columns, [cells], gap=1, room=room, sorted_by=None)
    ends = [start + width for start, width in zip(lines.starts, lines.widths, strict=True)]
    assert all(end < start for end, start in zip(ends[:-1], lines.starts[1:], strict=True))
    assert lines.fixed <= 1 or lines.frozen <= 0.75 * room


async def test_a_table_scrolled_sideways_begins_with_a_whole_column() -> None:
    wide = [COLUMNS[0], Column("long", "long"), *COLUMNS[1:3]]
    app = Host()
    async with app.run_test(size=(30, 8)) as pilot:
        table = app.query_one(LiveTable)
        table.show(wide, [Row(0, (Cell("row 0"), Cell("5/5 REFUTED"), Cell("1.00000"), Cell("2.00000")))])
        table.focus()
        await pilot.press("right")
        await pilot.pause()
        assert "2.00000" in text(app) and "REFUTED" not in text(app)


def test_a_filter_asks_columns_and_tags_by_the_beginning_of_their_name() -> None:
    made = {row.key: row.cells for row in rows(3, r1_why=Cell("REFUTED: FF201 of code:x"))}
    names = [column.key for column in COLUMNS]
    tags = {0: (("code", "FF102 FF201"),), 2: (("code", "FF102"),)}

    def found(needle: str) -> list[object]:
        return arrange(made, needle=needle, names=names, tags=tags)

    assert found("why:refuted") == found("w:REFUTED") == [1]
    assert found("code:ff102") == [0, 2] and found("code:ff201 name:0") == [0]
    assert found("code:") == [0, 1, 2] and found("staircase:c") == [] and found("row why:because") == [0, 2]


async def test_groups_have_headings_and_enter_folds_them() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, [row._replace(group=f"half {row.key // 3}") for row in rows(5)])
        table.focus()
        await pilot.pause()
        assert [getattr(key, "group", key) for key in table.shown] == ["half 0", 0, 1, 2, "half 1", 3, 4]
        table.action_end(-1)
        await pilot.press("enter")
        assert [getattr(key, "group", key) for key in table.shown] == ["half 0", "half 1", 3, 4]
        assert app.seen == []
        table.sort_by("a", largest_first=True)
        await pilot.press("enter")
        assert [getattr(key, "group", key) for key in table.shown] == ["half 0", 2, 1, 0, "half 1", 4, 3]


async def test_the_last_column_grows_into_free_room_without_a_resize() -> None:
    app = Host()
    async with app.run_test(size=(80, 12)) as pilot:
        table = app.query_one(LiveTable)
        table.show(COLUMNS, rows(2, r0_why=Cell("?"), r1_why=Cell("?")))
        await pilot.pause()
        table.show(COLUMNS, rows(2, r0_why=Cell("FF201 floor above ceiling"), r1_why=Cell("?")))
        await pilot.pause()
        assert "FF201 floor above ceiling" in text(app)  # type: ignore[arg-type]
