"""The table that demo, show, watch and a followed run share."""

from __future__ import annotations

import dataclasses
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from sample_run import sample

from falsefloor.checks.verdicts import STATES
from falsefloor.report.comparison import Comparison, compare, read_comparison
from falsefloor.report.refutations import read_refutations, sentence
from falsefloor.report.summary import Summary
from falsefloor.report.table import table_lines
from falsefloor.report.text import ASCII, UNICODE
from falsefloor.store.cells import Cell
from falsefloor.store.reader import RunReader
from falsefloor.store.records import ObservationResult
from falsefloor.store.rows import SeriesRow

BARE: list[dict[str, str]] = []


@pytest.fixture(autouse=True)
def utf8_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    with RunReader(sample(tmp_path_factory.mktemp("runs"))) as reader:
        return read_comparison(reader)


def series(number: int, masker: str = "none", label: str = "clever", **changes: object) -> SeriesRow:
    stack = BARE if masker == "none" else [{"use": "staircase"}]
    row = SeriesRow(
        number, "m", masker, stack, "linf", "clever", label, {}, "autograd", None, "lower_estimate", {}
    )
    return dataclasses.replace(row, **changes)


def cell(number: int, radius: float | None = 0.1, total: int = 1, **verdicts: int) -> Cell:
    came = sum(count for word, count in verdicts.items() if word not in STATES)
    return Cell(number, total, radius, False, verdicts, "why", None, came, came, "no")


def one_other_class(masker: str, seen: ObservationResult) -> ObservationResult:
    """The staircase changes the class of the last input."""
    changed = masker == "staircase:c=255" and seen.input == 2
    return replace(seen, agreement=False, facts={**seen.facts, "agreement": False}) if changed else seen


def text(comparison: Comparison, width: int = 120) -> str:
    return "\n".join(line.plain for line in table_lines(comparison, width=width, glyphs=UNICODE))


def row_of(comparison: Comparison, masker: str, width: int = 120) -> str:
    return next(line for line in text(comparison, width).splitlines() if line.startswith(masker))


def test_a_refuted_floor_is_named_with_its_reason_beside_it(comparison: Comparison) -> None:
    row = row_of(comparison, "staircase")
    assert "REFUTED" in row and "FF201 floor above ceiling" in row


def test_a_score_at_its_cap_is_at_least_and_a_ceiling_at_most(comparison: Comparison) -> None:
    row = row_of(comparison, "staircase")
    assert "≥1.0000✗" in row and "≤0.0980" in row and "≳0.0925" in row_of(comparison, "none")


def test_the_ratio_is_of_the_floor_that_moved_most_over_its_unmasked_value(comparison: Comparison) -> None:
    bare, staircase, ramp = (row.ratio for row in comparison.rows)
    assert bare is None
    assert staircase == pytest.approx(1.0 / 0.0924948)  # 11 times; the finite differences hardly moved
    assert ramp == pytest.approx(0.0406254 / 0.0924948, rel=1e-5)


def test_a_ceiling_alone_has_no_ratio() -> None:
    rows = [series(0, claim="upper_bound"), series(1, "s", claim="upper_bound")]
    found = compare(rows, {0: cell(0, held=1), 1: cell(1, held=1)})
    assert not found.ratios and "×" not in text(found)


def test_an_unmasked_floor_of_zero_gives_no_ratio() -> None:
    found = compare([series(0), series(1, "s")], {0: cell(0, 0.0, held=1), 1: cell(1, held=1)})
    assert [row.ratio for row in found.rows] == [None, None]


def test_agreement_is_counted_by_the_store_as_by_hand(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, seen=one_other_class)) as reader:
        counted: dict[tuple[str, str, str], tuple[int, int]] = {}
        for seen in reader.observations():
            if seen["agreement"] is not None:
                same, of = counted.get(key := (seen["model"], seen["masker"], seen["norm"]), (0, 0))
                counted[key] = (same + seen["agreement"], of + 1)
        assert counted and reader.agreement() == counted


def test_agreement_with_the_unmasked_model_is_counted(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, seen=one_other_class)) as reader:
        found = read_comparison(reader)
    assert [row.agreement for row in found.rows] == [(3, 3), (2, 3), (3, 3)]
    assert "2/3" in row_of(found, "staircase") and "3/3" in row_of(found, "ramp")


def test_a_masker_that_changes_classes_is_told_where_its_column_does_not_fit(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, seen=one_other_class)) as reader:
        assert "changes the class of 1/3 inputs" in text(read_comparison(reader), width=66)


def test_only_some_refuted_inputs_are_counted() -> None:
    found = compare([series(0)], {0: cell(0, total=10, refuted=7, held=3)})
    assert "7/10 REFUTED" in text(found)


def test_a_suspect_floor_outranks_a_held_ceiling_and_a_refuted_one_outranks_both() -> None:
    rows = [series(0, label="a"), series(1, label="b"), series(2, label="c", claim="upper_bound")]
    found = compare(rows, {0: cell(0, suspect=1), 1: cell(1, refuted=1), 2: cell(2, held=1)})
    (row,) = found.rows
    assert row.verdict == "refuted" and row.told is not None and row.told.series.label == "b"


def test_an_estimate_that_failed_is_seen_and_not_taken_for_held() -> None:
    found = compare([series(0)], {0: cell(0, None, failed=1)})
    assert "failed" in row_of(found, "none") and "held" not in text(found)


def test_a_failure_beside_good_inputs_is_marked() -> None:
    found = compare([series(0)], {0: cell(0, total=3, held=2, failed=1)})
    assert "≳0.1000!" in text(found) and "! failed for some inputs" in text(found)


def test_what_moves_shows_its_share_and_its_number() -> None:
    moving = dataclasses.replace(cell(0, None), live=(0.41, 0.033))
    assert "≳0.0330 41%" in text(compare([series(0)], {0: moving}))


def test_nothing_found_by_an_attack_is_said_and_no_number() -> None:
    found = compare([series(0, claim="upper_bound")], {0: cell(0, float("inf"), held=1)})
    assert "none found" in text(found)


def test_a_recovered_estimate_has_a_column_where_there_is_room_and_a_line_elsewhere() -> None:
    again = series(2, "s", "clever (recovered)", recovers="clever")
    found = compare([series(0), series(1, "s"), again], {
        0: cell(0, held=1), 1: cell(1, 1.0, refuted=1), 2: cell(2, 0.09, suspect=1)})  # fmt: skip
    assert "(recovered)" in text(found, 100).splitlines()[1] and "≳0.0900?" in row_of(found, "s", 100)
    narrow = text(found, 40).splitlines()
    assert "    clever (recovered) ≳0.0900? suspect" in narrow


def test_an_empty_plan_is_said() -> None:
    assert text(compare([], {})) == "nothing is planned yet"


@pytest.mark.parametrize("width", [30, 50, 66, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_terminal(comparison: Comparison, width: int) -> None:
    assert max(cell_len(line) for line in text(comparison, width).splitlines()) <= width


@pytest.mark.parametrize("width", [66, 80, 140])
def test_every_number_and_verdict_is_there_at_every_width(comparison: Comparison, width: int) -> None:
    shown = text(comparison, width)
    for word in (
        "≳0.0925",
        "≳0.0924",
        "≥1.0000✗",
        "≤0.0980",
        "≳0.0406?",
        "REFUTED",
        "suspect",
        "held",
        "FF102",
    ):
        assert word in shown


NAMES = st.text(min_size=1, max_size=70)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    labels=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    width=st.integers(30, 160),
)
def test_no_name_breaks_the_table(names: list[str], labels: list[str], width: int) -> None:
    rows = [series(n * 10 + k, name, label) for n, name in enumerate(names) for k, label in enumerate(labels)]
    found = compare(rows, {row.id: cell(row.id, held=1) for row in rows})
    for line in table_lines(found, width=width, glyphs=UNICODE):
        assert cell_len(line.plain) <= width
        assert all(char.isprintable() for char in line.plain)


def draw(renderable: object, *, encoding: str, width: int = 100) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    Console(file=file, width=width, markup=False, highlight=False).print(renderable)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    with RunReader(sample(tmp_path_factory.mktemp("runs"))) as reader:
        told = tuple(read_refutations(reader))
        return Summary(reader.info(), read_comparison(reader), told)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_our_signs_gets_ascii_ones(summary: Summary, encoding: str) -> None:
    shown = draw(summary, encoding=encoding)
    assert shown.isascii() and ">~0.0925" in shown and ">=1.0000x" in shown and "<=0.0980" in shown


def test_the_c_locale_gets_ascii_although_python_speaks_utf8(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert draw(summary, encoding="utf-8").isascii()


def test_the_summary_tells_each_refutation_with_its_nearest_witness(summary: Summary) -> None:
    shown = draw(summary, encoding="utf-8")
    assert "REFUTED  staircase:c=255 · clever · 3 inputs, the nearest:" in shown
    assert "input 0: 1.0000 is claimed, yet an input of class 7 lies at 0.0775 (FF201)." in shown
    assert "falsefloor explain FF201" in shown


def test_a_witness_that_is_nearer_by_less_than_what_is_printed_is_said_to_be(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        one, *_ = read_refutations(reader)
    close = replace(one, radius=0.11132, distance=0.11130)
    assert "0.1113 is claimed, yet" in sentence(close) and "lies at 0.1113, 0.02 % nearer (" in sentence(
        close
    )
    assert "nearer" not in sentence(replace(one, radius=0.1113, distance=0.1110))


def test_other_suspicions_on_refuted_inputs_are_named(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        told = read_refutations(reader)
    assert all("ceil" in one.located for one in told)
    suspicions = ("FF101", "FF102", "FF202", "FF303", "FF502")
    assert {one.series.label: one.suspicions for one in told} == {"clever": suspicions}


def test_a_run_that_stopped_says_how_to_go_on(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, status="cancelled")) as reader:
        shown = draw(Summary(reader.info(), read_comparison(reader)), encoding="utf-8")
    assert "falsefloor resume" in shown


def test_why_an_estimate_failed_is_told_where_the_row_tells_something_graver(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, failing=["finite-difference"])) as reader:
        shown = draw(Summary(reader.info(), read_comparison(reader)), encoding="utf-8")
    assert re.search(
        r"failed   finite-difference, \d estimates\n  the estimator raised ValueError: no", shown
    )


def test_a_run_that_failed_before_anything_was_planned_offers_nothing_to_open(summary: Summary) -> None:
    info = replace(summary.info, status="failed", error="There is no file net.py.", units_total=0)
    shown = draw(Summary(info, compare([], {})), encoding="utf-8")
    assert "error: There is no file net.py." in shown and "next:" not in shown and "resume" not in shown


@pytest.mark.parametrize("hostile", ["[bold]x[/bold]", "\x1b[31mred", "a\nb", "\u202eabc", "\x00"])
def test_names_are_never_markup_nor_escape_codes(hostile: str) -> None:
    found = compare([series(0, hostile), series(1, "z")], {0: cell(0, held=1), 1: cell(1, held=1)})
    shown = text(found)
    assert "\x1b" not in shown and "\u202e" not in shown and "\x00" not in shown
    assert len(shown.splitlines()) == len(text(compare([series(0, "q"), series(1, "z")], {
        0: cell(0, held=1), 1: cell(1, held=1)})).splitlines())  # fmt: skip
    if hostile.startswith("["):
        assert hostile in shown


def test_ascii_signs_are_all_ascii() -> None:
    assert all(str(value).isascii() for value in vars(ASCII).values())


def test_reports_import_no_torch_numpy_or_scipy() -> None:
    names = "table summary page forms markup changes listings pictures paint_svg figure detail"
    modules = "; ".join(f"import falsefloor.report.{name}" for name in names.split())
    heavy = "('torch', 'numpy', 'scipy', 'textual')"
    code = f"import sys; {modules}; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
