"""FF501 to FF504: is the upper bound worth comparing with?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from falsefloor.api import CodeInfo, Facts, Finding
from falsefloor.checks.reading import evidence, follows_gradient
from falsefloor.checks.rule import Rules, codes_of, found, run

ORDER = 0.9
GAIN = 0.05


def found_nothing(facts: Facts) -> list[Finding] | None:
    """FF501."""
    if facts.judged.claim != "upper_bound":
        return None
    if math.isfinite(facts.judged.radius) or _dropped(facts):
        return []
    return [found("FF501", "the search found no adversarial input; that is no evidence that none exists")]


def wrong_order(facts: Facts) -> list[Finding] | None:
    """FF502: told to the estimates that follow autograd, whose gradient it is that misleads."""
    if not follows_gradient(facts.judged) or facts.judged.gradient != "autograd":
        return None
    ran = False
    for record in facts.others:
        white, black = evidence(record, "whitebox"), evidence(record, "blackbox")
        if record.claim != "upper_bound" or white is None or black is None:
            continue
        ran = True
        if black < ORDER * white:
            message = f"a search without gradients got to {black:.4g}, with them only to {white:.4g}"
            return [found("FF502", message, whitebox=white, blackbox=black)]
    return [] if ran else None


def not_converged(facts: Facts) -> list[Finding] | None:
    """FF503."""
    gain = evidence(facts.judged, "last_tenth_gain")
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
    return [
        found(
            "FF504",
            "alone, the adversarial input does not hold, nor 0.1 % further out: it is not used",
        )
    ]


def _dropped(facts: Facts) -> bool:
    """A witness was returned and did not settle: said by the core, or a finite radius without a point.

    A radius of 0 needs none: the input itself is the point.
    """
    judged = facts.judged
    return evidence(judged, "unsettled") == 1 or (0 < judged.radius < math.inf and judged.witness is None)


RULES: Rules = {
    "FF501": found_nothing,
    "FF502": wrong_order,
    "FF503": not_converged,
    "FF504": unstable_witness,
}


@dataclass(frozen=True)
class CeilingCheck:
    """The family as a plugin sees it."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[Mapping[str, CodeInfo]] = codes_of(RULES)
    rules: ClassVar[Rules] = RULES

    def __call__(self, facts: Facts, /) -> Iterator[Finding]:
        return run(RULES, facts)


check = CeilingCheck()
