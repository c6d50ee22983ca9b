"""Reading stored facts: as typed values, the ceiling over a claim, the scale nearest to a radius, and what an
estimate that was made again with more samples says of the first one.

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
from falsefloor.observed import Gradients, MoreSamples, Observed, Secant, Seen


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


STABLE = 0.01
"""A score that moves by less than this share stays, in words."""
CALM = 0.1
"""A score that falls by less than this share with four times the samples was not luck: recurrent nets' fall
by up to 0.09 where they are sound, and by 0.5 where one was refuted. One that rises was on the safe side."""
UNSEEN = 3.0
"""Hits to be expected, at most, where none was met: by the rule of three, with 95 % confidence."""

NEAR = 3.0
"""Within this factor of 1 neither regime of N·D·δ is said to hold: a hit and none are about as likely."""


@dataclass(frozen=True)
class Resampled:
    """before, after: the score, and with ``times`` the samples. samples: random points a ball, at first.

    capped: whether one of the two scores is the end of the estimator's range, where more samples may change
    what was seen and not the score.
    """

    times: float
    samples: float
    dimension: float
    before: float
    after: float
    capped: bool
    facts: MoreSamples

    @property
    def moved(self) -> float:
        """Relative change of the score: negative where it fell."""
        if self.after == self.before:
            return 0.0
        return self.after / self.before - 1 if self.before > 0 else math.inf

    @property
    def stable(self) -> bool:
        return abs(self.moved) < STABLE

    @property
    def calm(self) -> bool:
        """Whether the score does not fall, but for a sample's luck. One at its cap has nowhere to go."""
        return self.moved > -CALM and not self.capped

    def sentence(self) -> str:
        """What became of the score, to stand behind a semicolon."""
        start = f"at {self.times:.0f} times the samples the score"
        if self.stable:
            return f"{start} stays at {self.before:.4g}"
        return f"{start} {'falls' if self.moved < 0 else 'rises'} from {self.before:.4g} to {self.after:.4g}"

    def evidence(self) -> dict[str, float]:
        """For a finding, beside its own numbers."""
        largest = self.facts.gradient_norm_max
        return {
            "samples": self.samples,
            "dimension": self.dimension,
            "times": self.times,
            "resampled_radius": self.after,
            "resampled_change": self.moved,
            **({} if largest is None else {"resampled_largest": largest}),
        }


def resampled(facts: Facts) -> Resampled | None:
    """Of the judged estimate; None where it was not resampled, or that failed."""
    found = seen(facts).resampled.get(facts.judged.estimator, MoreSamples())
    times, samples, dimension, radius = found.times, found.samples, found.dimension, found.radius
    if times is None or samples is None or dimension is None or radius is None:
        return None
    if min(times, samples, dimension) < 1:
        return None
    capped = 1.0 in (said(facts.judged).capped, found.capped)
    return Resampled(times, samples, dimension, facts.judged.radius, radius, capped, found)


@dataclass(frozen=True)
class Regime:
    """share: estimate of the share of steep pieces along a coordinate (the ramp's delta); count: N·D·δ.

    bound: nothing steep was met, and the two are upper bounds. flat: the share of samples they come from.
    """

    flat: float
    share: float
    count: float
    bound: bool

    def sentence(self) -> str:
        if self.bound:
            return f"N*D*delta is below {self.count:.2g}: no random hit"
        about = f"{self.count:,.0f}" if NEAR < self.count < 1e6 else f"{self.count:.2g}"
        side = "above" if self.count > NEAR else "below" if self.count < 1 / NEAR else "near"
        return f"N*D*delta is about {about}, {side} 1"

    def evidence(self) -> dict[str, float]:
        return {"flat_share": self.flat, "delta": self.share, "n_d_delta": self.count}


def regime(more: Resampled, flat: float | None, *, times: float = 1.0) -> Regime | None:
    """N·D·δ from the share of samples whose whole gradient vanished, which is (1 - δ)^D.

    N is the first estimate's; the share was counted among ``times`` as many.
    That is so where each of the D coordinates lies on a steep piece with probability δ, whatever the others
    do (Goodfellow 2018, figure 1: a ramp at the input). None where no sample was flat: then a share of steep
    pieces is not what made the gradient spiky, or they are too many to be counted so.
    """
    if flat is None or not 0 < flat <= 1:
        return None
    every = more.samples * more.dimension
    # expm1: 1 - flat^(1/D) would lose its digits where that is near 1
    share = UNSEEN / (times * every) if flat == 1 else -math.expm1(math.log(flat) / more.dimension)
    return Regime(flat, share, every * share, bound=flat == 1)
