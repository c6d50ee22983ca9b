"""The conformance kit of checks: pure functions from stored facts to findings."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace

from falsefloor.api import Check, Facts, Finding, NotApplicable, Record
from falsefloor.checks.judge import points_of
from falsefloor.checks.verdicts import SEVERITIES
from falsefloor.plugins.judging import facts_from, facts_plain
from falsefloor.testing.common import Case, Result, bound, common_cases, elsewhere, require, run_cases
from falsefloor.testing.watches import quiet

_LOWER = Record(
    "clever",
    "lower_estimate",
    "autograd",
    0.3,
    {"lipschitz": 0.0, "sampling_radius": 0.3, "zero_share": 1.0, "fit": "max", "interval_low": "nan"},
)
_UPPER = Record("attack", "upper_bound", "autograd", 0.04, {"found_by": "apgd"}, witness="w")
_OBSERVED = {"predicted": 3, "agreement": True, "margin": 1.5, "connected": True}
SAMPLES: Mapping[str, Facts] = {
    "a floor above a ceiling": Facts("linf", _LOWER, (_UPPER,), _OBSERVED),
    "a floor below a ceiling": Facts("linf", replace(_LOWER, radius=0.03), (_UPPER,), _OBSERVED),
    "a ceiling": Facts("l2", _UPPER, (_LOWER,), _OBSERVED),
    "a ceiling that found nothing": Facts("l1", replace(_UPPER, radius=math.inf, witness=None), (), {}),
    "an estimate alone, without evidence": Facts("linf", replace(_LOWER, evidence={}), (), {}),
    "a radius of 0": Facts("linf", replace(_LOWER, radius=0.0), (_UPPER, _LOWER), _OBSERVED),
    "facts of another version": Facts("l2", _LOWER, (_UPPER,), {"new": {"nested": [1, "inf", None]}}),
}
"""Facts as a study stores them: complete, sparse, and with the words "nan" and "inf" for such numbers."""


def check_check(
    check: Check,
    facts: Iterable[Facts] = (),
    *,
    expected_failures: Mapping[str, str] | None = None,
    raises: bool = True,
) -> list[Result]:
    """Run every rule on a check, on `SAMPLES` and the facts given; the rest as for `check_estimator`."""
    cases, name = check_cases(check, facts), type(check).__name__
    return run_cases(cases, expected_failures=expected_failures, raises=raises, name=name)


def check_cases(check: Check, facts: Iterable[Facts] = ()) -> list[Case]:
    """The named checks, not yet run."""
    samples = {**SAMPLES, **{f"the facts given, number {i}": given for i, given in enumerate(facts)}}
    cases = common_cases("check", check)
    cases.append(Case("the same in another process, on another day", lambda: _elsewhere(check, samples)))
    for name, sample in samples.items():
        # each rule its own copy: a check that writes into its facts must not spoil the next rule's
        made = [bound(rule, check, copy.deepcopy(sample)) for rule in (_findings, _pure)]
        cases += [replace(case, name=f"{case.name}: {name}") for case in made]
    return cases


def _findings(check: Check, facts: Facts) -> None:
    """gives sound findings"""
    with quiet():
        findings = list(check(facts))
    for found in findings:
        require(isinstance(found, Finding), f"gives {type(found).__name__}, not a Finding")
        known = ", ".join(check.codes)
        require(found.code in check.codes, f"gives the code {found.code!r}, declares {known}")
        require(found.severity in SEVERITIES, f"{found.code} has the severity {found.severity!r}")
        require(found.message.strip(), f"{found.code} has no message")
        require(
            found.severity != "refuted" or found.witness is not None,
            f"{found.code} refutes without a witness; a refutation carries a point against the claim",
        )
        accused = next(
            (r for r in facts.others if r.witness is not None and r.witness == found.witness), None
        )
        require(
            found.severity != "refuted" or found.witness in points_of(facts),
            f"{found.code} refutes by {found.witness!r}, which no record and no observation has",
        )
        require(
            found.severity != "refuted" or accused is None or accused.radius < facts.judged.radius,
            f"{found.code} refutes {facts.judged.radius:g} by a point that lies farther away",
        )
        for name, value in found.evidence.items():
            plain = isinstance(value, str | int | float)
            require(plain, f"{found.code} has the evidence {name}={value!r}; give numbers or words")


def _pure(check: Check, facts: Facts) -> None:
    """same facts, same findings"""
    before = copy.deepcopy(facts)
    first, second = list(check(facts)), list(check(facts))
    require(first == second, "gives other findings for the same facts")
    require(facts == before, "changes the facts it is given")
    other = list(check(replace(facts, others=tuple(reversed(facts.others)))))
    require(_bag(other) == _bag(first), "depends on the order of the other records")


def _elsewhere(check: Check, samples: Mapping[str, Facts]) -> None:
    asked = [facts for facts in samples.values() if _answered(check, facts) is not None]
    here = [_answered(check, facts_from(json.loads(json.dumps(facts_plain(facts))))) or [] for facts in asked]
    answer = elsewhere("check", check, facts=[facts_plain(facts) for facts in asked])
    same = answer["digest"] == repr([[astuple(one) for one in findings] for findings in here])
    require(same, "finds something else in another process, with another clock and hash seed")


def _answered(check: Check, facts: Facts) -> list[Finding] | None:
    try:
        return list(check(copy.deepcopy(facts)))
    except NotApplicable:
        return None


def _bag(findings: Iterable[Finding]) -> list[str]:
    return sorted(json.dumps([f.code, f.severity, f.message], sort_keys=True) for f in findings)
