"""How a number, a radius and a ratio are written: one rule for every surface."""

from __future__ import annotations

import math

import pytest

from falsefloor.report.text import (
    ASCII,
    UNICODE,
    clean,
    code_in,
    fact,
    number,
    outcome,
    share,
    tone,
    verdict_word,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.032, "0.0320"), (0.3, "0.3000"), (9.99994, "9.9999"), (9.99996, "10"), (12.5, "12.5"),
        (148.23, "148.2"), (999.96, "1000"), (12345.6, "12346"), (99_999.7, "1.0e5"), (3e5, "3.0e5"),
        (1e-3, "0.0010"), (9.99e-4, "1.0e-3"), (1.23e-5, "1.2e-5"), (-0.5, "-0.5000"), (0.0, "0"),
        (-0.0, "0"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_is_written_by_one_rule(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "×1.00"), (0.826, "×0.83"), (9.994, "×9.99"), (9.996, "×10.0"), (17.2, "×17.2"),
        (99.96, "×100"), (148.2, "×148"), (20_000.0, "×2e4"), (0.01, "×0.01"), (3e-7, "×3e-7"), (0.0, "×0"),
        (math.inf, "×inf"), (math.nan, ""), (None, ""),
    ],
)  # fmt: skip
def test_a_ratio_has_three_significant_digits(value: float | None, shown: str) -> None:
    assert UNICODE.ratio(value) == shown


def test_an_estimate_an_estimate_at_its_cap_and_a_certified_bound_have_three_marks() -> None:
    for glyphs, marks in ((UNICODE, "≳ ≥ ⊢ ≤"), (ASCII, ">~ >= |- <=")):
        shown = [
            glyphs.radius(0.3, claim="lower_estimate"),
            glyphs.radius(0.3, claim="lower_estimate", capped=True),
            glyphs.radius(0.3, claim="lower_bound"),
            glyphs.radius(0.3, claim="upper_bound"),
        ]
        assert shown == [f"{mark}0.3000" for mark in marks.split()]


def test_what_is_certified_stays_certified_at_its_cap() -> None:
    assert UNICODE.radius(1.0, claim="lower_bound", capped=True) == "⊢1.0000"


def test_an_attack_that_found_nothing_says_so_and_gives_no_number() -> None:
    for value in (math.inf, "inf"):
        assert UNICODE.radius(value, claim="upper_bound") == "none found"
    assert UNICODE.radius(math.inf, claim="lower_bound") == "⊢inf"
    assert UNICODE.radius(None, claim="upper_bound") == "–" and ASCII.radius("x", claim="upper_bound") == "-"


def test_a_verdict_that_nobody_knows_is_shown_as_it_is_and_has_no_looks() -> None:
    assert (verdict_word("refuted"), verdict_word("held"), verdict_word(None)) == ("REFUTED", "held", "")
    assert verdict_word("fine\x1b[31m") == r"fine\x1b[31m" and tone("fine") == "" == UNICODE.mark("fine")


def test_every_sign_has_an_ascii_form() -> None:
    assert all(sign.isascii() and sign for sign in vars(ASCII).values())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", "a b c "), ("a\u00a0b\u2009c", "a b c"), ("\u202eabc", r"\u202eabc"), ("\x00", r"\x00"),
        ("\ud800", r"\ud800"), ("δ=.2", "δ=.2"), ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)  # fmt: skip
def test_outside_text_keeps_its_letters_and_nothing_that_moves_a_cursor(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean("x" * 3000, longest=10) == "xxxxxxx..."


def test_a_stored_fact_is_said_in_few_letters() -> None:
    facts = {"a": 1.5, "b": [1, 2, 3, 4, 5, 6, 7], "c": True, "d": None}
    assert fact(facts) == "a 1.5000, b 1, 2, 3, 4, 5, 6, and 1 more, c yes, d none"
    assert fact(1_234_567) == "1,234,567" and fact(math.nan) == "nan"
    assert (fact(9.0), fact(0.0), fact(-2.0), fact(1e9)) == ("9", "0", "-2", "1.0e9")


def test_what_a_run_found_is_told_gravest_first_and_never_without_what_failed() -> None:
    counts = {"held": 1200, "doubtful": 1, "failed": 6, "refuted": 0, "suspect": 2}
    assert outcome(counts) == "2 suspect, 6 failed, 1,200 held, 1 doubtful"
    assert outcome({"held": 0}) == "nothing was estimated"


def test_of_the_units_that_were_planned_it_is_told_what_will_not_come() -> None:
    assert (
        share({"done": 6, "total": 80, "failed": 2, "cancelled": 72}) == "6/80 units, 2 failed, 72 cancelled"
    )
    assert share({"done": 6, "total": 80}) == "6/80 units"


def test_a_code_is_read_off_a_reason_that_has_one() -> None:
    assert code_in("FF201 floor above ceiling") == "FF201"
    assert code_in("seen-pack:NEARER a nearer point") == "seen-pack:NEARER"
    assert code_in("no upper bound") == code_in("20 checks, 5 queries") == ""
