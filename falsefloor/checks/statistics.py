"""FF301 to FF305: does the estimate follow from its own samples?"""

from __future__ import annotations

from falsefloor.api import Facts, Finding, Severity
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.gradient import VANISHED_SHARE, retested, vanished_share
from falsefloor.checks.reading import ceiling, follows_gradient, is_lower, resampled, said, seen

SAME = 1e-6
FARTHER = 1.5
"""How much farther what a race leaves out must measure: the largest slope of 1,000 points over that of the
race's 20 was at most 1.41 (six models of 10 to 100 classes, all targets of six inputs each)."""
GROWTH = 1.25
"""Growth of a maximum that is more than luck. No over-claim of 474 showed in growth alone. Above 1.1 it
flagged 7 of 469 sound estimates on unmasked models (curved activations, few batches), above 1.25 it flags
2."""


def fit_replaced(facts: Facts) -> list[Finding] | None:
    """FF301: a note where the sample maximum stands in for the fit, suspect where the fit is impossible."""
    judged = facts.judged
    own = said(judged)
    if own.fit is None or judged.claim != "lower_estimate":
        return None
    constant, largest = own.lipschitz, own.gradient_norm_max
    if constant is not None and largest is not None and constant < largest * (1 - SAME):
        message = f"the constant {constant:.4g} lies below a gradient norm {largest:.4g} that was sampled"
        return [found("FF301", message, severity="suspect", lipschitz=constant, largest=largest)]
    if own.fit != "max":
        return []
    because = f": {own.fit_reason}" if own.fit_reason else ""
    return [found("FF301", f"the largest sample stands in for the fit{because}", fit=own.fit)]


def unstable(facts: Facts) -> list[Finding] | None:
    """FF302: the largest sample after half of the batches against the one after all of them.

    Where directed points had reached that height already, the score did not depend on the second half. A note
    where the retest clears it; not where the first half met nothing at all and a few samples decide.
    """
    judged = facts.judged
    own = said(judged)
    half, full = own.maximum_half, own.lipschitz if own.maximum is None else own.maximum
    if half is None or full is None or not is_lower(judged):
        return None
    half = max(half, own.directed_maximum or 0.0)
    if not follows_gradient(judged) and (own.lipschitz or 0.0) > full:
        # differences are measured without a fit: a larger constant is a directed point's
        return []
    if full <= half * GROWTH:
        return []
    message = (
        f"the second half of the batches raised the largest gradient by {full / half - 1:.0%}"
        if half > 0
        else "only the second half of the batches met a gradient that is not zero"
    )
    more = resampled(facts)
    if more is None:
        return [found("FF302", f"{message}: draw more", half=half, full=full)]
    severity: Severity | None = "note" if half > 0 and retested(facts) else None
    message = f"{message}; {more.sentence()}"
    return [found("FF302", message, severity=severity, besides=more.evidence(), half=half, full=full)]


def capped(facts: Facts) -> list[Finding] | None:
    """FF303: a score at the end of its range says "at least"; with a vanished gradient it says nothing."""
    judged = facts.judged
    own = said(judged)
    cap = own.sampling_radius if own.cap is None else own.cap
    if cap is None or judged.claim != "lower_estimate":
        return None
    if not (own.capped == 1 if own.capped is not None else judged.radius >= cap * (1 - SAME)):
        return []
    share, top = vanished_share(facts), ceiling(facts)
    blind = share is not None and share > VANISHED_SHARE
    below = top is not None and top.distance < cap
    doubt = (
        " and the gradient vanished on what was sampled"
        if blind
        else " and a verified adversarial input lies inside"
        if below
        else ""
    )
    return [
        found(
            "FF303",
            f"{judged.radius:.4g} is the end of the estimator's range, not a measured distance{doubt}",
            severity="suspect" if blind or below else "note",
            cap=cap,
        )
    ]


def targets_missing(facts: Facts) -> list[Finding] | None:
    """FF305. A note where those left out were measured to be farther than `FARTHER` times the claim."""
    own = said(facts.judged)
    covered, classes, dropped = own.targets_covered, seen(facts).classes, own.dropped_distance
    if covered is None or classes is None or not is_lower(facts.judged):
        return None
    if covered >= classes - 1:
        return []
    message = f"only {covered:.0f} of {classes - 1:.0f} other classes were looked at"
    if dropped is None or not dropped >= FARTHER * facts.judged.radius:
        return [found("FF305", message, covered=covered, classes=classes)]
    farther = f"{message}; the nearest left out measures {dropped:.4g}, {FARTHER:g} times the claim or more"
    return [found("FF305", farther, severity="note", covered=covered, classes=classes, dropped=dropped)]


check = family(
    {"FF301": fit_replaced, "FF302": unstable, "FF303": capped, "FF305": targets_missing},
    asks="Does the estimate follow from its own samples?",
)
