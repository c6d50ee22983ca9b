"""Robust accuracy of a set: proved and found on both sides, estimates beside, misclassified inputs as 0."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from falsefloor.errors import UsageError
from falsefloor.report.accuracy import binomial, input_sets, median_interval, tabular
from falsefloor.report.changes import compare_sets, sets_table
from falsefloor.report.radii import check_units, curves, radius_of, round_radii

PIXELS = {"bounds": [0.0, 1.0], "shape": [8, 8]}


def record(
    at: int, claim: str, radius: float | str, verdict: str = "held", *, predicted: int = 3, **more: Any
) -> dict[str, Any]:
    place = {
        "model": "net",
        "masker": "none",
        "norm": "linf",
        "input": at,
        "label": 3,
        "predicted": predicted,
    }
    told = {
        "claim": claim,
        "radius": radius,
        "verdict": verdict,
        "status": "ok",
        "warnings": [],
        "evidence": {},
    }
    return {**place, **told, "witness": "w" if claim == "upper_bound" else None, **more}


SET = [
    record(0, "lower_bound", 0.05), record(0, "upper_bound", 0.08),
    record(1, "lower_bound", 0.02), record(1, "lower_estimate", 0.04), record(1, "upper_bound", 0.05),
    record(2, "lower_estimate", 0.3, "refuted"), record(2, "upper_bound", 0.02),
    record(3, "lower_bound", 0.0, "unchecked", predicted=8),
]  # fmt: skip


def test_the_share_lies_between_what_is_proved_and_what_was_found() -> None:
    (one,) = input_sets(SET)
    at = one.at(0.03)
    assert (at.inputs, at.certified, at.estimated, at.unbroken, at.attacked, at.wrong) == (4, 1, 2, 2, 1, 1)
    assert at.bracket == (0.25, 0.5)
    low, high = at.interval
    assert low < 0.25 and high > 0.5
    assert one.at(0).bracket == (0.75, 0.75), "at no radius the accuracy itself"


def test_a_point_exactly_at_the_radius_breaks_and_a_proof_exactly_there_proves_nothing() -> None:
    (one,) = input_sets(SET)
    assert one.at(0.05).unbroken == 1 and one.at(0.05).certified == 0
    assert one.at(0.0499).unbroken == 2 and one.at(0.0499).certified == 1


def test_a_refuted_or_suspect_floor_counts_for_nothing_and_its_witness_breaks() -> None:
    for verdict in ("refuted", "suspect"):
        (one,) = input_sets([record(0, "lower_estimate", 0.3, verdict)])
        assert (one.at(0.1).estimated, one.at(0.1).unbroken) == (0, 1)
    warning = {"severity": "refuted", "witness": {"array": "a", "distance": 0.04, "predicted": 8}}
    (one,) = input_sets([record(0, "lower_bound", 0.3, "refuted", warnings=[warning])])
    assert (one.at(0.1).certified, one.at(0.1).unbroken) == (0, 0)


def test_a_ceiling_whose_witness_did_not_settle_breaks_nothing() -> None:
    (one,) = input_sets([record(0, "upper_bound", 0.01, witness=None)])
    assert one.at(0.1).unbroken == 1 and one.unknown == 1


def test_a_proof_of_a_smoothed_function_certifies_nothing_of_this_one() -> None:
    (one,) = input_sets([record(0, "lower_bound", 0.3, evidence={"about": "the smoothed classifier"})])
    assert (one.at(0.1).certified, one.at(0.1).estimated) == (0, 1)


def test_planned_inputs_of_which_nothing_came_may_still_withstand_anything() -> None:
    facts = {"net": {"labels": [3] * 6, "predicted": [3, 3, 3, 8, 3, 1]}}
    (one,) = input_sets(SET, facts)
    at = one.at(0.03)
    assert (one.total, one.unknown, at.wrong) == (6, 1, 2)
    assert (at.certified, at.unbroken) == (1, 3)
    assert one.of_class(3).total == 6
    with pytest.raises(UsageError, match="no inputs of class 5"):
        one.of_class(5).at(0.1)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # scipy.stats.beta.ppf(0.025, k, n - k + 1) and (0.975, k + 1, n - k)
    [
        (0, 10, 0.0, 0.308497),
        (5, 10, 0.187086, 0.812914),
        (305, 500, 0.565700, 0.652992),
        (500, 500, 0.992649, 1),
    ],
)
def test_the_binomial_interval_is_that_of_clopper_and_pearson(
    count: int, of: int, low: float, high: float
) -> None:
    assert binomial(count, of) == pytest.approx((low, high), abs=1e-6)


def test_the_interval_covers_the_share_of_all_inputs_like_these() -> None:
    draw = random.Random(0)
    all_of_them = [(proved := draw.random(), proved + 0.02 * draw.random()) for _ in range(500)]
    truth = sum(low + 0.5 * (high - low) > 0.4 for low, high in all_of_them) / 500
    covered = 0
    for _ in range(200):
        drawn = draw.choices(all_of_them, k=100)
        records = [
            one
            for at, (low, high) in enumerate(drawn)
            for one in (record(at, "lower_bound", low), record(at, "upper_bound", high))
        ]
        low, high = input_sets(records)[0].at(0.4).interval
        covered += low <= truth <= high
    assert covered >= 188


def test_a_radius_is_a_number_or_a_fraction() -> None:
    assert radius_of("8/255") == 8 / 255 and radius_of("1e-3") == 0.001
    for bad in ("eight", "-0.1", "1/0", "nan", "inf"):
        with pytest.raises(UsageError):
            radius_of(bad)


def test_a_radius_of_other_units_is_said() -> None:
    with pytest.raises(UsageError, match=r"larger than the whole domain.*8/255 is 0.0314"):
        check_units(8.0, "linf", PIXELS)
    assert check_units(8.0, "l2", PIXELS) == [] == check_units(0.03, "linf", PIXELS)
    (said,) = check_units(0.03, "linf", {"bounds": [0, 255], "shape": [8, 8]})
    assert "less than one grey level" in said and "7.65" in said


def test_every_painter_says_the_same_words() -> None:
    sets = input_sets(SET)
    table = tabular(sets, [0.03])
    assert table.rows[0][2:6] == ("25.0 %", "50.0 %", "50.0 %", "25.0 to 50.0 %")
    for painted in (table.markdown(), table.html(), table.latex()):
        assert "25.0" in painted and "misclassified" in painted
    figure = curves(sets)
    assert [curve.name for curve in figure.legend] == ["certified", "estimated", "not attacked"]
    assert [curve.y[0] for curve in figure.legend] == [0.75] * 3
    assert all(math.isfinite(radius) and radius > 0 for radius in round_radii(sets))


def test_the_interval_of_a_median_is_by_order_alone() -> None:
    assert median_interval([1.0] * 5) is None
    # ranks 1 and 6 of 6, 9 and 22 of 30, 469 and 532 of 1000 (tables of the sign test)
    for count, low, high in ((6, 1, 6), (30, 10, 21), (1000, 469, 532)):
        assert median_interval([float(n) for n in range(1, count + 1)]) == (low, high)


def test_two_runs_are_compared_over_the_inputs_that_both_have() -> None:
    after = [{**one, "radius": 0.9} if one["claim"] == "upper_bound" else one for one in SET]
    after += [record(9, "upper_bound", 0.001)]
    (one,) = compare_sets((input_sets(SET), input_sets(after)), [0.03])
    assert (one.before.inputs, one.after.inputs) == (4, 4)
    assert (one.gained, one.lost) == (1, 0) and one.after.unbroken == 3
    low, high = one.interval
    assert low < 0.25 < high
    assert "+1 -0" in sets_table([one], "a", "b").rows[0]
    assert compare_sets((input_sets(SET), []), [0.03]) == []
