"""Reading stored facts: as typed values, the ceiling over a claim, the scale nearest to a radius.

Facts come from a database and from other people's plugins, so nothing here takes a key, a type or a finite
number for granted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from falsefloor.api import Facts, Record
from falsefloor.checks import verdicts
from falsefloor.evidence import Evidence
from falsefloor.observed import Gradients, Observed, Secant, Seen


@dataclass(frozen=True)
class Ceiling:
    """The smallest distance at which the class is known to change, who found it, and the stored point."""

    distance: float
    finder: str
    witness: str


def seen(facts: Facts) -> Observed:
    """What was observed, as typed values. Siblings share all but the queries, and are judged in a row."""
    global _seen  # the last one: reading it costs as much as all rules together
    before, known = _seen
    if before is not facts.observed:
        if _shared(before, facts.observed):
            spent = Observed.read({"queries": facts.observed.get("queries")})
            known = replace(known, queries=spent.queries)
        else:
            known = Observed.read(facts.observed)
        _seen = facts.observed, known
    return known


def _shared(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether these are the same facts, queries apart: the very same objects."""
    return len(one) == len(other) and all(
        name == "queries" or other.get(name) is value for name, value in one.items()
    )


def said(record: Record) -> Evidence:
    """An estimate's evidence, as typed values."""
    global _said  # the same: some thirty rules ask it of one record
    if _said[0] is not record.evidence:
        _said = record.evidence, Evidence.read(record.evidence)
    return _said[1]


_seen: tuple[Mapping[str, object], Observed] = ({}, Observed())
_said: tuple[object, Evidence] = (None, Evidence())


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
    """The nearest settled point of another class that the observation looked for, or that anybody met."""
    known = [_stored(facts, point) for point in (seen(facts).counterexample, seen(facts).met.changed)]
    return min((one for one in known if one), key=lambda c: c.distance, default=None)


def seen_gap(facts: Facts) -> Ceiling | None:
    """The nearest point without finite logits that the observation or anybody else met."""
    known = [_stored(facts, point) for point in (seen(facts).nonfinite, seen(facts).met.nonfinite)]
    return min((one for one in known if one), key=lambda c: c.distance, default=None)


def _stored(facts: Facts, point: Seen | None) -> Ceiling | None:
    """A point that was met, where it is stored too."""
    name = None if point is None else seen(facts).array(point.array)
    if point is None or point.distance is None or name is None:
        return None
    return Ceiling(point.distance, point.finder or "the observation", name)


def ceiling(facts: Facts) -> Ceiling | None:
    """The smaller of the two."""
    known = [c for c in (attack_ceiling(facts), seen_ceiling(facts)) if c is not None]
    return min(known, key=lambda c: c.distance, default=None)


def ball(record: Record) -> float:
    """The radius of the ball on which the claim's constants hold: the sampling radius, else the claim's."""
    given = said(record).sampling_radius
    return record.radius if given is None else given


def gradient_rows(facts: Facts) -> list[tuple[float, Gradients]]:
    """The observed gradients of the judged record's gradient source, by radius of observation."""
    rows = seen(facts).gradients.get(facts.judged.gradient, ())
    return [(row.radius, row) for row in rows if row.radius is not None and row.radius > 0]


def nearest_row(facts: Facts, radius: float) -> Gradients | None:
    """The observed gradients at the scale nearest to ``radius``, in the logarithm."""
    rows = gradient_rows(facts)
    if not rows or not 0 < radius < math.inf:
        return None
    return min(rows, key=lambda row: abs(math.log(row[0] / radius)))[1]


def inner_row(facts: Facts, radius: float) -> Gradients | None:
    """The observed gradients at the widest scale inside ``radius``, or at the narrowest of all.

    A wider scale than the claim's own sees curvature that the claim is not about: with the nearest scale
    instead, 5 of 252 fixed-radius estimates on unmasked models were flagged; so, none of 288.
    """
    rows = sorted(gradient_rows(facts), key=lambda row: row[0])
    inside = [row for scale, row in rows if scale <= radius * (1 + 1e-6)]
    return inside[-1] if inside else (rows[0][1] if rows else None)


def secants(facts: Facts) -> list[Secant]:
    """The observed secants, smallest scale first."""
    return sorted(seen(facts).secants, key=lambda row: row.radius or 0.0)


def differing_pair(facts: Facts) -> str | None:
    """The stored pair, from the nearest scale, whose margins differ by more than rounding."""
    for row in secants(facts):
        name = seen(facts).array(row.array)
        if row.ratio and row.distance is not None and name is not None:
            return name
    return None
