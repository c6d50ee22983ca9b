"""FF201 to FF205: does a point, a pair or a planted trap contradict the claim?"""

from __future__ import annotations

from falsefloor.api import Facts, Finding
from falsefloor.checks.catalogue import family, found
from falsefloor.checks.reading import (
    Ceiling,
    attack_ceiling,
    ball,
    is_lower,
    said,
    secants,
    seen,
    seen_ceiling,
)
from falsefloor.checks.verdicts import nearer
from falsefloor.observed import Planted, Secant

DISTANCE = 1e-6
"""Relative: two distances nearer than this are the same distance."""
SLOPE = 1e-3
BLIND = 1.01
"""A claim beyond the planted distance by more than this: the trap's slope is constant, so rounding is all
that an honest estimate has to fear, and differences are rounded most."""
MISSED = 1.5
"""A search that stays farther than this many times a planted class change has not found it."""


def _above(facts: Facts, top: Ceiling | None, code: str, words: str) -> list[Finding] | None:
    if top is None:
        return None
    radius = facts.judged.radius
    if not radius > top.distance * (1 + DISTANCE):
        return []
    where = f"at {top.distance:.4g}{nearer(radius, top.distance)}"
    message = f"the claim is {radius:.4g}, but {words.format(finder=top.finder)} {where}"
    return [found(code, message, witness=top.witness, distance=top.distance, finder=top.finder)]


def floor_above_ceiling(facts: Facts) -> list[Finding] | None:
    """FF201."""
    if facts.judged.claim != "lower_estimate":
        return None
    return _above(facts, attack_ceiling(facts), "FF201", "{finder} has a verified adversarial input")


def counterexample_inside(facts: Facts) -> list[Finding] | None:
    """FF203."""
    if not is_lower(facts.judged) or not {"counterexample", "met"} & facts.observed.keys():
        return None
    words = "{finder} saw a misclassified point"
    return _above(facts, seen_ceiling(facts), "FF203", words) or []


def sandwich_broken(facts: Facts) -> list[Finding] | None:
    """FF204: of a certified bound, where FF201 speaks of an estimate."""
    if facts.judged.claim != "lower_bound":
        return None
    return _above(facts, attack_ceiling(facts), "FF204", "{finder} has a verified adversarial input")


def secant_beats_constant(facts: Facts) -> list[Finding] | None:
    """FF202. Ratios are stored less rounding; only pairs inside the ball of the constant count.

    Not asked of an estimate that says it measured across steps: a staircase has no constant at its edges.
    """
    constant = said(facts.judged).lipschitz
    if constant is None or not is_lower(facts.judged) or (said(facts.judged).levels or 0.0) > 0:
        return None
    radius = ball(facts.judged) * (1 + DISTANCE)
    target = said(facts.judged).target
    steepest: tuple[float, Secant] | None = None
    for row in secants(facts):
        slope = _slope(row, target=target, radius=radius)
        if slope is not None and (steepest is None or slope > steepest[0]):
            steepest = slope, row
    if steepest is None:
        return None
    slope, row = steepest
    if not slope > constant * (1 + SLOPE):
        return []
    same = target is None or row.target == target
    return [
        found(
            "FF202",
            f"two points inside the ball have a slope of {slope:.4g} between them, above the constant"
            f" {constant:.4g} that the claim rests on",
            witness=seen(facts).array(row.array) if same else None,
            slope=slope,
            lipschitz=constant,
        )
    ]


def _slope(row: Secant, *, target: float | None, radius: float) -> float | None:
    """The slope this scale contributes: of the claim's target, or the least of all where it names none."""
    if row.radius is not None and row.radius <= radius:
        if target is not None:
            return row.ratios.get(str(int(target)))
        return min(row.ratios.values(), default=None)
    # the scale reaches beyond the ball, but its pair need not
    near = row.distance is not None and row.distance <= radius
    return row.ratio if near and row.target is not None and row.target == target else None


def trap_missed(facts: Facts) -> list[Finding] | None:
    """FF205: facts of the planted subject, by estimator."""
    caught = seen(facts).trap.get(facts.judged.estimator, Planted())
    radius, distance = caught.radius, caught.distance
    if radius is None or distance is None:
        return None
    lower, slack = is_lower(facts.judged), caught.slack or 0.0
    if not radius > (distance + slack) * (BLIND if lower else MISSED):
        return []
    message = (
        f"with a class change planted at {distance:.4g} behind the same maskers, the same estimator"
        f" {'claims' if lower else 'finds nothing nearer than'} {radius:.4g}"
    )
    witness = seen(facts).array(caught.array)
    return [found("FF205", message, witness=witness, planted=distance, claimed=radius)]


check = family(
    {
        "FF201": floor_above_ceiling,
        "FF202": secant_beats_constant,
        "FF203": counterexample_inside,
        "FF204": sandwich_broken,
        "FF205": trap_missed,
    },
    asks="Does a point, a pair or a planted trap contradict the claim?",
)
