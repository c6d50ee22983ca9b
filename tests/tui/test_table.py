"""The comparison as cells: what report says is what stands in the table, in every view and every alphabet."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from falsefloor.report.cells import Brief, summary
from falsefloor.report.comparison import Comparison, compare
from falsefloor.report.text import ASCII, UNICODE, Glyphs
from falsefloor.store.reader import SeriesRow
from falsefloor.tui.table import Kept, View, table
from falsefloor.tui.widgets.cells import Cell

CLAIMS = {"clever": "lower_estimate", "milp": "lower_bound", "attack": "upper_bound"}


def series(number: int, masker: str, label: str, recovers: str | None = None) -> SeriesRow:
    return SeriesRow(
        id=number,
        model="m",
        masker=masker,
        stack=[{"use": masker}],
        norm="linf",
        estimator=label,
        label=label if recovers is None else f"{recovers} (recovered)",
        params={},
        gradient="autograd",
        recovers=recovers,
        claim=CLAIMS[label],
        plugin={},
    )


def told(verdict: str, radius: float | None, *, capped: bool = False, correct: bool = True) -> Brief:
    if verdict in ("failed", "skipped"):
        return Brief(verdict, None, f"why {verdict}", None, False, False)
    return Brief("ok", verdict, f"why {verdict}", radius, capped, correct)


FOUND = (
    (series(0, "none", "clever"), [told("held", 0.03), told("held", 0.0, correct=False)]),
    (series(1, "none", "milp"), [told("held", 0.02), told("skipped", None)]),
    (series(2, "none", "attack"), [told("unchecked", math.inf), told("held", 0.04)]),
    (series(3, "staircase", "clever"), [told("refuted", 0.3, capped=True), told("failed", None)]),
    (series(4, "staircase", "attack"), []),
    (series(5, "staircase", "clever", "clever"), [told("suspect", 0.031)]),
    (series(6, "ramp", "clever"), [told("suspect", 0.04), told("held", 0.04)]),
    (series(7, "ramp", "milp"), [told("held", 0.002)]),
)


def comparison(*, per_input: bool = False) -> Comparison:
    rows = [one for one, _ in FOUND]
    briefs = {(one.id, n): brief for one, told in FOUND for n, brief in enumerate(told)}
    cells = {one.id: summary(one.id, told) for one, told in FOUND}
    return compare(rows, cells, briefs=briefs if per_input else None)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("view", [View(), View(wide=False), View("rows"), View("rows", wide=False)])
@pytest.mark.parametrize("per_input", [False, True])
def test_every_cell_is_what_the_comparison_says(view: View, glyphs: Glyphs, per_input: bool) -> None:
    said = comparison(per_input=per_input)
    columns, rows = table(said, view, glyphs)
    wanted = list(said.rows)
    if view.pivot == "rows":
        wanted = [row.alone(entry) for row in wanted for entry in row.entries if entry is not None]
    assert [row.key for row in rows] == [row.subject for row in wanted]
    for told, row in zip(wanted, rows, strict=True):
        cells = dict(zip([column.key for column in columns], row.cells, strict=True))
        assert cells["verdict"].text == told.words
        assert cells["why"].text == told.why(glyphs)
        assert cells["ratio"].text == glyphs.ratio(told.ratio)
        assert ("input" in cells) == per_input
        for entry in filter(None, told.entries):
            cell = cells["radius" if view.pivot == "rows" else f"e:{entry.series.label}"]
            text, mark, tone = entry.said(glyphs)
            assert (cell.text.rstrip(), cell.tone, cell.value) == (text + mark, tone, entry.cell.radius)


def test_numbers_of_a_column_stand_below_each_other_whatever_their_marks() -> None:
    columns, rows = table(comparison(), View(), UNICODE)
    at = next(n for n, column in enumerate(columns) if column.key == "e:clever")
    assert [row.cells[at].text for row in rows] == ["≳0.0300  ", "≥0.3000✗!", "≳0.0400? "]


@pytest.mark.parametrize(
    ("view", "heads"),
    [
        (View(), "masker clever milp attack ×none rec.clever verdict why"),
        (View(wide=False), "masker verdict code clever milp attack ×none why rec.clever"),
        (View("rows"), "masker estimator radius ×none verdict why"),
        (View("rows", wide=False), "masker verdict code estimator radius ×none why"),
    ],
)
def test_a_repaired_number_is_named_after_the_raw_one_and_never_takes_the_reasons_room(
    view: View, heads: str
) -> None:
    columns, _ = table(comparison(), view, UNICODE)
    assert [column.label for column in columns] == heads.split()


def test_an_estimate_that_is_not_planned_leaves_its_cell_empty() -> None:
    columns, rows = table(comparison(), View(), UNICODE)
    at = next(n for n, column in enumerate(columns) if column.key == "e:milp")
    assert rows[1].cells[at] == Cell("")


def test_names_that_take_the_reasons_room_are_written_without_their_keys() -> None:
    long = "sigmoid-staircase:c=255,gain=4000"
    found = comparison()
    rows = tuple(replace(row, subject=row.subject._replace(masker=long)) for row in found.rows[1:])
    _, cells = table(replace(found, rows=rows), View(), UNICODE)
    assert cells[0].cells[0] == Cell("sigstair 255 4000", "", long)


def test_a_group_stands_together_below_its_name() -> None:
    columns, rows = table(comparison(), View(group="masker"), UNICODE)
    assert [row.group for row in rows] == ["masker none", "masker staircase", "masker ramp"]
    assert len({column.key for column in columns} & {"group"}) == 0


def test_a_row_is_found_by_all_its_codes_and_by_what_its_columns_do_not_show() -> None:
    _, rows = table(comparison(), View(), UNICODE, codes={3: "FF201 FF102"})
    tags = dict(rows[1].tags)
    assert "FF102" in tags["code"] and tags["norm"] == "linf" and tags["model"] == "m"


def test_a_table_of_what_moved_is_the_table_of_what_is() -> None:
    rows = [one for one, _ in FOUND]
    cells = {one.id: summary(one.id, told) for one, told in FOUND}
    kept, shown, before = Kept(), UNICODE, compare(rows, cells)
    for moved in (0, 3, 3, 6, 7):
        cells = cells | {moved: summary(moved, [told("suspect", 0.01 * moved + 0.5)])}
        now = compare(rows, cells, before=before)
        assert now == compare(rows, cells)
        stayed = {row.subject.masker for row, old in zip(now.rows, before.rows, strict=True) if row is old}
        others = {"none", "staircase", "ramp"} - {rows[moved].masker}
        assert stayed == (others if rows[moved].masker != "none" else set()), "ratios are to the unmasked row"
        for view in (View(), View(), View(wide=False), View("rows")):
            assert table(now, view, shown, kept=kept) == table(now, view, shown)
        before, shown = now, ASCII if shown is UNICODE else UNICODE
