"""The names of evidence: what estimators say beside a radius, and what checks, reports and the engine read.

One field a name, so that who gives a fact and who reads it cannot spell it differently. An estimator gives
what it has, (N,) each, for the target class that decided the radius, and may add names of its own that
nothing here reads. Slopes are dual norms of the gradient of that target's margin m = f_c - f_j, in logits per
unit of input. Flags are 0 or 1. No torch: what is stored is one number or word an input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from falsefloor import jsonable


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of one estimate of one input; None where it was not said, or is NaN."""

    target: float | None = None
    """The class that decided the radius. FF202 compares pairs of the same class only."""
    targets_covered: float | None = None
    """How many of the K - 1 other classes were looked at. FF305."""
    dropped_distance: float | None = None
    """Margin over the largest slope seen of the nearest class that was left out, in input units; where
    measured at the input only, as much steeper as slopes of the classes that stayed are around it. FF305."""
    margin: float | None = None
    """m at the input itself, in logits."""

    lipschitz: float | None = None
    """The largest plain dual norm on the ball, or whatever constant the claim rests on (Weng et al. 2018,
    theorem 3.2); never less than a slope that was seen. FF202, FF301, FF302."""
    slope: float | None = None
    """The largest slope of moves inside the domain at the radius's own scale: margin / slope = radius."""
    sampling_radius: float | None = None
    """Radius of the ball on which the slopes were looked for, in input units. FF101, FF104, FF202, FF303."""
    cap: float | None = None
    """The largest radius that could have been returned. FF303."""
    capped: float | None = None
    """Flag: the radius is the cap, so it says "at least". FF303, and ≥ before the number."""

    gradient_norm_median: float | None = None
    """Median of the slopes that were sampled. FF104."""
    gradient_norm_max: float | None = None
    """The largest slope that was seen, at directed points too. FF104, FF301."""
    zero_share: float | None = None
    """Share of the samples whose gradient is exactly 0. FF101."""
    vanished_share: float | None = None
    """Share of the samples whose slope times the domain's diameter is at most a thousandth of the margin.
    FF101, FF104."""
    nonfinite_share: float | None = None
    """Share of the samples whose gradient is not finite. FF403."""
    maximum: float | None = None
    """The largest sampled slope after all batches. FF302."""
    maximum_half: float | None = None
    """The same after half of the batches. FF302."""
    directed_maximum: float | None = None
    """The largest slope at points that were chosen and not sampled. FF302."""
    distinct_maxima: float | None = None
    """How many different batch maxima there are: one is what a staircase shows."""

    fit: str | None = None
    """How the largest slope was told: "weibull" extrapolated, "max" the largest seen, "none". FF301."""
    fit_reason: str | None = None
    """Why the largest stands in for the fit; empty where it does not. FF301."""
    fit_location: float | None = None
    """The fitted end of the slopes: the location of the reverse Weibull (Weng et al. 2018, section 4)."""
    fit_shape: float | None = None
    """Its shape, without a unit."""
    fit_scale: float | None = None
    """Its scale, a slope."""
    interval_low: float | None = None
    """Lower end of the radius's interval by the fit, in input units."""
    interval_high: float | None = None
    """Upper end of it."""

    plateau_scale: float | None = None
    """Half step at which differences stop depending on it, in input units. Who gives it follows differences
    of the function and no gradient. FF102."""
    spectrum_radius: float | None = None
    """Radius of the ball whose points the curve ``spectrum`` is from, in input units. The picture of it."""
    levels: float | None = None
    """Steps that a unit of input holds, 0 for none. Where there are some, FF202 has nothing to say."""
    ramp_share: float | None = None
    """Share of a step that its riser takes (the note's delta); 1 where there are no steps."""
    step_reason: str | None = None
    """"steps", "no steps", or why neither can be said."""

    whitebox: float | None = None
    """Of upper bounds: the smallest radius found by following gradients, inf for none. FF502."""
    blackbox: float | None = None
    """Of upper bounds: the same without gradients. FF502."""
    last_tenth_gain: float | None = None
    """Of upper bounds: share by which the last tenth of the steps lowered the radius. FF503."""
    unsettled: float | None = None
    """Flag of the core: an upper bound's point did not replay, and the bound was dropped. FF501, FF504."""
    batch_only: float | None = None
    """Flag of the core, beside ``unsettled``: the point changes class in a batch and not alone. FF504."""

    repeat_shift: float | None = None
    """By the core: how far logits moved, relative, where a point around the claim was asked again. FF105."""
    batch_shift: float | None = None
    """The same between a batch and another, or none. FF105."""
    confidence: float | None = None
    """Of a statistical claim: with what probability it is right, from 0 to 1; independent over inputs."""
    about: str | None = None
    """In words, by the core: the other function than the subject that the claim is about."""

    share_points: float | None = None
    """By the core: uniform points in the ball of a lower claim, inside the domain; 0 where none lay in it."""
    share_other: float | None = None
    """Those of them that do not have the input's class."""
    share_bound: float | None = None
    """At 95 %, less than this share of that ball answers otherwise (Clopper & Pearson 1934)."""

    gradient_source: str | None = None
    """Of a repaired estimate, by the core: the gradient source that was chosen."""
    gradient_step: float | None = None
    """Half step of that source's secants, as a share of the domain's width; 0 where it takes none."""
    gradient_ratio: float | None = None
    """What it predicts over what the function does, where the class changes: the one farthest from 1."""
    gradient_correlation: float | None = None
    """The lowest correlation of the two there."""
    gradient_radius: float | None = None
    """That distance, in input units."""

    @classmethod
    def read(cls, stored: Mapping[str, object]) -> Evidence:
        """The known names of stored facts, which may be anybody's: a value of the wrong kind says nothing.

        Infinities may be the words "inf" and "-inf". True is no number.
        """
        return jsonable.read(cls, stored)


NAMES = tuple(field.name for field in dataclasses.fields(Evidence))
WORDS = frozenset(field.name for field in dataclasses.fields(Evidence) if field.type == "str | None")
"""The names whose facts are words; the others' are numbers."""
