"""FF601 to FF603 and FF701: was the question a sensible one, and does the answer say anything?"""

from __future__ import annotations

import math

from falsefloor.api import Facts, Finding
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.reading import ceiling, is_lower, seen

USELESS = 5.0


def misclassified(facts: Facts) -> list[Finding] | None:
    """FF601."""
    known = seen(facts)
    if known.misclassified is None:
        return None
    if not known.misclassified:
        return []
    label, answer = known.label, known.predicted
    if known.tied:
        return [found("FF601", f"classes {label} and {answer} tie: the distance is 0")]
    return [found("FF601", f"the model answers {answer}, the label is {label}: the distance is 0")]


def outside(facts: Facts) -> list[Finding] | None:
    """FF602."""
    if not facts.observed:
        return None
    if not seen(facts).outside:
        return []
    return [found("FF602", "the input lies outside the domain's bounds, so no distance in it is defined")]


def training(facts: Facts) -> list[Finding] | None:
    """FF603."""
    if not facts.observed:
        return None
    if not seen(facts).training:
        return []
    return [found("FF603", "the model came in training mode; it was put into evaluation mode")]


def vacuous(facts: Facts) -> list[Finding] | None:
    """FF701, by the nearest adversarial input known, whoever found it."""
    judged = facts.judged
    if not is_lower(judged) or seen(facts).misclassified:
        return None
    top, grey = ceiling(facts), seen(facts).grey_level
    if top is None and grey is None:
        return None
    if top is not None and top.distance > USELESS * judged.radius:
        ratio = top.distance / judged.radius if judged.radius > 0 else math.inf
        message = (
            f"the claim is true, but the nearest known adversarial input is {ratio:.3g} times as far"
            if judged.radius > 0
            else f"a radius of 0 says nothing; the nearest known adversarial input is {top.distance:.4g} away"
        )
        return [found("FF701", message, ratio=ratio, distance=top.distance)]
    if grey is not None and judged.radius < grey:
        message = f"the claim is below one grey level ({grey:.4g}) of an 8-bit image"
        return [found("FF701", message, grey_level=grey)]
    return []


check = family(
    {"FF601": misclassified, "FF602": outside, "FF603": training, "FF701": vacuous},
    asks="Was the question a sensible one, and does the answer say anything?",
)
