"""What a picture shows is decided here: autograd's level, what is accused, where a zero stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from falsefloor.report import scale
from falsefloor.report.detail import Detail
from falsefloor.report.figure import MARKERS, autograd, fit, score, spectrum
from falsefloor.report.radii import comparison

SCALES = [1e-4, 1e-3, 1e-2, 1e-1]
STAIRS = [0.0, 0.0, 89.0, 90.0]


def record(name: str = "finite-difference", **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": name,
        "norm": "linf",
        "claim": "lower_estimate",
        "status": "ok",
        "radius": 0.03,
        "interval": None,
        "witness": None,
        "verdict": "held",
        "params": {"radius": "auto"},
        "evidence": {"sampling_radius": 0.1, "cap": 1.0, "gradient_norm_median": 89.3},
        "warnings": [],
    }
    return given | changes


def warned(code: str, severity: str = "suspect") -> dict[str, Any]:
    return record("clever", warnings=[{"code": code, "severity": severity}])


def detail(*, seen: dict[float, float | None], of: dict[str, Any] | None = None, **changes: Any) -> Detail:
    """An estimate with a scale spectrum, autograd's median observed at these radii."""
    of = of or record()
    rows = [{"radius": radius, "median": median} for radius, median in seen.items()]
    given: dict[str, Any] = {
        "record": of,
        "siblings": [of],
        "observed": {"gradients": {"autograd": rows}},
        "curves": {},
        "scales": (of, SCALES, STAIRS),
    }
    return Detail(**(given | changes))


def test_autograds_level_is_what_was_observed_not_the_secants_own_median() -> None:
    figure = spectrum(detail(seen={0.4: 0.0, 0.1: 0.0}))
    assert figure is not None
    (level,) = figure.levels
    assert (level.name, level.value) == ("autograd: 0", 0.0)
    assert figure.y.zeros and figure.y.at(level.value) == figure.y.at(figure.curves[0].y[0]) == scale.ZEROS


@pytest.mark.parametrize(
    ("params", "evidence", "taken"),
    [
        # a fixed radius is the ball; an auto radius looks at about twice what it ends at, within its cap
        ({"radius": 0.1}, {"sampling_radius": 0.1}, 0.1),
        ({"radius": "auto"}, {"sampling_radius": 0.15, "cap": 1.0}, 0.4),
        ({"radius": "auto"}, {"sampling_radius": 0.2, "cap": 0.09}, 0.1),
        ({"radius": "auto"}, {"sampling_radius": 5.0, "cap": 100.0}, None),
        ({"radius": "auto"}, {"sampling_radius": 5.0, "cap": 100.0, "spectrum_radius": 0.1}, 0.1),
        ({"radius": 0.03}, {}, 0.025),
        ({"radius": 0.9}, {}, None),
        ({}, {}, None),
    ],
)
def test_autograd_is_taken_from_a_comparable_ball_or_not_at_all(
    params: dict[str, Any], evidence: dict[str, Any], taken: float | None
) -> None:
    found = autograd(detail(seen={0.4: 3, 0.1: 2, 0.025: 1}, of=record(params=params, evidence=evidence)))
    assert (None if found is None else found.radius) == taken


def test_without_a_comparable_ball_no_level_is_drawn_and_the_picture_says_so() -> None:
    for seen in ({}, {40.0: 148.0}, {0.2: None}):
        figure = spectrum(detail(seen=dict(seen)))
        assert figure is not None and figure.levels == ()
        assert "Autograd is not drawn" in figure.notes[0]


def test_a_picture_accuses_only_where_a_check_did() -> None:
    honest = spectrum(detail(seen={0.1: 300.0}))
    assert honest is not None and "does not describe" not in honest.notes[0]
    accused = spectrum(detail(seen={0.1: 0.0}, siblings=[record(), warned("FF202"), warned("FF101")]))
    assert accused is not None
    assert "does not describe the function (FF101, FF202)" in accused.notes[0]


@pytest.mark.parametrize(("code", "severity"), [("FF201", "refuted"), ("FF301", "note"), ("FF104", "note")])
def test_a_warning_of_something_else_accuses_no_gradient(code: str, severity: str) -> None:
    figure = spectrum(detail(seen={0.1: 90.0}, siblings=[warned(code, severity)]))
    assert figure is not None and "does not describe" not in figure.notes[0]


def test_both_sides_of_the_spectrum_are_logarithmic() -> None:
    figure = spectrum(detail(seen={0.1: 90.0}))
    assert figure is not None and figure.x.log and figure.y.log
    assert figure.y.ticks[0] == (scale.ZEROS, "0")


def test_what_is_no_spectrum_is_not_drawn() -> None:
    of = record()
    assert spectrum(detail(seen={}, scales=None)) is None
    assert spectrum(detail(seen={}, scales=(of, [0.0, math.nan, 1.0], [1.0, 1.0, 1.0]))) is None


def test_the_fit_says_whether_it_is_used() -> None:
    numbers = {"fit_location": 1.4, "fit_shape": 2.0, "fit_scale": 0.2}
    maxima = {"maxima": [1.0, 1.2, math.nan, 1.1]}
    used, unused, none = (
        fit(detail(seen={}, of=record(evidence=evidence), curves=maxima))
        for evidence in (numbers, numbers | {"fit_reason": "too few distinct"}, {"fit_reason": "asked for"})
    )
    assert used is not None and unused is not None and none is not None
    assert used.curves[0].name == "3 batch maxima" and used.levels[0].value == 1.4
    assert "It is not used: too few distinct" in unused.notes[0] and "not used" not in used.notes[0]
    assert none.levels == () and none.notes == ("No curve is fitted: asked for.",)


def test_the_score_stands_beside_its_interval_and_the_upper_bound() -> None:
    of = record(interval=[0.02, math.inf], params={"batches": 40})
    ceilings = [
        record("attack", claim="upper_bound", witness="w", radius=radius) for radius in (0.05, 0.04, math.inf)
    ]
    figure = score(detail(seen={}, of=of, siblings=[of, *ceilings], curves={"score": [math.inf, 0.04, 0.03]}))
    assert figure is not None
    assert [level.value for level in figure.levels] == [0.02, 0.04]
    assert list(figure.curves[0].x) == [pytest.approx(40 * 2 / 3), 40]


def test_a_comparison_has_a_row_a_subject_and_a_marker_an_estimator() -> None:
    masked = {"model": "m", "norm": "linf"}
    records = [
        record("clever", **masked, masker="none", verdict="held"),
        record("clever", **masked, masker="staircase", verdict="refuted", radius=0.3),
        record("attack", **masked, masker="none", radius="inf"),
        record("attack", **masked, masker="none", radius=0.0),
        record("attack", **masked, masker="none", status="failed", radius=None),
    ]
    figure = comparison(records)
    assert [word for _, word in figure.y.ticks] == ["m none linf", "m staircase linf"]
    assert figure.y.ticks[0][0] > figure.y.ticks[1][0]
    assert [key.name for key in figure.legend] == ["clever", "attack", "refuted", "held"]
    assert {curve.marker for curve in figure.curves} == set(MARKERS[:2])
    assert figure.x.zeros and "1 without a bound" in figure.notes[0]


def test_nothing_to_compare_is_an_empty_picture() -> None:
    assert comparison([]).curves == ()


@settings(deadline=None)
@example([5e-324], False)
@example([1e9, 1e299], False)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=8), st.booleans())
def test_every_side_stands_whatever_it_is_given(values: list[float], zero: bool) -> None:
    for side in (scale.logarithmic("a", values), scale.linear("b", values, zero=zero)):
        assert all(0 <= at <= 1 for at, _ in side.ticks) and len(side.ticks) <= scale.MOST_TICKS + 2
        for value in values:
            at = side.at(value)
            assert at is None or 0 <= at <= 1
            assert (at is None) <= (not math.isfinite(value) or (side.log and value < 0))


@settings(deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_a_larger_value_stands_higher_and_a_zero_below_all(one: float, two: float) -> None:
    side = scale.logarithmic("a", [0.0, one, two])
    low, high, zero = side.at(min(one, two)), side.at(max(one, two)), side.at(0.0)
    assert zero is not None and low is not None and high is not None
    assert zero < scale.BREAK < low <= high


def test_slopes_that_hardly_differ_are_not_drawn_as_mountains() -> None:
    side = scale.logarithmic("slope", [90.0, 90.5])
    assert abs((side.at(90.5) or 0) - (side.at(90.0) or 0)) < 0.01
