"""Reading stored facts: numbers that may be words, the ceiling over a claim, the scale nearest to a radius.

Facts come from a database and from other people's plugins, so nothing here takes a key, a type or a finite
number for granted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from falsefloor.api import Facts, Record
from falsefloor.checks import verdicts
from falsefloor.jsonable import number


@dataclass(frozen=True)
class Ceiling:
    """The smallest distance at which the class is known to change, who found it, and the stored point."""

    distance: float
    finder: str
    witness: str


def evidence(record: Record, *names: str) -> float | None:
    """The first of the named facts that the estimator gave as a number."""
    for name in names:
        known = number(record.evidence.get(name))
        if known is not None:
            return known
    return None


def part(facts: Facts, name: str) -> Mapping[str, Any]:
    """A mapping among the observed facts, empty where there is none."""
    value = facts.observed.get(name)
    return value if isinstance(value, Mapping) else {}


def array(facts: Facts, role: object) -> str | None:
    """The stored name of an observed array."""
    name = part(facts, "arrays").get(role) if isinstance(role, str) else None
    return name if isinstance(name, str) else None


def is_lower(record: Record) -> bool:
    return verdicts.is_lower(record.claim)


def follows_gradient(record: Record) -> bool:
    """Whether a lower estimate rests on gradients, as far as anyone outside can tell.

    Certified bounds do not, nor do estimates from the function's own differences, which name the scale they
    were taken at (`plateau_scale`). A third-party estimate that says nothing is taken to.
    """
    return record.claim == "lower_estimate" and "plateau_scale" not in record.evidence


def attack_ceiling(facts: Facts) -> Ceiling | None:
    """The smallest settled upper bound among the other records."""
    settled = [
        Ceiling(record.radius, record.estimator, record.witness)
        for record in facts.others
        if record.claim == "upper_bound" and record.witness is not None and math.isfinite(record.radius)
    ]
    return min(settled, key=lambda c: (c.distance, c.witness), default=None)


def seen_ceiling(facts: Facts) -> Ceiling | None:
    """The nearest settled counterexample of the observation."""
    seen = part(facts, "counterexample")
    distance, name = number(seen.get("distance")), array(facts, seen.get("array"))
    return None if distance is None or name is None else Ceiling(distance, "the observation", name)


def ceiling(facts: Facts) -> Ceiling | None:
    """The smaller of the two."""
    known = [c for c in (attack_ceiling(facts), seen_ceiling(facts)) if c is not None]
    return min(known, key=lambda c: c.distance, default=None)


def ball(record: Record) -> float:
    """The radius of the ball on which the claim's constants hold: the sampling radius, else the claim's."""
    given = evidence(record, "sampling_radius")
    return record.radius if given is None else given


def gradient_rows(facts: Facts) -> list[tuple[float, Mapping[str, Any]]]:
    """The observed gradients of the judged record's gradient source, by radius of observation."""
    table = part(facts, "gradients").get(facts.judged.gradient)
    if not isinstance(table, Sequence):
        return []
    rows = [(number(row.get("radius")), row) for row in table if isinstance(row, Mapping)]
    return [(radius, row) for radius, row in rows if radius is not None and radius > 0]


def nearest_row(facts: Facts, radius: float) -> Mapping[str, Any] | None:
    """The observed gradients at the scale nearest to ``radius``, in the logarithm."""
    rows = gradient_rows(facts)
    if not rows or not 0 < radius < math.inf:
        return None
    return min(rows, key=lambda row: abs(math.log(row[0] / radius)))[1]


def inner_row(facts: Facts, radius: float) -> Mapping[str, Any] | None:
    """The observed gradients at the widest scale inside ``radius``, or at the narrowest of all.

    A wider scale than the claim's own sees curvature that the claim is not about: with the nearest scale
    instead, 5 of 252 fixed-radius estimates on unmasked models were flagged; so, none of 288.
    """
    rows = sorted(gradient_rows(facts), key=lambda row: row[0])
    inside = [row for scale, row in rows if scale <= radius * (1 + 1e-6)]
    return inside[-1] if inside else (rows[0][1] if rows else None)


def secants(facts: Facts) -> Iterator[Mapping[str, Any]]:
    """The observed secants, smallest scale first."""
    table = facts.observed.get("secants")
    rows = [row for row in table if isinstance(row, Mapping)] if isinstance(table, Sequence) else []
    yield from sorted(rows, key=lambda row: number(row.get("radius")) or 0.0)


def differing_pair(facts: Facts, *, within: float = math.inf) -> str | None:
    """The stored pair, from the nearest scale, whose margins differ by more than rounding."""
    for row in secants(facts):
        slope, distance = number(row.get("ratio")), number(row.get("distance"))
        name = array(facts, row.get("array"))
        if slope and distance is not None and distance <= within and name is not None:
            return name
    return None
