"""For every code: a case that must raise it, and a near miss that must not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from stored_facts import (
    DISTANCE,
    GOOD_STEPS,
    OBSERVED,
    attack,
    bare,
    beyond,
    estimate,
    facts,
    gradients,
    more,
    steps,
)

from falsefloor.api import Check, Facts, Finding, Record
from falsefloor.checks import ceiling, contradiction, domain, gradient, numerics, statistics
from falsefloor.checks.catalogue import CATALOGUE

FAMILIES: tuple[Check, ...] = tuple(
    module.check for module in (gradient, contradiction, statistics, numerics, ceiling, domain)
)


def findings(given: Facts) -> list[Finding]:
    return [finding for check in FAMILIES for finding in check(given)]


def secants(**changes: object) -> list[dict[str, object]]:
    return [{**row, **changes} for row in OBSERVED["secants"]]


def coarse(**changes: float) -> dict[str, object]:
    """A wide step changed, under a fine one that the gradient does not follow either: no kinks, but steps."""
    fine, near, wide = GOOD_STEPS
    return gradients(steps=[{**fine, "correlation": 0.94}, near, {**wide, **changes}])


FLAT = {"ratios": {"8": 0.0, "2": 0.0}, "ratio": 0.0}
FD = {"plateau_scale": 0.05, "levels": 0.0, "fit": "max"}
UPPER = attack(0.11)

MUST: list[tuple[str, str, Facts]] = [
    ("FF101", "a share above a tenth", facts(estimate(vanished_share=0.11))),
    ("FF101", "exact zeros alone are given", facts(estimate(vanished_share="nan", zero_share=1.0))),
    ("FF101", "only the observation knows", facts(bare(0.1), attack(), gradients=gradients(vanished=1.0))),
    ("FF102", "too little at 0.1", facts(gradients=steps(0.1, ratio=0.74))),
    ("FF102", "too much at 0.5", facts(gradients=coarse(ratio=1.34))),
    ("FF102", "uncorrelated", facts(gradients=coarse(correlation=0.89))),
    ("FF102", "more than small kinks take off", facts(gradients=steps(0.5, ratio=1.61))),
    ("FF102", "hardly correlated, whatever finer steps say", facts(gradients=steps(0.5, correlation=0.59))),
    ("FF102", "the finest step, by half", facts(gradients=steps(0.01, ratio=0.49))),
    ("FF102", "at the claim's length", facts(estimate(0.5), gradients=beyond(0.3, steps(0.5, ratio=9.0)))),
    (
        "FF102",
        "at the ceiling's length",
        facts(estimate(0.03), gradients=beyond(0.03, steps(0.1, ratio=9.0))),
    ),
    ("FF102", "flat where the gradient is not", facts(gradients=steps(0.1, ratio="inf", correlation=0.0))),
    ("FF103", "a cut graph and a pair", facts(connected=False)),
    ("FF104", "eleven times the median", facts(estimate(gradient_norm_max=880.1))),
    ("FF104", "zero but for some", facts(estimate(gradient_norm_median=0.0))),
    ("FF104", "only the observation knows", facts(bare(0.1), attack(), gradients=gradients(max=900.0))),
    ("FF105", "any change between repeats", facts(repeats={"shift": 1e-9, "label": False})),
    ("FF105", "alone unlike in a batch", facts(batch={"shift": 1.1e-4, "label": False})),
    ("FF105", "another label in a batch", facts(batch={"shift": 1e-9, "label": True})),
    ("FF105", "of a ceiling as well", facts(attack(), repeats={"shift": 0.1, "label": True})),
    ("FF201", "just above the ceiling", facts(estimate(0.1005 * (1 + 2e-6)))),
    ("FF202", "0.2 % above the constant", facts(estimate(lipschitz=78 / 1.002))),
    ("FF202", "a constant of zero", facts(estimate(lipschitz=0.0))),
    ("FF202", "all targets where none is named", facts(estimate(lipschitz=59.0, target="nan"))),
    ("FF202", "a wider scale's pair inside the ball", facts(estimate(lipschitz=1.0, sampling_radius=0.016))),
    ("FF203", "just inside", facts(estimate(DISTANCE * (1 + 2e-6)))),
    ("FF203", "inside a certified bound", facts(bare(0.2, "lower_bound"))),
    ("FF204", "certified above the attack", facts(bare(0.2, "lower_bound"))),
    ("FF104", "stays with more samples", facts(estimate(gradient_norm_max=880.1), resampled=more(0.095))),
    ("FF205", "claims more than was planted", facts(trap={"clever": {"radius": 0.06, "distance": 0.05}})),
    (
        "FF205",
        "a search that misses what was planted",
        facts(attack(), estimate(), trap={"attack": {"radius": 0.08, "distance": 0.05}}),
    ),
    ("FF301", "the maximum for a fit", facts(estimate(fit="max"))),
    ("FF301", "below what was sampled", facts(estimate(lipschitz=83.9))),
    ("FF302", "26 % more in the second half", facts(estimate(maximum_half=65.0))),
    ("FF302", "more samples", facts(estimate(maximum_half=65.0), resampled=more(0.0939))),
    ("FF303", "the estimator says so", facts(estimate(capped=1.0))),
    ("FF303", "the radius is the sampling radius", facts(estimate(0.1, capped="nan", cap="nan"))),
    ("FF305", "eight of nine", facts(estimate(targets_covered=8.0))),
    ("FF305", "farther by less than half", facts(estimate(0.09, targets_covered=8.0, dropped_distance=0.13))),
    ("FF305", "shown to be farther", facts(estimate(0.09, targets_covered=8.0, dropped_distance=0.14))),
    ("FF401", "the margin in float64", facts(precision={"margin_shift": 0.011, "gradient_shift": 0.0})),
    ("FF401", "the gradient in float64", facts(precision={"margin_shift": 0.0, "gradient_shift": 1.0})),
    ("FF401", "subnormal gradients", facts(precision={"subnormal": 0.51, "reason": "is float64"})),
    ("FF402", "stuck outputs", facts(outputs={"probabilities": False, "saturated": 0.11})),
    ("FF402", "probabilities", facts(outputs={"probabilities": True, "saturated": 0.0})),
    ("FF403", "NaN inside", facts(nonfinite={"distance": 0.09, "array": "nonfinite"})),
    (
        "FF403",
        "raises inside",
        facts(raises={"distance": 0.09, "message": "ValueError", "array": "nonfinite"}),
    ),
    ("FF403", "infinite gradients", facts(estimate(nonfinite_share=0.001))),
    ("FF501", "nothing found", facts(attack(math.inf, None), estimate())),
    ("FF502", "nearer without gradients", facts(estimate(), attack(blackbox=0.09), gradients={})),
    ("FF503", "still improving", facts(attack(last_tenth_gain=0.051))),
    ("FF504", "did not settle", facts(attack(0.1, None))),
    ("FF504", "the core says so", facts(attack(math.inf, None, unsettled=1.0))),
    ("FF505", "a nearer point was met", facts(attack(DISTANCE * 1.021), estimate())),
    (
        "FF505",
        "a nearer point without an answer was met",
        facts(
            attack(DISTANCE * 0.9), estimate(), nonfinite={"distance": DISTANCE * 0.8, "array": "nonfinite"}
        ),
    ),
    ("FF505", "another attack is nearer", facts(attack(0.1005), attack(0.098, "B/0/witness"))),
    ("FF601", "another answer", facts(estimate(0.0), misclassified=True, predicted=5)),
    ("FF602", "outside", facts(outside=True)),
    ("FF603", "in training", facts(training=True)),
    ("FF701", "more than five times as far", facts(estimate(DISTANCE / 5.01))),
    ("FF701", "below a grey level", facts(estimate(0.0039), attack(0.005), grey_level=1 / 255)),
    ("FF701", "zero", facts(estimate(0.0))),
]

MUST_NOT: list[tuple[str, str, Facts]] = [
    ("FF101", "a tenth exactly", facts(estimate(vanished_share=0.1))),
    ("FF101", "a repaired gradient", facts(estimate(gradient="secant"), gradients=gradients(vanished=1.0))),
    (
        "FF101",
        "certified bounds follow none",
        facts(bare(0.1, "lower_bound"), gradients=gradients(vanished=1.0)),
    ),
    ("FF102", "the edge of the band", facts(gradients=steps(0.1, ratio=0.75))),
    ("FF102", "small kinks over a wide step", facts(gradients=steps(0.5, ratio=1.47, correlation=0.72))),
    ("FF102", "the finest step may differ more", facts(gradients=steps(0.01, ratio=0.51, correlation=0.5))),
    (
        "FF102",
        "another gradient than the observed",
        facts(estimate(gradient="x"), gradients=steps(0.1, ratio=0)),
    ),
    ("FF102", "not of differences", facts(estimate(**FD), gradients=steps(0.1, ratio=0.0))),
    (
        "FF102",
        "beyond the claim and the ceiling, in a wide ball",
        facts(estimate(sampling_radius=0.5), gradients=beyond(0.3, steps(0.5, ratio=9.0))),
    ),
    ("FF102", "nothing but rounding", facts(gradients=steps(0.1, ratio=None, correlation=None))),
    ("FF103", "a constant function", facts(connected=False, secants=secants(**FLAT))),
    ("FF103", "a repaired gradient", facts(estimate(gradient="straight-through"), connected=False)),
    ("FF103", "not of differences", facts(estimate(**FD), connected=False)),
    ("FF104", "ten times the median", facts(estimate(gradient_norm_max=800.0))),
    ("FF104", "spiky with more samples only", facts(resampled=more(0.01, gradient_norm_max=900.0))),
    ("FF104", "all zero is FF101", facts(estimate(gradient_norm_median=0.0, gradient_norm_max=0.0))),
    ("FF105", "rounding between batches", facts(batch={"shift": 0.9e-4, "label": False})),
    ("FF105", "rounding on a GPU", facts(device="cuda", repeats={"shift": 0.9e-4, "label": False})),
    ("FF201", "at the ceiling", facts(estimate(0.1005))),
    ("FF201", "an upper bound that did not settle", facts(estimate(0.2), attack(0.1, None))),
    ("FF201", "certified: FF204 says it", facts(bare(0.2, "lower_bound"))),
    ("FF202", "0.05 % above the constant", facts(estimate(lipschitz=78 / 1.0005))),
    ("FF202", "beyond the ball", facts(estimate(lipschitz=1.0, sampling_radius=0.014))),
    ("FF202", "another target's slope", facts(estimate(lipschitz=61.0, target=2.0))),
    ("FF202", "the least of all targets", facts(estimate(lipschitz=61.0, target="nan"))),
    ("FF202", "measured across steps", facts(estimate(lipschitz=1.0, **{**FD, "levels": 255.0}))),
    ("FF203", "at the counterexample", facts(estimate(DISTANCE))),
    ("FF203", "nothing seen", facts(estimate(0.2), counterexample=None)),
    ("FF204", "below the attack", facts(bare(0.1, "lower_bound"))),
    ("FF204", "an estimate: FF201 says it", facts(estimate(0.2))),
    ("FF205", "stays below", facts(trap={"clever": {"radius": 0.05, "distance": 0.05}})),
    (
        "FF205",
        "no farther than a masker moves a point",
        facts(trap={"clever": {"radius": 0.053, "distance": 0.05, "slack": 0.004}}),
    ),
    (
        "FF205",
        "a search that comes near what was planted",
        facts(attack(), estimate(), trap={"attack": {"radius": 0.06, "distance": 0.05}}),
    ),
    ("FF205", "nothing could be planted", facts(trap={"clever": {"reason": "no class change"}})),
    ("FF205", "another estimator's trap", facts(trap={"other": {"radius": 0.06, "distance": 0.05}})),
    ("FF301", "a fit", facts(estimate())),
    ("FF302", "24 % more in the second half", facts(estimate(maximum_half=66.2))),
    ("FF302", "a score that moves for another reason", facts(estimate(), resampled=more(0.01))),
    ("FF302", "directed points were there", facts(estimate(maximum_half=1.0, directed_maximum=81.0))),
    ("FF303", "below its cap", facts(estimate(0.099, cap="nan", capped="nan"))),
    ("FF305", "all nine", facts(estimate(targets_covered=9.0))),
    ("FF401", "within a hundredth", facts(precision={"margin_shift": 0.009, "gradient_shift": 0.009})),
    (
        "FF401",
        "what moves by itself is FF105's",
        facts(
            precision={"margin_shift": 0.3, "gradient_shift": 0.3}, repeats={"shift": 1e-3, "label": False}
        ),
    ),
    ("FF401", "dead weights are subnormal", facts(precision={"subnormal": 0.08, "margin_shift": 0.0})),
    (
        "FF401",
        "a repaired gradient is another than was measured",
        facts(estimate(gradient="secant"), precision={"gradient_shift": 1}),
    ),
    (
        "FF401",
        "gradients do not matter to differences",
        facts(estimate(**FD), precision={"gradient_shift": 1}),
    ),
    ("FF402", "a tenth of the outputs", facts(outputs={"probabilities": False, "saturated": 0.1})),
    ("FF403", "NaN outside the claim", facts(nonfinite={"distance": 0.096, "array": "nonfinite"})),
    ("FF501", "something found", facts(attack())),
    ("FF502", "a tenth nearer", facts(estimate(), attack(whitebox=0.1, blackbox=0.091))),
    ("FF502", "of a repaired gradient", facts(estimate(gradient="secant"), attack(blackbox=0.05))),
    ("FF503", "hardly improving", facts(attack(last_tenth_gain=0.05))),
    ("FF504", "settled", facts(attack())),
    ("FF504", "nothing found", facts(attack(math.inf, None))),
    ("FF505", "near enough", facts(attack(DISTANCE * 1.019), estimate())),
    (
        "FF505",
        "a farther point without an answer",
        facts(
            attack(DISTANCE * 0.9), estimate(), nonfinite={"distance": DISTANCE * 0.95, "array": "nonfinite"}
        ),
    ),
    ("FF505", "of a floor", facts(estimate(DISTANCE * 1.1), attack(DISTANCE))),
    ("FF601", "correct", facts()),
    ("FF602", "inside", facts(outside=False)),
    ("FF603", "in evaluation", facts(training=False)),
    ("FF701", "five times as far", facts(estimate(DISTANCE / 4.99))),
    ("FF701", "far from an attack, near what was seen", facts(estimate(), attack(0.6))),
    ("FF701", "misclassified inputs have no ceiling", facts(estimate(0.0), misclassified=True)),
    ("FF701", "above a grey level", facts(estimate(0.004), attack(0.005), grey_level=1 / 255)),
]


def _ids(cases: Iterable[tuple[str, str, Facts]]) -> list[str]:
    return [f"{code}: {words}" for code, words, _ in cases]


@pytest.mark.parametrize(("code", "given"), [(c, f) for c, _, f in MUST], ids=_ids(MUST))
def test_a_case_that_must_raise(code: str, given: Facts) -> None:
    assert code in {finding.code for finding in findings(given)}


@pytest.mark.parametrize(("code", "given"), [(c, f) for c, _, f in MUST_NOT], ids=_ids(MUST_NOT))
def test_a_near_miss_that_must_not(code: str, given: Facts) -> None:
    assert code not in {finding.code for finding in findings(given)}


def test_every_code_has_both_cases() -> None:
    ours = set(CATALOGUE) - {"FF901"}  # the judge's own, tested with the judge
    assert {code for code, _, _ in MUST} == ours == {code for code, _, _ in MUST_NOT}


def test_every_code_belongs_to_one_family_and_the_catalogue() -> None:
    codes = [code for check in FAMILIES for code in check.codes]
    assert sorted(codes) == sorted(set(CATALOGUE) - {"FF901"})


def test_a_sound_estimate_raises_nothing() -> None:
    assert findings(facts()) == []
    assert findings(facts(attack(), estimate())) == []
    assert findings(facts(estimate(0.09, **{**FD, "fit": "none"}))) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_that_are_missing_raise_nothing(family: Check) -> None:
    for claim in ("lower_estimate", "lower_bound"):
        assert list(family(Facts("l2", bare(0.1, claim), (), {}))) == []


@pytest.mark.parametrize("junk", [None, "nan", [], {}, "word", -1, [None], {"a": None}, True])
@pytest.mark.parametrize("key", sorted(OBSERVED))
def test_facts_of_the_wrong_shape_are_no_facts(key: str, junk: object) -> None:
    for judged in (estimate(), attack(), bare(0.05)):
        for finding in findings(facts(judged, attack(), estimate(), **{key: junk})):
            assert finding.code in CATALOGUE


def test_a_capped_score_is_a_note_until_the_gradient_vanished_or_a_witness_lies_inside() -> None:
    def severity(given: Facts) -> str:
        return next(f.severity for f in findings(given) if f.code == "FF303")

    assert severity(facts(estimate(0.05, capped=1.0, cap=0.05))) == "note"
    assert severity(facts(estimate(0.05, capped=1.0, cap=0.05, vanished_share=0.5))) == "suspect"
    assert severity(facts(estimate(0.3, capped=1.0, cap=0.3))) == "suspect"


def test_a_search_by_gradients_that_lost_its_way_is_a_note_where_the_function_follows_them() -> None:
    def severity(judged: Record | None = None, *, whitebox: float = 0.1005, **observed: Any) -> str:
        given = facts(judged or estimate(), attack(blackbox=0.09, whitebox=whitebox), **observed)
        return next(f.severity for f in findings(given) if f.code == "FF502")

    assert severity() == "note"
    assert severity(gradients=steps(0.5, ratio=1.47, correlation=0.72)) == "note", "small kinks"
    assert severity(gradients={}) == "suspect", "nothing was observed"
    assert severity(gradients=steps(0.01, ratio=0.89)) == "suspect", "a jump over the finest step"
    assert severity(gradients=steps(0.5, ratio=1.61)) == "suspect", "FF102 objects"
    assert severity(estimate(vanished_share=0.2)) == "suspect", "FF101 objects"
    assert severity(whitebox=math.inf) == "suspect", "gradients led nowhere at all"


def test_refutations_name_a_stored_point() -> None:
    refuted = [f for _, _, given in MUST for f in findings(given) if f.severity == "refuted"]
    assert {f.code for f in refuted} == {"FF201", "FF203", "FF204", "FF403"}
    assert all(f.witness in ("A/0/witness", "U/0/counterexample", "U/0/nonfinite") for f in refuted)


def test_messages_are_one_line_and_carry_their_figures() -> None:
    for _, _, given in MUST:
        for finding in findings(given):
            assert "\n" not in finding.message and len(finding.message) < 200
            assert all(isinstance(value, float | str | int) for value in finding.evidence.values())
