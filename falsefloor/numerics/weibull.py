"""The reverse Weibull distribution, fitted to the maxima of batches to extrapolate to a supremum.

Maxima of bounded samples tend to G(x) = exp(-((a - x)/b)^c) for x ≤ a; the location a estimates the supremum
(Weng et al. 2018, section 3.2; Fisher & Tippett 1928). An unconstrained fit is not usable: it puts the
location below a value that was observed, or orders of magnitude above. This one is constrained, location ≥
maximum and shape in [1, 5], and searches the profile likelihood instead of starting an optimiser from
guesses: a logarithmic grid of the location's excess over the maximum, Newton's method for the shape, closed
form for the scale. All rows are fitted at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHAPE_RANGE = (1.0, 5.0)
"""Below 1 the likelihood is unbounded at the maximum; above 5 the tail cannot be told from a Gumbel's."""

FEWEST_DISTINCT = 10
"""A fit to fewer different maxima extrapolates from nothing."""

FEWEST_FOR_INTERVAL = 20

# chi-squared with one degree of freedom at 0.95, halved: the drop of the log-likelihood at the interval's
# ends
_DROP = 1.920729
# the location's excess over the maximum, in units of the maximum's distance to the mean; 3.4 points a decade
_GRID = torch.logspace(-3, 2, 18, dtype=torch.float64)
# around the best of the grid: 1.08 from point to point
_REFINED = torch.linspace(-1, 1, 19, dtype=torch.float64)
_NEWTON_STEPS = 3
# an eighth of a megabyte a temporary: more rows at once are no faster, and memory must not grow with batches
_ELEMENTS = 2**14


@dataclass(frozen=True)
class WeibullFit:
    """Fits of R rows, each (R,), in float64 on the CPU or the maxima's device.

    location: never below the row's maximum. shape: NaN where the maximum was taken. fitted: False where the
    location is the maximum, for the reason in ``reason`` (0 fitted, 1 shape at its lower bound, 2 too few
    distinct maxima, 3 no spread, 4 a maximum that is not finite). low, high: the interval of the location by
    the profile likelihood, NaN where fewer than 20 distinct maxima carry it. distinct: different maxima.
    """

    location: Tensor
    shape: Tensor
    scale: Tensor
    fitted: Tensor
    reason: Tensor
    low: Tensor
    high: Tensor
    distinct: Tensor


REASONS = ("", "shape at its lower bound", "too few distinct maxima", "no spread", "non-finite maxima")


def fit(maxima: Tensor) -> WeibullFit:
    """Constrained maximum likelihood of the reverse Weibull for each row of maxima (R, n), n ≥ 1."""
    values = maxima.detach().to(torch.float64)
    top = values.amax(dim=1)
    ordered = values.sort(dim=1).values
    distinct = 1 + (ordered[:, 1:] > ordered[:, :-1]).sum(dim=1)
    spread = top - values.mean(dim=1)
    finite = values.isfinite().all(dim=1)
    reason = torch.zeros(len(values), dtype=torch.long, device=values.device)
    reason[distinct < FEWEST_DISTINCT] = 2
    # differences of float32 maxima below this are rounding, and their logarithms are noise
    reason[~(spread > 1e-7 * top.abs())] = 3
    reason[~finite] = 4
    usable = reason == 0
    nan = torch.full_like(top, torch.nan)
    location, shape, scale, low, high = top.clone(), nan.clone(), nan.clone(), nan.clone(), nan.clone()
    if bool(usable.any()):
        step = max(1, _ELEMENTS // (values.shape[1] * len(_GRID)))
        wanted = usable.nonzero().flatten()
        for part in (wanted[start : start + step] for start in range(0, len(wanted), step)):
            found = _profile(values[part], top[part], spread[part])
            location[part], shape[part], scale[part], low[part], high[part] = found
        at_bound = usable & (shape <= SHAPE_RANGE[0] * (1 + 1e-9))
        reason[at_bound] = 1
        location = torch.where(at_bound, top, location)
        few = distinct < FEWEST_FOR_INTERVAL
        low, high = torch.where(few, nan, low), torch.where(few, nan, high)
    fitted = reason == 0
    # NaN propagates: a supremum over values of which one is unknown is unknown
    location = torch.where(fitted, torch.maximum(location, top), top)
    shape = torch.where(fitted | (reason == 1), shape, nan)
    return WeibullFit(location, shape, scale, fitted, reason, low, high, distinct)


def may_exceed(maxima: Tensor, value: Tensor) -> Tensor:
    """Whether the location that `fit` finds for rows of maxima (R, n) may lie above value (R,): (R,) bool.

    With y = location - maxima and shape c, the profile likelihood's slope in the location is, per maximum,
    (c - 1)·mean(1/y) - c·mean(y^(c-1))/mean(y^c) ≤ (c - 1)·mean(1/y) - c/max(y). Where max(y)·mean(1/y) is
    at most c/(c - 1) it is negative, and it stays so further out, since every max(y)/y falls. This costs a
    tenth of a fit, and most rows need none.
    """
    top = maxima.amax(dim=1, keepdim=True)
    # the fit's last grid may step over its optimum by 1.08
    at = top + (value.to(maxima.dtype).unsqueeze(1) - top) / 1.1
    spread = ((at - maxima.amin(dim=1, keepdim=True)) / (at - maxima)).mean(dim=1)
    # not below: NaN and what is not above the maximum stay open
    return ~((spread <= SHAPE_RANGE[1] / (SHAPE_RANGE[1] - 1)) & (at.squeeze(1) > top.squeeze(1)))


def _profile(rows: Tensor, top: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Location, shape, scale and interval of rows (R, n), none degenerate."""
    grid = _GRID.to(rows.device).expand(len(rows), -1)
    gaps = ((top[:, None] - rows) / spread[:, None]).unsqueeze(1)
    coarse, shapes = _likelihood(gaps, grid)
    step = float(_GRID[1] / _GRID[0])
    finer = _best(grid, coarse, shapes)[0] * step ** _REFINED.to(rows.device)
    excess, height, shape = (column.squeeze(1) for column in _best(finer, *_likelihood(gaps, finer)))
    lengths = gaps.squeeze(1) + excess[:, None]
    scale = lengths.pow(shape[:, None]).mean(dim=1).pow(1 / shape) * spread
    low, high = _interval(grid, coarse, height)
    return (
        top + excess * spread,
        shape,
        scale,
        top + low * spread,
        top + torch.maximum(high, excess) * spread,
    )


def _likelihood(gaps: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    """Profile log-likelihood and shape, (R, A) each, at locations that lie ``excess`` (R, A) above the
    maximum.

    gaps (R, 1, n): distances of the values to the maximum. The scale drops out by its closed form.
    """
    logs = (gaps + excess.unsqueeze(2)).log()
    mean = logs.mean(dim=2)
    # centring keeps exp(c·log y) in range for any scale; the likelihood pays c·mean back below
    centred = logs - mean.unsqueeze(2)
    squares = centred.square()
    # a Weibull's log has the variance π²/6c²
    shape = (1.2825498 / squares.mean(dim=2).sqrt()).clamp(*SHAPE_RANGE)
    basis = torch.stack([torch.ones_like(centred), centred, squares])
    for _ in range(_NEWTON_STEPS):
        powers = (shape.unsqueeze(2) * centred).exp_()
        total, first, second = (basis * powers).sum(dim=3)
        first, second, inverse = first / total, second / total, 1 / shape
        shape = (shape + (inverse - first) / (inverse.square() + second - first.square())).clamp_(
            *SHAPE_RANGE
        )
    power = (shape.unsqueeze(2) * centred).exp().mean(dim=2)
    count = gaps.shape[2]
    height = count * (shape.log() - power.log() - mean - 1)
    return height, shape


def _best(grid: Tensor, heights: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    at = heights.argmax(dim=1, keepdim=True)
    return grid.gather(1, at), heights.gather(1, at), shapes.gather(1, at)


def _interval(grid: Tensor, heights: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """Where the profile likelihood has fallen by half chi-squared's 0.95 quantile, outwards on the grid."""
    inside = heights >= best[:, None] - _DROP
    low = torch.where(inside, grid, torch.inf).amin(dim=1)
    high = torch.where(inside, grid, 0.0).amax(dim=1)
    # an interval that reaches the grid's first point reaches the maximum itself
    low = torch.where((low <= grid[:, 0]) | low.isinf(), 0.0, low)
    return low, high


__all__ = ["FEWEST_DISTINCT", "REASONS", "SHAPE_RANGE", "WeibullFit", "fit", "may_exceed"]
