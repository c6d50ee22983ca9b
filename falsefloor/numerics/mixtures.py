"""How slopes pass an activation backwards: by which mixture of the two lines below and the two above it.

Two fixed rules, and shares of one's own for each function and neuron, which optimised slopes move (Xu et al.
2021, https://arxiv.org/abs/2011.13824). A maximum over groups has one line on each side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.envelopes import Line, Lines

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
