"""What a row says: its verdict, of how many, why, its ratio; decided once, for every surface."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from falsefloor.checks.verdicts import MISCLASSIFIED, Place
from falsefloor.report.cells import Brief, brief, summary
from falsefloor.report.comparison import Comparison, Row, compare, legend
from falsefloor.report.text import UNICODE
from falsefloor.store.cells import Cell
from falsefloor.store.rows import SeriesRow


def series(number: int, label: str = "clever", *, masker: str = "none", **changes: Any) -> SeriesRow:
    row = SeriesRow(
        id=number,
        model="m",
        masker=masker,
        stack=[{"use": masker}],
        norm="linf",
        estimator=label,
        label=label,
        params={},
        gradient="autograd",
        recovers=None,
        claim="upper_bound" if label == "attack" else "lower_estimate",
        plugin={},
    )
    return dataclasses.replace(row, **changes)


def told(word: str, radius: float | None = 0.1, reason: str = "", *, correct: bool = True) -> Brief:
    ok = word not in ("failed", "skipped", "cancelled")
    if not ok:
        return Brief(word, None, reason, None, False, False)
    return Brief("ok", word, reason, radius, False, correct)


WRONG = Brief("ok", "held", MISCLASSIFIED, 0.0, False, False)


def row(*entries: tuple[SeriesRow, list[Brief]]) -> Row:
    (found,) = table(*entries).rows
    return found


def table(*entries: tuple[SeriesRow, list[Brief]], **settings: Any) -> Comparison:
    cells = {one.id: summary(one.id, briefs) for one, briefs in entries}
    return compare([one for one, _ in entries], cells, **settings)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("refuted", "suspect"), ("suspect", "failed"), ("failed", "vacuous"), ("vacuous", "unchecked"),
        ("unchecked", "held"), ("held", "skipped"), ("skipped", "cancelled"),
    ],
)  # fmt: skip
def test_a_row_says_the_gravest_that_any_cell_says(worse: str, better: str) -> None:
    cells = (series(0, "a"), [told(better)]), (series(1, "b"), [told(worse, reason="because")])
    found = row(*cells)
    assert (found.verdict, found.reason) == (worse, "because")
    assert found.told is not None and found.told.series.label == "b"


def test_a_failure_on_one_input_makes_the_row_say_so_with_its_own_reason() -> None:
    found = row((series(0), [told("held", reason="9 checks"), told("failed", reason="ValueError: no")]))
    assert (found.verdict, found.words, found.reason) == ("failed", "1/2 failed", "ValueError: no")


def test_a_ceiling_that_nobody_asked_for_never_vouches_for_a_row() -> None:
    ceiling = series(1, "attack", asked=False)
    for word in ("held", "unchecked"):
        found = row((series(0), [told("skipped", reason="linf only")]), (ceiling, [told(word)]))
        assert (found.verdict, found.reason) == ("skipped", "linf only")
    assert row((series(0), []), (ceiling, [told("held")])).verdict == ""
    assert row((series(0), [told("held")]), (ceiling, [told("held", reason="other")])).reason == ""
    asked = dataclasses.replace(ceiling, asked=True)
    assert row((series(0), [told("skipped")]), (asked, [told("held")])).verdict == "held"


def test_a_ceiling_that_nobody_asked_for_still_says_what_is_wrong_with_it() -> None:
    ceiling = series(1, "attack", asked=False)
    assert row((series(0), [told("held")]), (ceiling, [told("failed")])).verdict == "failed"


def test_of_equals_the_lower_bound_asked_for_speaks_then_the_first_column() -> None:
    attack = (series(0, "attack"), [told("held", reason="a")])
    again = (series(1, "clever (recovered)", recovers="clever"), [told("held", reason="r")])
    first, second = (series(2, "x"), [told("held", reason="x")]), (series(3, "y"), [told("held", reason="y")])
    assert row(attack, again, first, second).reason == "x"
    assert row(attack, again).reason == "r" and row(attack).reason == "a"


def test_the_reason_is_the_most_frequent_one_and_the_first_of_equals() -> None:
    briefs = [told("suspect", reason=reason) for reason in ("b", "a", "b")]
    assert row((series(0), [*briefs, told("held", reason="z")])).reason == "b"
    assert row((series(0), briefs[:2])).reason == "a"


def test_medians_are_over_what_is_classified_as_labelled_and_the_others_are_counted() -> None:
    found = row((series(0), [WRONG, told("held", 0.3, "h"), WRONG, told("held", 0.1, "h")]))
    entry = found.entries[0]
    assert entry is not None and entry.cell.radius == pytest.approx(0.2)
    assert (found.correct_words, found.words, found.reason) == ("2/4 correct", "held", "h")
    assert found.why(UNICODE) == "2/4 correct · h"


def test_where_no_input_is_classified_as_labelled_nothing_is_held() -> None:
    found = row((series(0), [WRONG] * 6))
    assert (found.verdict, found.words) == ("unchecked", "unchecked")
    assert found.why(UNICODE) == f"0/6 correct · {MISCLASSIFIED}"
    assert found.entries[0] is not None and found.entries[0].said(UNICODE).text == "–"


def test_a_median_of_two_is_between_them_and_at_its_cap_where_one_is() -> None:
    capped = Brief("ok", "held", "", 0.3, True, True)
    found = summary(0, [told("held", 0.1), capped])
    assert (found.radius, found.capped) == (pytest.approx(0.2), True)
    assert summary(0, [told("held", math.inf), told("held", 0.1)]).radius == math.inf


def test_a_verdict_counts_its_inputs_where_it_is_not_so_on_all() -> None:
    briefs = [told("refuted"), told("held"), told("held")]
    assert row((series(0), briefs)).words == "1/3 REFUTED"
    assert row((series(0), briefs[:1])).words == "REFUTED"


def test_the_ratio_is_of_the_floor_that_moved_most_up_or_down() -> None:
    found = table(
        (series(0, "a"), [told("held", 0.1)]),
        (series(1, "b"), [told("held", 0.1)]),
        (series(2, "attack"), [told("held", 0.1)]),
        (series(3, "a", masker="s"), [told("held", 0.2)]),
        (series(4, "b", masker="s"), [told("held", 0.01)]),
        (series(5, "attack", masker="s"), [told("held", 10.0)]),
    )
    bare, masked = found.rows
    assert bare.ratio is None and masked.ratio == pytest.approx(0.1) and found.ratios
    assert [e and e.ratio for e in masked.entries] == [pytest.approx(2.0), pytest.approx(0.1), None]


def test_single_inputs_are_rows_by_number_with_ratios_of_their_own() -> None:
    both = [series(0), series(1, masker="s")]
    briefs = {(1, 7): told("refuted", 0.4), (0, 7): told("held", 0.1), (0, 2): told("held", 0.2)}
    found = compare(both, {}, briefs=briefs)
    assert [r.subject for r in found.rows] == [
        Place("m", "none", "linf", "", 2), Place("m", "none", "linf", "", 7), Place("m", "s", "linf", "", 7),
    ]  # fmt: skip
    assert [r.verdict for r in found.rows] == ["held", "held", "refuted"]
    assert found.rows[2].ratio == pytest.approx(4.0)
    entry = found.entry(Place("m", "s", "linf", "clever", 7))
    assert entry is not None and entry.said(UNICODE) == ("≳0.4000", "✗", "refuted")


def test_what_moves_is_shown_while_the_run_does_and_not_after_it_ended() -> None:
    moving = dataclasses.replace(summary(0, []), live=(0.41, 0.033))
    for ended, shown in ((False, "≳0.0330 41%"), (True, "–")):
        (found,) = compare([series(0)], {0: moving}, ended=ended).rows
        assert found.entries[0] is not None and found.entries[0].said(UNICODE).text == shown


@pytest.mark.parametrize("nothing", [math.inf, math.nan, None])
def test_before_anything_was_found_only_the_share_is_shown(nothing: float | None) -> None:
    attack = series(0, "attack")
    (found,) = compare([attack], {0: dataclasses.replace(summary(0, []), live=(0.05, nothing))}).rows
    assert found.entries[0] is not None and found.entries[0].said(UNICODE).text == "5%"


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"status": "ok", "verdict": "doubtful", "radius": "nan", "reason": None},
        {"status": "ok", "verdict": None, "radius": "inf"},
        {"status": "melted", "error": "\x1b[31m"},
        {"status": "ok", "verdict": "held", "radius": True, "predicted": 1},
    ],
)
def test_a_record_that_lacks_or_does_not_know_things_is_a_row_all_the_same(record: dict[str, Any]) -> None:
    found = row((series(0), [brief(record)]))
    assert found.words and "\x1b" not in found.line(UNICODE)
    assert legend(table((series(0), [brief(record)])), UNICODE) is not None


def test_an_unknown_verdict_is_shown_as_it_is_unless_a_known_one_is_there() -> None:
    assert row((series(0), [told("doubtful")])).words == "doubtful"
    assert row((series(0), [told("doubtful"), told("held")])).words == "1/2 held"


def test_no_inputs_and_no_series_are_an_empty_table() -> None:
    assert compare([], {}).rows == () and legend(compare([], {}), UNICODE) == []
    found = compare([series(0)], {})
    assert found.rows[0].words == "" and found.rows[0].line(UNICODE).startswith("m none linf")


def test_a_series_without_a_cell_of_its_own_is_an_empty_cell() -> None:
    cells: dict[int, Cell] = {0: summary(0, [told("held", 0.1)])}
    (found,) = compare([series(0), series(1, "attack")], cells).rows
    assert [e and e.said(UNICODE).text for e in found.entries] == ["≳0.1000", "–"]


def test_the_legend_names_only_the_signs_that_are_there() -> None:
    certified = series(1, "milp", claim="lower_bound")
    shown = " / ".join(legend(table((series(0), [told("suspect")]), (certified, [told("held")])), UNICODE))
    assert "≳ estimated floor" in shown and "⊢ certified floor" in shown and "? suspect" in shown
    assert "≤" not in shown and "≥" not in shown and "✗" not in shown and "medians" not in shown
    nothing = table((series(0, "attack"), [told("held", math.inf)]))
    assert not any("ceiling" in words for words in legend(nothing, UNICODE))
