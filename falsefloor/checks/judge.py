"""The judge: findings in, one verdict out, never stronger than the evidence.

The verdict is the gravest of: refuted (a stored point contradicts the claim), suspect (statistical
evidence), vacuous (true but useless), unchecked (what would check it did not run), held. It is a pure
function of stored facts, so old runs can be judged again and late facts change early verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from falsefloor.api import Check, Facts, Finding, NotApplicable, Record
from falsefloor.checks.catalogue import CATALOGUE, found
from falsefloor.checks.reading import said, seen
from falsefloor.checks.verdicts import MISCLASSIFIED, SEVERITIES, Verdict, rank

TELLING = (
    *("FF204", "FF201", "FF203", "FF403"),
    *("FF103", "FF101", "FF104", "FF102", "FF105", "FF502", "FF205", "FF402", "FF401", "FF202"),
    *("FF303", "FF305", "FF302", "FF301", "FF503", "FF505", "FF701", "FF602"),
)
"""Within a severity, what says most about the cause comes first; other codes follow by name."""
REPAIRED = frozenset(("FF603",))
"""Errors that were put right before anything was measured."""


@dataclass(frozen=True)
class Judgement:
    """findings: gravest and most telling first, each once; reason: a phrase for one table line; checks: how
    many rules had the facts they need."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    reason: str
    checks: int = 0


def judge(facts: Facts, checks: Sequence[Check], *, notes: Sequence[Finding] = ()) -> Judgement:
    """Judge one estimate.

    notes: findings from elsewhere, such as the estimator's own warnings. A check that raises becomes FF901
    and never reaches the caller. A refutation without a stored witness counts as suspicion, and so does one
    of a subject whose answers change when it is asked again: its points need not replay.
    """
    facts, elsewhere = _there(facts)
    gathered: list[Finding] = []
    ran, broken = 0, False
    for check in checks:
        findings, count, failed = _ask(check, facts)
        gathered += [_bounded(facts, finding) for finding in findings]
        ran += count
        broken = broken or failed
    # what a rule found says it with evidence; a remark of the same code adds nothing
    known = {finding.code for finding in gathered}
    gathered += [_bounded(facts, note) for note in notes if note.code not in known]
    if any(_wavers(finding) for finding in gathered):
        # no point of such a subject can be promised to replay
        gathered = [replace(f, severity="suspect") if f.severity == "refuted" else f for f in gathered]
    unique = {(f.code, f.severity, f.message, f.witness or ""): f for f in gathered}
    ranked = tuple(unique[key] for key in sorted(unique, key=lambda key: _rank(unique[key])))
    gravest = ranked[0] if ranked else None
    if gravest is not None and gravest.severity != "error" and gravest.severity != "note":
        names = {code: info.name for check in checks for code, info in check.codes.items()}
        return Judgement(gravest.severity, ranked, _phrase(gravest, names.get(gravest.code, "")), ran)
    stopped = next((f for f in ranked if f.severity == "error" and f.code not in REPAIRED), None)
    missing = _phrase(stopped) if stopped else elsewhere or _missing(facts, broken=broken)
    if missing:
        return Judgement("unchecked", ranked, missing, ran)
    if seen(facts).misclassified:
        return Judgement("unchecked", ranked, MISCLASSIFIED, ran)  # nothing was estimated, nothing held
    spent = seen(facts).queries
    return Judgement("held", ranked, f"{ran} checks, {spent.forward + spent.backward:,.0f} queries", ran)


def _there(facts: Facts) -> tuple[Facts, str]:
    """The facts that bear on the function that a claim is about, and what is said of it where that is not the
    subject: points of the subject's refute nothing there, and nothing here checks it."""
    about = said(facts.judged).about
    if about is None:
        return facts, ""
    others = [record for record in facts.others if said(record).about == about]
    kept = {name: facts.observed[name] for name in _SUBJECTLESS if name in facts.observed}
    words = "" if seen(facts).misclassified else f"about another function: {about}"
    return replace(facts, others=others, observed=kept), words


_SUBJECTLESS = ("error", "misclassified", "queries", "classes", "arrays")
"""What is observed of an input, whichever function of it a claim is about."""


def _missing(facts: Facts, *, broken: bool) -> str:
    """What would check the claim and did not run; nothing where all did."""
    judged = facts.judged
    if not facts.observed:
        return "not observed"
    if seen(facts).misclassified:
        return ""
    if "error" in facts.observed:
        return "the observation failed"
    if broken:
        return "FF901 check failed"
    if judged.claim == "upper_bound":
        return "" if judged.witness is not None and math.isfinite(judged.radius) else "nothing to verify"
    ceilings = [record for record in facts.others if record.claim == "upper_bound"]
    if any(_checked(record) for record in ceilings):
        return ""
    dropped = [said(record) for record in ceilings if said(record).unsettled == 1]
    if any(one.batch_only == 1 for one in dropped):
        return "the upper bound holds in a batch only"
    if dropped:
        return "no upper bound held"
    return "no upper bound found anything" if ceilings else "no upper bound"


def _checked(record: Record) -> bool:
    """A point was found and holds: a search that found nothing, or nothing that held, checked no floor."""
    return record.witness is not None and math.isfinite(record.radius)


def _ask(check: Check, facts: Facts) -> tuple[list[Finding], int, bool]:
    """A check's findings, how many of its rules had their facts, and whether it failed.

    A check that offers `rules`, a mapping from code to a function that answers None where its facts are
    missing, is asked rule by rule: one that fails takes no other down, and only those that ran are counted.
    So is none that declines with `NotApplicable`.
    """
    rules, each = getattr(check, "rules", None), 1
    if not isinstance(rules, Mapping):
        rules = {"+".join(_codes(check)) or type(check).__name__: check}
        each = max(1, len(_codes(check)))
    findings: list[Finding] = []
    count, failed = 0, False
    for name, rule in rules.items():
        try:
            answer = rule(facts)
            if answer is None:
                continue
            listed = list(answer)
            wrong = next((f for f in listed if not _is_finding(f)), None)
            if wrong is not None:
                raise TypeError(f"{wrong!r} is no finding with a known severity")
        except NotApplicable:
            continue
        except Exception as error:
            findings.append(found("FF901", f"{name}: {type(error).__name__}: {error}"[:300]))
            failed = True
            continue
        findings += listed
        count += each
    return findings, count, failed


def _codes(check: Check) -> list[str]:
    codes = getattr(check, "codes", {})
    return sorted(str(code) for code in codes) if isinstance(codes, Mapping) else []


def _is_finding(value: object) -> bool:
    return (
        isinstance(value, Finding)
        and isinstance(value.code, str)
        and isinstance(value.message, str)
        and value.severity in SEVERITIES
        and (value.witness is None or isinstance(value.witness, str))
    )


def _bounded(facts: Facts, finding: Finding) -> Finding:
    """A refutation carries a stored point, or it is suspicion."""
    if finding.severity != "refuted" or finding.witness in points_of(facts):
        return finding
    return replace(finding, severity="suspect")


def points_of(facts: Facts) -> frozenset[str]:
    """The names of the stored points that a finding may refute by."""
    of_records = (record.witness for record in (facts.judged, *facts.others))
    return frozenset(filter(None, (*seen(facts).arrays.values(), *of_records)))


def _wavers(finding: Finding) -> bool:
    """Whether the subject was seen to answer the same question differently when asked again (FF105)."""
    if finding.code != "FF105":
        return False
    # a remark has no evidence: the core's own, of a subject that changed while it was estimated
    moved = finding.evidence.get("repeat_shift")
    return moved is None or (isinstance(moved, float) and moved > 0)


def _rank(finding: Finding) -> tuple[int, int, str, str, str]:
    telling = TELLING.index(finding.code) if finding.code in TELLING else len(TELLING)
    return rank(finding.severity), telling, finding.code, finding.message, finding.witness or ""


def _phrase(finding: Finding, name: str = "") -> str:
    """A finding in a few words: by its code's name, or the beginning of what it says."""
    known = CATALOGUE.get(finding.code)
    name = known.info.name if known else name or finding.message.split(":")[0][:40]
    return f"{finding.code} {name}"
