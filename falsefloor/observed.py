"""What was observed of a subject at one input, as typed values: the names that the observation and the
follow-ups write, and that checks and reports read.

Everything may be missing: the input may not have been observed, by an older version, or not have got so far.
Distances and radii are in input units, in the norm of the observation; shares are from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from falsefloor import jsonable

LARGE = 1 << 15
"""Coordinates from which on an input is large: an observation asks for a third of its points
(`subjects.observe.site`), and on a CPU a forward takes one row at a time (`subjects.subject`)."""
LEAST = 0.01
"""Share of the coordinates below which differences decline to stand for all (`finite-difference`). On
photographs of an ImageNet classifier a gradient's 1-norm is known to 2 % from 3 % of them, to 6 % from 0.3 %,
and directed points, which need all, are another 5 % steeper."""
MET = {"changed": "met-changed", "nonfinite": "met-nonfinite"}
"""What a `Met` names, and the role of its stored array, with which it is told who met it and how far away."""


def too_few(size: int, *, coordinates: float, queries: float, extremes: float) -> bool:
    """Whether differences decline an input of ``size`` coordinates, and so cost nothing: more than are all
    differenced, and too many for ``queries`` at so many points to see `LEAST` of them."""
    return size > max(coordinates, queries // (2 * extremes) / LEAST)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A gradient held against the function's own differences of half width h, a share of the radius."""

    h: float | None = None
    ratio: float | None = None
    """What the gradient predicts over what the function does (root mean squares)."""
    correlation: float | None = None
    pairs: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Gradients of the runner-up's margin at points of one ball: dual norms, in logits a unit of input."""

    radius: float | None = None
    median: float | None = None
    max: float | None = None
    vanished: float | None = None
    """Share of the points where the gradient times the diameter is at most a thousandth of the margin."""
    zero: float | None = None
    nonfinite: float | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Secant:
    """The steepest pair of points within a radius. ratio: of its target; ratios: by class."""

    radius: float | None = None
    distance: float | None = None
    target: float | None = None
    ratio: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    array: str | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A point that was met: its distance, and the role of its stored array."""

    distance: float | None = None
    array: str | None = None
    message: str | None = None
    """What the model raised there."""
    finder: str | None = None
    """Who met it, as the subject of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Met:
    """The nearest points that any call to the subject met, whoever asked, and that stood when asked again."""

    changed: Seen | None = None
    """Of another class."""
    nonfinite: Seen | None = None


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far logits moved, relative, when the subject was asked again; label: whether the class did."""

    shift: float | None = None
    label: bool = False


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Relative changes in float64; subnormal: the share of the gradient's entries below the normal range."""

    margin_shift: float | None = None
    gradient_shift: float | None = None
    subnormal: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the logits look like around the input."""

    probabilities: bool = False
    saturated: float | None = None


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where the gradient is lost. words: a clause; others: further places."""

    operation: str | None = None
    submodule: str | None = None
    line: str | None = None
    kind: str | None = None
    certain: bool = False
    words: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What an estimator said of a planted class change. slack: how far maskers at the input move a point."""

    radius: float | None = None
    distance: float | None = None
    slack: float | None = None
    array: str | None = None


@dataclass(frozen=True, kw_only=True)
class MoreSamples:
    """An estimate made again with ``times`` the samples: its radius, and of its evidence
    what checks compare with the first one's, under the names of `falsefloor.evidence`."""

    times: float | None = None
    samples: float | None = None
    dimension: float | None = None
    radius: float | None = None
    capped: float | None = None
    sampling_radius: float | None = None
    gradient_norm_median: float | None = None
    gradient_norm_max: float | None = None
    zero_share: float | None = None
    vanished_share: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Forwards and backwards that the observation and the judged estimate took."""

    forward: float = 0.0
    backward: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything known of one input of one subject, besides its estimates."""

    label: int | None = None
    predicted: int | None = None
    classes: float | None = None
    misclassified: bool | None = None
    tied: bool = False
    agreement: bool | None = None
    """Whether masker and model give the same class."""
    outside: bool = False
    training: bool = False
    error: str | None = None
    """What the subject raised at the input itself."""
    device: str | None = None
    grey_level: float | None = None
    """One level of an 8-bit image, where the units say that the input is one."""
    margin: float | None = None
    connected: bool | None = None
    """Whether a gradient path leads from the input to the logits."""
    backward: str | None = None
    """What was raised where a gradient was asked for."""
    outputs: Outputs = Outputs()
    precision: Precision = Precision()
    gradients: Mapping[str, tuple[Gradients, ...]] = field(default_factory=dict)
    """By gradient source, a ball each."""
    secants: tuple[Secant, ...] = ()
    counterexample: Seen | None = None
    nonfinite: Seen | None = None
    met: Met = Met()
    raises: Seen | None = None
    repeats: Shift = Shift()
    batch: Shift = Shift()
    located: Located | None = None
    queries: Queries = Queries()
    trap: Mapping[str, Planted] = field(default_factory=dict)
    """By the estimator's label."""
    resampled: Mapping[str, MoreSamples] = field(default_factory=dict)
    """By the estimator's label."""
    arrays: Mapping[str, str] = field(default_factory=dict)
    """Role to the stored array's name."""

    @classmethod
    def read(cls, stored: Mapping[str, object]) -> Observed:
        """The known names of stored facts, which may be anybody's."""
        return jsonable.read(cls, stored)

    def array(self, role: str | None) -> str | None:
        """The stored name of the array in this role."""
        return None if role is None else self.arrays.get(role)
