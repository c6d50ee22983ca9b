"""The judge: one verdict, never stronger than the evidence, whatever the checks do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_facts import ARRAYS, OBSERVED, attack, bare, estimate, facts

from falsefloor.api import Check, CodeInfo, Facts, Finding
from falsefloor.checks import ceiling, contradiction, domain, gradient, numerics, statistics
from falsefloor.checks.judge import Judgement, judge
from falsefloor.checks.verdicts import SEVERITIES, VERDICTS

OURS: tuple[Check, ...] = tuple(
    module.check for module in (gradient, contradiction, statistics, numerics, ceiling, domain)
)
STORED = "A/0/witness"


@dataclass(frozen=True)
class Says:
    """A third-party check that returns what it is told to."""

    answer: Any
    api_version: ClassVar[int] = 1
    codes: ClassVar[Mapping[str, CodeInfo]] = {"acme:X1": CodeInfo("n", "note", "s", "c", "s")}

    def __call__(self, given: Facts, /) -> Iterator[Finding]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return iter(self.answer)


def verdict(given: Facts, **options: Any) -> str:
    return judge(given, OURS, **options).verdict


def test_a_sound_estimate_is_held_and_says_how_hard_it_was_tried() -> None:
    judged = judge(facts(), OURS)
    assert (judged.verdict, judged.findings) == ("held", ())
    assert judged.reason == f"{judged.checks} checks, 3,174 queries"
    assert 15 <= judged.checks <= 24


def test_a_settled_attack_is_held() -> None:
    assert verdict(facts(attack(), estimate())) == "held"


def test_only_checks_that_had_their_facts_are_counted() -> None:
    poor = {"misclassified": False, "classes": 10}
    few = judge(Facts("linf", bare(0.05), (attack(0.1),), poor), OURS)
    assert few.verdict == "held"
    assert few.checks < judge(facts(), OURS).checks


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Facts("linf", estimate(), (attack(),), {}), "not observed"),
        (Facts("linf", estimate(), (), OBSERVED), "no upper bound"),
        (facts(estimate(), estimate()), "no upper bound"),
        (facts(estimate(), attack(0.2, None)), "no upper bound found anything"),
        (facts(estimate(), attack(math.inf, None)), "no upper bound found anything"),
        (facts(estimate(), attack(math.inf, None, unsettled=1.0)), "no upper bound held"),
        (
            facts(estimate(), attack(math.inf, None, unsettled=1.0, batch_only=1.0)),
            "the upper bound holds in a batch only",
        ),
        (facts(attack(math.inf, None), estimate()), "nothing to verify"),
        (facts(attack(0.2, None), estimate()), "nothing to verify"),
        (facts(error="ValueError: no"), "the observation failed"),
        (facts(outside=True), "FF602 outside the domain"),
    ],
)
def test_unchecked_says_what_did_not_run(given: Facts, reason: str) -> None:
    judged = judge(given, OURS)
    assert (judged.verdict, judged.reason) == ("unchecked", reason)


def test_a_late_attack_refutes_an_early_floor() -> None:
    floor, blind = estimate(0.3), {**OBSERVED, "counterexample": None}
    assert verdict(Facts("linf", floor, (), blind)) == "unchecked"
    judged = judge(Facts("linf", floor, (attack(),), blind), OURS)
    assert (judged.verdict, judged.reason) == ("refuted", "FF201 floor above ceiling")
    assert judged.findings[0].witness == STORED


def test_of_a_misclassified_input_nothing_was_checked_and_nothing_held() -> None:
    judged = judge(
        Facts("linf", estimate(0.0), (), {"misclassified": True, "label": 1, "predicted": 2}), OURS
    )
    assert (judged.verdict, judged.reason) == ("unchecked", "FF601 misclassified")


def test_training_mode_was_repaired_and_does_not_weigh() -> None:
    judged = judge(facts(training=True), OURS)
    assert judged.verdict == "held"
    assert [f.code for f in judged.findings] == ["FF603"]


def test_the_most_telling_reason_comes_first() -> None:
    masked = facts(
        estimate(0.3, capped=1.0, cap=0.3, lipschitz=0.0, gradient_norm_max=0.0, vanished_share=1.0),
    )
    judged = judge(masked, OURS)
    codes = [f.code for f in judged.findings]
    assert codes[:2] == ["FF201", "FF203"]
    assert codes.index("FF101") < codes.index("FF202") < codes.index("FF303")


def test_a_check_that_raises_becomes_a_finding_and_the_others_still_judge() -> None:
    judged = judge(facts(), [Says(RuntimeError("boom")), *OURS])
    assert judged.verdict == "unchecked"
    assert judged.reason == "FF901 check failed"
    assert "RuntimeError: boom" in judged.findings[0].message
    assert judge(facts(estimate(0.3)), [Says(RuntimeError("boom")), *OURS]).verdict == "refuted"


@pytest.mark.parametrize("answer", [[1], ["FF201"], [Finding("acme:X1", "fatal", "no")], 7])  # type: ignore[arg-type]
def test_what_is_no_finding_is_not_believed(answer: Any) -> None:
    judged = judge(facts(), [Says(answer), *OURS])
    assert (judged.verdict, judged.findings[0].code) == ("unchecked", "FF901")


@pytest.mark.parametrize("witness", [None, "nowhere"])
def test_a_refutation_without_a_stored_point_is_suspicion(witness: str | None) -> None:
    said = Finding("acme:X1", "refuted", "because", witness=witness)
    judged = judge(facts(), [Says([said]), *OURS])
    assert (judged.verdict, judged.findings[0].severity) == ("suspect", "suspect")


def test_a_foreign_refutation_with_a_stored_point_counts() -> None:
    said = Finding("acme:X1", "refuted", "their rule: details", witness=STORED)
    judged = judge(facts(), [Says([said]), *OURS])
    assert (judged.verdict, judged.reason) == ("refuted", "acme:X1 n")


def test_an_estimators_own_remark_weighs_and_is_not_repeated() -> None:
    remark = Finding("FF305", "suspect", "raced")
    assert verdict(facts(), notes=[remark]) == "suspect"
    judged = judge(facts(estimate(targets_covered=3.0)), OURS, notes=[remark])
    assert [f.code for f in judged.findings] == ["FF305"]
    assert judged.findings[0].evidence


severities = st.sampled_from(SEVERITIES)
findings = st.lists(
    st.builds(
        Finding,
        code=st.sampled_from(["FF101", "FF201", "FF603", "acme:A", "acme:B"]),
        severity=severities,
        message=st.sampled_from(["one", "two"]),
        witness=st.sampled_from([None, STORED, "nowhere"]),
    ),
    max_size=5,
)
bases = st.sampled_from(
    [facts(), facts(estimate(0.3)), facts(attack(), estimate()), Facts("linf", estimate(), (), {})]
)


@settings(max_examples=60, deadline=None)
@given(said=findings, base=bases, order=st.randoms(use_true_random=False))
def test_the_order_of_checks_and_findings_does_not_matter(
    said: list[Finding], base: Facts, order: Any
) -> None:
    def shuffled() -> Judgement:
        mixed = [Says([finding]) for finding in said]
        checks: list[Check] = [*mixed, *OURS]
        order.shuffle(checks)
        return judge(base, checks)

    assert shuffled() == shuffled()


@settings(max_examples=60, deadline=None)
@given(said=findings, base=bases)
def test_a_verdict_is_never_stronger_than_the_evidence(said: list[Finding], base: Facts) -> None:
    judged = judge(base, [Says(said), *OURS])
    before = judge(base, OURS)
    grave = {f.severity for f in judged.findings}
    assert VERDICTS.index(judged.verdict) <= VERDICTS.index(before.verdict)
    if judged.verdict in ("refuted", "suspect", "vacuous"):
        assert judged.verdict in grave
    if judged.verdict == "refuted":
        assert any(f.severity == "refuted" and f.witness not in (None, "nowhere") for f in judged.findings)
    if judged.verdict == "held":
        assert not grave & {"refuted", "suspect", "vacuous"}
        assert not any(f.severity == "error" and f.code != "FF603" for f in judged.findings)


@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0.0, 2.0), bound=st.floats(1e-6, 2.0))
def test_above_a_verified_ceiling_nothing_is_ever_held(radius: float, bound: float) -> None:
    judged = verdict(facts(estimate(radius), attack(bound), counterexample=None))
    assert (judged == "refuted") == (radius > bound * (1 + 1e-6))


@given(
    radius=st.floats(1e-3, 1.0),
    seen=st.floats(1e-3, 1.0) | st.none(),
    met=st.floats(1e-3, 1.0) | st.none(),
    other=st.floats(1e-3, 1.0) | st.none(),
)
@settings(max_examples=200, deadline=None)
def test_no_ceiling_is_held_more_than_two_percent_above_a_point_that_is_known(
    radius: float, seen: float | None, met: float | None, other: float | None
) -> None:
    """Whoever knows it: the observation, any call of anybody, another upper bound."""
    arrays = {**ARRAYS, "met-changed": "U/0/met-changed"}
    changed = met and {"distance": met, "finder": "clever", "array": "met-changed"}
    looked = seen and {"distance": seen, "predicted": 8, "array": "counterexample"}
    others = [attack(other, "B/0/witness")] if other else [estimate(1e-4)]
    given = facts(attack(radius), *others, counterexample=looked, met={"changed": changed}, arrays=arrays)
    nearest = min((one for one in (seen, met, other) if one), default=math.inf)
    assert (verdict(given) == "held") is (radius <= 1.02 * nearest)


def test_a_subject_that_wavers_is_suspect_since_no_point_of_it_can_be_promised_to_replay() -> None:
    above = estimate(0.2)
    assert judge(facts(above), OURS).verdict == "refuted"
    wavering = judge(facts(above, repeats={"shift": 0.01, "label": False, "count": 3}), OURS)
    assert wavering.verdict == "suspect"
    assert {"FF105", "FF201"} <= {f.code for f in wavering.findings}, "both are told all the same"
    batched = judge(facts(above, batch={"shift": 0.01, "label": False}), OURS)
    assert batched.verdict == "refuted", "alone and in its batch the point was tried"


def test_a_remark_that_the_subject_changed_meanwhile_weighs_as_much_as_the_check() -> None:
    remark = Finding("FF105", "suspect", "after the estimate the model answers differently")
    contradicted = facts(estimate(0.3), attack(0.1))
    assert verdict(contradicted) == "refuted"
    assert verdict(contradicted, notes=[remark]) == "suspect"


def test_siblings_share_what_was_observed_and_not_their_queries() -> None:
    one = facts()
    other = replace(one, observed={**one.observed, "queries": {"forward": 5, "backward": 2}})
    assert judge(one, OURS).reason.endswith(" checks, 3,174 queries")
    assert judge(other, OURS).reason.endswith(" checks, 7 queries")
    changed = replace(one, observed={**other.observed, "label": 4, "misclassified": True})
    assert judge(changed, OURS).reason == "FF601 misclassified"
    assert judge(one, OURS).verdict == "held"
