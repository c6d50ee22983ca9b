"""FF501 to FF505: is the upper bound worth comparing with?"""

from __future__ import annotations

import math

from falsefloor.api import Facts, Finding, Severity
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.gradient import followed
from falsefloor.checks.reading import ceiling, follows_gradient, said, seen_gap
from falsefloor.evidence import Evidence

ORDER = 0.9
GAIN = 0.05
LOOSE = 1.02
"""An upper bound farther than so many times a known point is true, and not what is known."""


def found_nothing(facts: Facts) -> list[Finding] | None:
    """FF501."""
    if facts.judged.claim != "upper_bound":
        return None
    if math.isfinite(facts.judged.radius) or _dropped(facts):
        return []
    return [found("FF501", "the search found no adversarial input; that is no evidence that none exists")]


def wrong_order(facts: Facts) -> list[Finding] | None:
    """FF502: told to the estimates that follow autograd, whose gradient it is that misleads.

    A note where the gradient was seen to be `followed`: then it is the search that lost its way, among the
    kinks of median filters, ranks and sorts, each of which turns it.
    """
    if not follows_gradient(facts.judged) or facts.judged.gradient != "autograd":
        return None
    ran = False
    for record in facts.others:
        if record.claim != "upper_bound":
            continue
        own = Evidence.read(record.evidence)
        white, black = own.whitebox, own.blackbox
        if white is None or black is None:
            continue
        ran = True
        if black < ORDER * white:
            message = f"a search without gradients got to {black:.4g}, with them only to {white:.4g}"
            true = math.isfinite(white) and followed(facts)
            if true:
                message += "; there the function follows its gradient, from kink to kink: none is hidden"
            severity: Severity | None = "note" if true else None
            return [found("FF502", message, severity=severity, whitebox=white, blackbox=black)]
    return [] if ran else None


def not_converged(facts: Facts) -> list[Finding] | None:
    """FF503."""
    gain = said(facts.judged).last_tenth_gain
    if facts.judged.claim != "upper_bound" or gain is None:
        return None
    if gain <= GAIN:
        return []
    message = f"the last tenth of the steps still improved the distance by {gain:.0%}: give it more steps"
    return [found("FF503", message, last_tenth_gain=gain)]


def unstable_witness(facts: Facts) -> list[Finding] | None:
    """FF504."""
    if facts.judged.claim != "upper_bound":
        return None
    if not _dropped(facts):
        return []
    if said(facts.judged).batch_only == 1:
        message = "the adversarial input changes class in a batch and not alone: it is not used"
        return [found("FF504", message)]
    return [found("FF504", "the adversarial input does not hold, nor 0.1 % further out: it is not used")]


def loose(facts: Facts) -> list[Finding] | None:
    """FF505, by the nearest point of another class, or without an answer, that anybody has met."""
    judged = facts.judged
    if judged.claim != "upper_bound" or not 0 < judged.radius < math.inf or judged.witness is None:
        return None
    gap = seen_gap(facts)
    known = [point for point in (ceiling(facts), gap) if point is not None]
    if not known:
        return None
    nearest = min(known, key=lambda point: point.distance)
    if judged.radius <= LOOSE * nearest.distance:
        return []
    ratio = judged.radius / nearest.distance if nearest.distance > 0 else math.inf
    found_it = "met a point without finite logits" if nearest is gap else "has a verified adversarial input"
    message = (
        f"{nearest.finder} {found_it} at {nearest.distance:.4g}: this upper bound is {ratio - 1:.0%} above it"
    )
    return [found("FF505", message, witness=nearest.witness, ratio=ratio, distance=nearest.distance)]


def _dropped(facts: Facts) -> bool:
    """A witness was returned and did not settle: said by the core, or a finite radius without a point.

    A radius of 0 needs none: the input itself is the point.
    """
    judged = facts.judged
    return said(judged).unsettled == 1 or (0 < judged.radius < math.inf and judged.witness is None)


check = family(
    {
        "FF501": found_nothing,
        "FF502": wrong_order,
        "FF503": not_converged,
        "FF504": unstable_witness,
        "FF505": loose,
    },
    asks="Is the upper bound worth comparing with?",
)
