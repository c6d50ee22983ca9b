"""A ball cut with the box, and the least that linear functions take in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.support import support, vertex

SPARSE = 4
"""Functions that depend on at most a share of one in so many coordinates are looked at in those alone."""


@dataclass(frozen=True)
class Region:
    """The points of the box [lo, hi] (n,) whose distance from centre (n,) in ``norm`` is at most ``budget``.

    An linf ball is a smaller box: its budget is inf.
    """

    centre: Tensor
    lo: Tensor
    hi: Tensor
    budget: float = math.inf
    norm: str = "l1"

    def minimum(self, slopes: Tensor) -> Tensor:
        """min of slopes (m, n) · x over the region, (m,)."""
        if math.isinf(self.budget):
            return slopes @ self.centre - _whole_box(slopes, self.centre - self.lo, self.hi - self.centre)
        if self.budget == 0:
            return slopes @ self.centre
        kept, columns = _compact(slopes)
        centre, lo, hi = (one.unsqueeze(0) if columns is None else one[columns] for one in self._ends())
        fall = self.budget * support(kept, centre, lo, hi, norm=self.norm, rho=self.budget)
        # the box holds the ball: what it allows stands for a ball that cannot be measured
        return slopes @ self.centre - torch.where(
            fall.isnan(), _whole_box(kept, centre - lo, hi - centre), fall
        )

    def lowest(self, slopes: Tensor) -> Tensor:
        """Where slopes (m, n) · x is least over the region, (m, n)."""
        if math.isinf(self.budget):
            return torch.where(slopes > 0, self.lo, torch.where(slopes < 0, self.hi, self.centre))
        centre, lo, hi = (one.unsqueeze(0) for one in self._ends())
        return centre + vertex(slopes, centre, lo, hi, norm=self.norm, rho=self.budget)

    def size(self, slopes: Tensor) -> Tensor:
        """The sum of the terms' sizes of slopes (m, n) · x at most, (m,): what rounding is a share of."""
        return slopes.abs() @ torch.maximum(self.lo.abs(), self.hi.abs())

    def _ends(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.centre, self.lo, self.hi


def region(centre: Tensor, lo: Tensor, hi: Tensor, *, norm: str, radius: float) -> Region:
    """The ball of ``radius`` around centre (n,), cut with the box."""
    low, high = torch.maximum(lo, centre - radius), torch.minimum(hi, centre + radius)
    return Region(centre, low, high, math.inf if norm == "linf" else radius, norm)


def _whole_box(slopes: Tensor, down: Tensor, up: Tensor) -> Tensor:
    return (slopes.abs() * torch.where(slopes > 0, down, up).clamp_min(0)).sum(dim=1)


def _compact(slopes: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is not 0 of each row, filled up with 0, and its columns; as it is where that is much."""
    used = slopes != 0
    counts = used.sum(dim=1)
    most = int(counts.amax().clamp(min=1)) if len(counts) else 0
    if SPARSE * most > slopes.shape[1] or slopes.requires_grad:
        return slopes, None
    rows, columns = used.nonzero(as_tuple=True)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    kept, at = slopes.new_zeros(len(slopes), most), torch.zeros(len(slopes), most, dtype=torch.long)
    kept[rows, place], at[rows, place] = slopes[rows, columns], columns
    return kept, at
