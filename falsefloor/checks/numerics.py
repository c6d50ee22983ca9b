"""FF401 to FF403: is it the function that was measured, or its floating-point format?"""

from __future__ import annotations

from falsefloor.api import Facts, Finding, Severity
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.reading import ball, follows_gradient, is_lower, nearest_row, said, seen, seen_gap
from falsefloor.observed import Seen

MOVED = 0.01
SUBNORMAL = 0.5
"""Most of the gradient: weight decay alone left 3 to 8 % of a linear model's weights subnormal."""
SATURATED = 0.1


def precision_matters(facts: Facts) -> list[Finding] | None:
    """FF401. The measured gradient is autograd's: it counts only against estimates that follow that one."""
    ladder = seen(facts).precision
    margin = ladder.margin_shift
    follows = follows_gradient(facts.judged) and facts.judged.gradient == "autograd"
    gradient = ladder.gradient_shift if follows else None
    subnormal = ladder.subnormal if follows else None
    if margin is None and gradient is None and subnormal is None:
        return None
    if seen(facts).repeats.shift:
        return None  # what moves when it is asked again (FF105) says nothing about a format
    if margin is not None and margin > MOVED:
        message = f"in float64 the margin is another by {margin:.0%}"
        return [found("FF401", message, margin_shift=margin)]
    if gradient is not None and gradient > MOVED:
        message = f"in float64 the gradient's norm is another by {gradient:.0%}"
        return [found("FF401", message, gradient_shift=gradient)]
    if subnormal is not None and subnormal > SUBNORMAL:
        message = f"{subnormal:.0%} of the gradient's entries are below the normal range of the format"
        return [found("FF401", message, subnormal=subnormal)]
    return []


def saturated(facts: Facts) -> list[Finding] | None:
    """FF402: suspect where saturation meets an estimate that follows gradients, else a note."""
    outputs = seen(facts).outputs
    share = outputs.saturated
    if share is None:
        return None
    if share > SATURATED:
        message = f"{share:.0%} of the outputs around the input are stuck at one extreme value"
        severity: Severity = "suspect" if follows_gradient(facts.judged) else "note"
        return [found("FF402", message, severity=severity, saturated=share)]
    if outputs.probabilities:
        message = "the outputs are probabilities: margins saturate where the model is certain"
        return [found("FF402", message, severity="note")]
    return []


def non_finite(facts: Facts) -> list[Finding] | None:
    """FF403."""
    judged = facts.judged
    if not facts.observed or not is_lower(judged):
        return None
    gap, raised = seen_gap(facts), seen(facts).raises or Seen()
    if gap is not None and gap.distance <= judged.radius:
        message = f"at distance {gap.distance:.4g}, inside the claim, the logits are not finite"
        return [found("FF403", message, witness=gap.witness, distance=gap.distance)]
    failed = raised.distance
    if failed is not None and failed <= judged.radius:
        message = f"at distance {failed:.4g}, inside the claim, the model raises {raised.message}"
        return [found("FF403", message, severity="suspect", distance=failed)]
    share = said(judged).nonfinite_share
    if share is None and follows_gradient(judged):
        row = nearest_row(facts, ball(judged))
        share = None if row is None else row.nonfinite
    if share:
        message = f"{share:.0%} of the sampled gradients are not finite"
        return [found("FF403", message, severity="suspect", nonfinite_share=share)]
    return []


check = family(
    {"FF401": precision_matters, "FF402": saturated, "FF403": non_finite},
    asks="Is it the function that was measured, or its floating-point format?",
)
