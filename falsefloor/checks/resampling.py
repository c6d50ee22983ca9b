"""Facts of an estimate that was made again with more samples, and what they say of the first one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from falsefloor.api import Facts, Finding
from falsefloor.checks.reading import said, seen
from falsefloor.observed import MoreSamples

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


def with_evidence(finding: Finding, *more: Mapping[str, float]) -> Finding:
    """The finding with further numbers beside its own."""
    known = dict(finding.evidence)
    for numbers in more:
        known |= numbers
    return replace(finding, evidence=known)
