"""Two lines below and two above an elementwise function over an interval, its range, and mixtures of them.

What a linear relaxation encloses an activation by. The lines are found by one rule for all: a slope, and
the smallest and largest of f(x) - slope·x over a grid of the interval and the function's kinks, moved
outward by what a function of that curvature can do between two grid points (max|f''|·h²/8). So a line holds
for every interval, and a new activation needs its formula, its kinks and its curvature and nothing else.

Slopes pass an activation backwards by a mixture of the two lines below and the two above it, which is a line
below, or above: by two fixed rules, or by shares of its own for each function and neuron, which optimised
slopes move (Xu et al. 2021, https://arxiv.org/abs/2011.13824, generalised from the ReLU's). A maximum over
groups has one line on each side. Shapes: n units, all in float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GRID = 33
"""Points of an interval, both ends among them: between two of a unit interval tanh bends by 1e-4 at most."""
PART = 1 << 13
"""Units whose grids are held at once: 20 MB."""
ROUNDED = 1e-6
"""A step's edge counts as both steps from this far away, relative: float32 rounds levels·t by less."""


@dataclass(frozen=True)
class Line:
    """slope·x + offset, (n,) each; or (m, n) where the rows differ."""

    slope: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Lines:
    """Lines below: ``steep`` and ``flat``, and where the first leaves less between (n,); the same above."""

    below: tuple[Line, Line]
    first_below: Tensor
    above: tuple[Line, Line]
    first_above: Tensor


@dataclass(frozen=True)
class Curve:
    """An elementwise function. kinks: where its derivative jumps; bend: sup |f''| elsewhere; rising: whether
    it never falls."""

    name: str
    value: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    bend: float = 0.0
    rising: bool = True

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of its values between low and high (n,)."""
        if self.rising:
            return self.value(low), self.value(high)
        grid = self._grid(low, high)
        values, err = self.value(grid), self._err(low, high)
        return values.amin(1) - err, values.amax(1) + err

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        """Of units whose inputs lie between low and high (n,)."""
        if self.name == "relu":
            return relu_lines(low, high)
        parts = [
            self._lines(*ends) for ends in zip(torch.split(low, PART), torch.split(high, PART), strict=True)
        ]
        below, first_below, above, first_above = (torch.cat(one, -1) for one in zip(*parts, strict=True))
        return Lines(
            (Line(below[0], below[1]), Line(below[2], below[3])),
            first_below > 0,
            (Line(above[0], above[1]), Line(above[2], above[3])),
            first_above > 0,
        )

    def _grid(self, low: Tensor, high: Tensor) -> Tensor:
        share = torch.linspace(0, 1, GRID, dtype=torch.float64)
        grid = low.unsqueeze(1) + (high - low).unsqueeze(1) * share
        kinks = [torch.full_like(low, kink).clamp(low, high).unsqueeze(1) for kink in self.kinks]
        return torch.cat([grid, *kinks], 1)

    def _err(self, low: Tensor, high: Tensor) -> Tensor:
        return self.bend / 8 * ((high - low) / (GRID - 1)).square()

    def _lines(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Slopes and offsets (4, n) of the two lines below, whether the first is nearer (n,); above."""
        grid, err = self._grid(low, high), self._err(low, high)
        values, wide = self.value(grid), high - low
        chord = (values[:, GRID - 1] - values[:, 0]) / wide.clamp_min(1e-300)
        steps = (values[:, 1:GRID] - values[:, : GRID - 1]) / wide.clamp_min(1e-300).unsqueeze(1) * (GRID - 1)
        tried = torch.cat([chord.unsqueeze(1), steps[:, :: (GRID - 1) // 8], steps[:, -1:]], 1)
        tried = torch.where((wide > 0).unsqueeze(1), tried, 0.0)
        gap = values.unsqueeze(2) - tried.unsqueeze(1) * grid.unsqueeze(2)  # (n, G, C)
        middle = tried * ((low + high) / 2).unsqueeze(1)
        lowest, highest = gap.amin(1) - err.unsqueeze(1), gap.amax(1) + err.unsqueeze(1)
        nearest = ((middle + lowest).argmax(1), (middle + highest).argmin(1))
        both = []
        for offset, at in zip((lowest, highest), nearest, strict=True):
            best = at.unsqueeze(1)
            slopes = tried.gather(1, best).squeeze(1), tried[:, 0]
            offsets = offset.gather(1, best).squeeze(1), offset[:, 0]
            both.append(torch.stack([slopes[0], offsets[0], slopes[1], offsets[1]]))
        nearer = torch.ones_like(low)
        return both[0], nearer, both[1], nearer


@dataclass(frozen=True)
class Staircase(Curve):
    """ceil, floor or round of its input. The closure of every step counts, so a distance is an infimum."""

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return self.value(low - _edge(low)), self.value(high + _edge(high))

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        least, most = self.span(low, high)
        shift_low, shift_high = {"ceil": (0.0, 1.0), "floor": (-1.0, 0.0), "round": (-0.5, 0.5)}[self.name]
        one, zero = torch.ones_like(low), torch.zeros_like(low)
        edge = _edge(torch.maximum(low.abs(), high.abs()))
        sloped = Line(one, zero + shift_low - edge), Line(one, zero + shift_high + edge)
        middle = (low + high) / 2
        return Lines(
            (sloped[0], Line(zero, least)),
            middle + shift_low - edge > least,
            (sloped[1], Line(zero, most)),
            middle + shift_high + edge < most,
        )


def _edge(t: Tensor) -> Tensor:
    return ROUNDED * (1 + t.abs())


def relu_lines(low: Tensor, high: Tensor) -> Lines:
    """The ReLU's chord above; below, the identity and 0 (Zhang et al. 2018, table 2)."""
    unstable = (low < 0) & (high > 0)
    stable = (low >= 0).to(low.dtype)
    slope = torch.where(unstable, high / (high - low).clamp_min(1e-300), stable)
    none = torch.zeros_like(low)
    chord = Line(slope, torch.where(unstable, -slope * low, 0.0))
    identity = Line(torch.where(unstable, 1.0, stable), none)
    flat = Line(torch.where(unstable, 0.0, stable), none)
    return Lines((identity, flat), high > -low, (chord, chord), unstable)


_PHI = 1 / math.sqrt(2 * math.pi)


def relu() -> Curve:
    return Curve("relu", lambda x: x.clamp_min(0), kinks=(0.0,))


def curve(name: str, *settings: float | str) -> Curve | None:
    """The activation of an operation's name, with the settings that it was called with; None for others."""
    made = _CURVES.get(name)
    return None if made is None else made(*settings)


def _leaky(slope: float = 0.01) -> Curve:
    return Curve("leaky_relu", lambda x: torch.where(x > 0, x, slope * x), kinks=(0.0,), rising=slope >= 0)


def _gelu(approximate: str = "none") -> Curve:
    def value(x: Tensor) -> Tensor:
        return torch.nn.functional.gelu(x, approximate=approximate)

    # |f''| is largest at 0: 2·φ(0) = 0.798, and 0.7979 in the form with tanh
    return Curve("gelu", value, bend=2 * _PHI * 1.02, rising=False)


def _elu(alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0) -> Curve | None:
    if inner <= 0:
        return None

    def value(x: Tensor) -> Tensor:
        return scale * torch.where(x > 0, x, alpha * torch.expm1(inner * x.clamp_max(0)))

    rising = alpha >= 0 and scale >= 0
    return Curve("elu", value, kinks=(0.0,), bend=abs(alpha * scale) * inner**2, rising=rising)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Curve | None:
    if threshold < 20:  # beyond it torch returns x: at 20 2.1e-9/β below, at 1 a step of 0.3/β
        return None
    return Curve("softplus", lambda x: torch.nn.functional.softplus(x, beta, 700.0), bend=abs(beta) / 4)


def _clamp(low: float | None = None, high: float | None = None) -> Curve:
    ends = tuple(float(end) for end in (low, high) if end is not None)
    return Curve("clamp", lambda x: x.clamp(low, high), kinks=ends)


def _single(rounding: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """In float32, as the layer itself: pixels k/255 lie on an edge of 255 levels there and beside it in
    float64."""
    return lambda x: rounding(x.float()).to(x.dtype)


_CURVES: dict[str, Callable[..., Curve | None]] = {
    "relu": relu,
    "leaky_relu": _leaky,
    "tanh": lambda: Curve("tanh", torch.tanh, bend=0.7699),  # 4/(3√3)
    "sigmoid": lambda: Curve("sigmoid", torch.sigmoid, bend=0.0963),  # 1/(6√3)
    "gelu": _gelu,
    "silu": lambda: Curve("silu", torch.nn.functional.silu, bend=0.5, rising=False),
    "elu": _elu,
    "celu": lambda alpha=1.0: _elu(alpha, 1.0, 1 / alpha),
    "softplus": _softplus,
    "hardtanh": lambda low=-1.0, high=1.0: _clamp(low, high),
    "clamp": _clamp,
    "clamp_min": lambda low: _clamp(low, None),
    "clamp_max": lambda high: _clamp(None, high),
    "abs": lambda: Curve("abs", torch.abs, kinks=(0.0,), rising=False),
    "hardsigmoid": lambda: Curve("hardsigmoid", torch.nn.functional.hardsigmoid, kinks=(-3.0, 3.0)),
    "hardswish": lambda: Curve(
        "hardswish", torch.nn.functional.hardswish, kinks=(-3.0, 3.0), bend=1 / 3, rising=False
    ),
    "ceil": lambda: Staircase("ceil", _single(torch.ceil)),
    "floor": lambda: Staircase("floor", _single(torch.floor)),
    "round": lambda: Staircase("round", _single(torch.round)),
}


Passed = tuple[Tensor, Tensor, Tensor]
"""Slopes (m, n_p) before an activation; what offsets add to the bounds (m,); the size of their terms (m,)."""


class Mixture(ABC):
    """Which line below and which above each activation is replaced by."""

    @abstractmethod
    def lines(self, index: int, lines: Lines) -> tuple[Line, Line]:
        """Of node ``index``, whose two lines below and above these are."""

    def through(self, index: int, lines: Lines, slopes: Tensor) -> Passed:
        """Of slopes (m, n) after node ``index``: the line below carries the positive ones."""
        below, above = self.lines(index, lines)
        rising = slopes > 0
        before = slopes * torch.where(rising, below.slope, above.slope)
        if below.offset.ndim == 1:
            moved = slopes.clamp_max(0) @ above.offset + slopes.clamp_min(0) @ below.offset
            return before, moved, slopes.abs() @ torch.maximum(below.offset.abs(), above.offset.abs())
        terms = slopes * torch.where(rising, below.offset, above.offset)
        return before, terms.sum(1), terms.detach().abs().sum(1)


@dataclass(frozen=True)
class Fixed(Mixture):
    """Of the nearer lines, or of the second ones (for a ReLU, the flat one below)."""

    nearer: bool

    def lines(self, index: int, lines: Lines) -> tuple[Line, Line]:
        del index
        if not self.nearer:
            return lines.below[1], lines.above[1]
        return _either(*lines.below, lines.first_below), _either(*lines.above, lines.first_above)


def _either(one: Line, other: Line, first: Tensor) -> Line:
    if one is other:
        return one
    return Line(torch.where(first, one.slope, other.slope), torch.where(first, one.offset, other.offset))


NEARER, FLAT = Fixed(nearer=True), Fixed(nearer=False)


@dataclass(frozen=True)
class Mixed(Mixture):
    """A mixture of its own for each row and neuron: shares (m, n) of the first line, below and above."""

    shares: Mapping[int, Sequence[Tensor]]

    def lines(self, index: int, lines: Lines) -> tuple[Line, Line]:
        below, above = (
            Line(
                flat.slope + share * (steep.slope - flat.slope),
                flat.offset + share * (steep.offset - flat.offset),
            )
            for share, (steep, flat) in zip(self.shares[index], (lines.below, lines.above), strict=True)
        )
        return below, above


@dataclass(frozen=True)
class Pooled:
    """The largest of each group over one set of inputs: it is at least the number ``at`` (n,), and at most
    ``slope`` of the number ``top`` plus ``offset``."""

    width: int
    at: Tensor
    top: Tensor
    slope: Tensor
    offset: Tensor

    def through(self, slopes: Tensor) -> Passed:
        positive, negative = slopes.clamp_min(0), slopes.clamp_max(0)
        before = slopes.new_zeros(len(slopes), self.width)
        before = before.index_add(1, self.at, positive).index_add(1, self.top, negative * self.slope)
        return before, negative @ self.offset, slopes.abs() @ self.offset.abs()


def pooled(groups: Tensor, low: Tensor, high: Tensor) -> tuple[Pooled, tuple[Tensor, Tensor]]:
    """How the largest of each group (n, k) is enclosed, and its interval; -1 where it has fewer; low and high
    (n_p,) of the numbers."""
    known = groups >= 0
    lows = torch.where(known, low[groups.clamp_min(0)], -torch.inf)
    highs = torch.where(known, high[groups.clamp_min(0)], -torch.inf)
    least, first = lows.max(1)
    most, top = highs.max(1)
    # max(x, rest) ≤ rest + relu(x - rest), by its chord
    rest = highs.scatter(1, top.unsqueeze(1), -torch.inf).amax(1)
    bottom = lows.gather(1, top.unsqueeze(1)).squeeze(1)
    alone = bottom >= rest
    slope = torch.where(alone, 1.0, (most - rest) / (most - bottom).clamp_min(1e-300)).clamp(0, 1)
    offset = torch.where(alone, 0.0, rest - slope * bottom)
    at, peak = (groups.gather(1, one.unsqueeze(1)).squeeze(1) for one in (first, top))
    return Pooled(len(low), at, peak, slope, offset), (least, most)
