"""FF101 to FF105: is what the estimator followed a gradient of the function at all?"""

from __future__ import annotations

import re
from dataclasses import replace

from falsefloor.api import Facts, Finding, Severity
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.reading import (
    CALM,
    Regime,
    Resampled,
    ball,
    ceiling,
    differing_pair,
    follows_gradient,
    inner_row,
    nearest_row,
    regime,
    resampled,
    said,
    secants,
    seen,
)
from falsefloor.numerics.agreement import continuous, disagreement
from falsefloor.observed import Gradients, Step

VANISHED_SHARE = 0.1
SPIKE = 10.0
"""Largest over median gradient norm; unmasked models reach 2.7."""
RECURRENT = (
    "cuDNN's recurrent layers: call the model under torch.backends.cudnn.flags(enabled=False), or leave these"
    " layers in training mode, without dropout"
)
SHIFT = 1e-4
"""Relative change of a logit with the batch's composition: AutoAttack's limit for repeats."""


def vanished_share(facts: Facts) -> float | None:
    """The share of samples whose gradient vanished: the estimator's own, else the observed one."""
    own = said(facts.judged)
    if own.vanished_share is not None or own.zero_share is not None:
        return own.zero_share if own.vanished_share is None else own.vanished_share
    if not follows_gradient(facts.judged):
        return None
    row = nearest_row(facts, ball(facts.judged))
    return None if row is None else row.vanished


def vanished(facts: Facts) -> list[Finding] | None:
    """FF101."""
    share = vanished_share(facts) if facts.judged.claim == "lower_estimate" else None
    if share is None:
        return None
    if share <= VANISHED_SHARE:
        return []
    pair = differing_pair(facts)
    proof = ", while the margin is known to change" if pair else ""
    return [
        found(
            "FF101",
            f"on {share:.0%} of the samples the gradient is too small to matter anywhere{proof}",
            witness=pair,
            vanished_share=share,
        )
    ]


def scales_disagree(facts: Facts) -> list[Finding] | None:
    """FF102, at the claim and at the ceiling: perturbations of those lengths are in question.

    Not at the ball that was sampled: where the largest balls decide, as on large inputs, the function bends
    within them, and the claim is not about that.
    """
    if not follows_gradient(facts.judged):
        return None
    known = ceiling(facts)
    radii = [facts.judged.radius, *([known.distance] if known else [])]
    rows = [row for radius in radii if (row := inner_row(facts, radius)) is not None]
    if not rows:
        return None
    for row in rows:
        kinked = any(continuous(one.ratio, one.correlation, share=one.h or 1.0) for one in row.steps)
        # coarse half steps first: they are the scales that a perturbation lives on
        for step in sorted(row.steps, key=lambda step: -(step.h or 0.0)):
            finding = _disagreement(row, step, kinked=kinked)
            if finding is not None:
                return [finding]
    return []


def _disagreement(row: Gradients, step: Step, *, kinked: bool) -> Finding | None:
    share, ratio, correlation, radius = step.h, step.ratio, step.correlation, row.radius
    if share is None or ratio is None or radius is None:
        return None
    what = disagreement(ratio, correlation, share=share, kinked=kinked)
    if what is None:
        return None
    return found(
        "FF102",
        f"over steps of {share * radius:.3g} the gradient {what}",
        ratio=ratio,
        correlation=0.0 if correlation is None else correlation,
        step=share * radius,
        radius=radius,
    )


def followed(facts: Facts) -> bool:
    """Whether at the ceiling, or at the widest scale inside it, the function was seen to follow the judged
    gradient: no jump over a fine step, and neither FF101 nor FF102."""
    known = ceiling(facts)
    row = None if known is None else inner_row(facts, known.distance)
    if row is None or not any(
        continuous(one.ratio, one.correlation, share=one.h or 1.0) for one in row.steps
    ):
        return False
    return not vanished(facts) and not scales_disagree(facts)


def graph_cut(facts: Facts) -> list[Finding] | None:
    """FF103."""
    connected, judged = seen(facts).connected, facts.judged
    if connected is None or not follows_gradient(judged) or judged.gradient != "autograd":
        return None
    if not secants(facts):
        return None
    pair = differing_pair(facts)
    if connected or pair is None:
        return []
    return [
        found(
            "FF103", f"{_cut(seen(facts).backward)}, yet the margin changes between two points", witness=pair
        )
    ]


def _cut(raised: str | None) -> str:
    """Why there is no gradient: the graph ends, or something was raised where one was asked for."""
    if not raised:
        return "no gradient path leads from the input to the logits"
    first = raised.partition("\n")[0].rstrip(". ")
    cure = f" ({RECURRENT})" if re.search(r"cudnn.*RNN|RNN.*cudnn", first, re.IGNORECASE) else ""
    return f"the model raises where its gradient is asked for, so that all are zero: {first}{cure}"


def spiky(facts: Facts) -> list[Finding] | None:
    """FF104."""
    judged = facts.judged
    if judged.claim != "lower_estimate":
        return None
    median, largest = said(judged).gradient_norm_median, said(judged).gradient_norm_max
    if median is None or largest is None:
        row = nearest_row(facts, ball(judged)) if follows_gradient(judged) else None
        median, largest = (None, None) if row is None else (row.median, row.max)
    if median is None or largest is None:
        return None
    if largest <= 0 or (median > 0 and largest <= SPIKE * median):
        return []
    ratio = largest / median if median > 0 else float("inf")
    message = (
        f"the largest gradient is {ratio:.3g} times the median: rare steep pieces decide the score"
        if median > 0
        else "most sampled gradients are exactly zero and some are not: the score depends on luck"
    )
    more = resampled(facts)
    met = None if more is None else _regime(facts, more)
    message = "; ".join([message, *(known.sentence() for known in (met, more) if known is not None)])
    besides = (more.evidence() if more else {}) | (met.evidence() if met else {})
    severity: Severity | None = "note" if median > 0 and (retested(facts) or vouched(facts)) else None
    told = {"ratio": ratio, "median": median, "largest": largest, **besides}
    return [found("FF104", message, severity=severity, besides=told)]


def retested(facts: Facts) -> bool:
    """Whether more samples left the score where it was, of a gradient that says what the function does.

    Both are asked for: a ramp's score stays too, where every sample meets one of its risers.
    """
    more = resampled(facts)
    return more is not None and more.calm and not vanished(facts) and not scales_disagree(facts)


def vouched(facts: Facts) -> bool:
    """Whether an estimate from differences, which are few, says no more than one from gradients that say what
    the function does and are not spiky, or whose score stayed: recurrent nets' do, at 60 times the points."""
    judged = facts.judged
    if follows_gradient(judged):
        return False
    bounds = [record for record in facts.others if record.claim == "upper_bound"]
    for record in facts.others:
        if follows_gradient(record) and judged.radius <= record.radius * (1 + CALM):
            theirs = replace(facts, judged=record, others=bounds)
            calm = not spiky(theirs) or retested(theirs)
            if calm and not vanished(theirs) and not scales_disagree(theirs):
                return True
    return False


def _regime(facts: Facts, more: Resampled) -> Regime | None:
    """By the share of samples that met no steep piece: of the larger sample where both are of one ball."""
    again = more.facts
    if again.sampling_radius is not None and again.sampling_radius == said(facts.judged).sampling_radius:
        for share in (again.vanished_share, again.zero_share):
            if share is not None:
                return regime(more, share, times=more.times)
    return regime(more, vanished_share(facts))


def non_deterministic(facts: Facts) -> list[Finding] | None:
    """FF105. Any change between repeats counts on a CPU; elsewhere, and between batches, 1e-4 does."""
    repeats, batch = seen(facts).repeats, seen(facts).batch
    moved, mixed = repeats.shift, batch.shift
    if moved is None or mixed is None:
        return None
    # and around every claim about this input
    told = [said(record) for record in (facts.judged, *facts.others)]
    moved = max(moved, *(one.repeat_shift or 0.0 for one in told))
    mixed = max(mixed, *(one.batch_shift or 0.0 for one in told))
    limit = 0.0 if seen(facts).device == "cpu" else SHIFT
    if moved > limit or repeats.label:
        message = f"asked again, the model answers differently: logits move by {moved:.2g}, relative"
        return [found("FF105", message, repeat_shift=moved, batch_shift=mixed)]
    if mixed > SHIFT or batch.label:
        message = f"alone and in a batch the model answers differently: logits move by {mixed:.2g}, relative"
        return [found("FF105", message, repeat_shift=moved, batch_shift=mixed)]
    return []


check = family(
    {
        "FF101": vanished,
        "FF102": scales_disagree,
        "FF103": graph_cut,
        "FF104": spiky,
        "FF105": non_deterministic,
    },
    asks="Is what the estimator followed a gradient of the function at all?",
)
