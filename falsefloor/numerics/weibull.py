"""The reverse Weibull distribution, fitted to the maxima of batches to extrapolate to a supremum.

Maxima of bounded samples tend to G(x) = exp(-((a - x)/b)^c) for x ≤ a; the location a estimates the supremum
(Weng et al. 2018, section 3.2; Fisher & Tippett 1928). An unconstrained fit is not usable: it puts the
location below a value that was observed, or orders of magnitude above. This one is constrained, location ≥
maximum and shape in [1, 5], and searches the profile likelihood instead of starting an optimiser from
guesses: a logarithmic grid of the location's excess over the maximum, Newton's method for the shape, closed
form for the scale. All rows are fitted at once, in numpy: a fit is some hundred operations on fifty numbers,
and each of them costs a tensor library several times as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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
_GRID = np.logspace(-3, 2, 18)
# around the best of the grid: 1.08 from point to point
_REFINED = np.linspace(-1, 1, 19)
_NEWTON_STEPS = 3
# an eighth of a megabyte a temporary: more rows at once are no faster, and memory must not grow with batches
_ELEMENTS = 2**14

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class WeibullFit:
    """Fits of R rows, each (R,), in float64 on the maxima's device.

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


@np.errstate(all="ignore")  # what is not finite is said by the reason
def fit(maxima: Tensor) -> WeibullFit:
    """Constrained maximum likelihood of the reverse Weibull for each row of maxima (R, n), n ≥ 1."""
    values = maxima.detach().to("cpu", torch.float64).numpy()
    top = values.max(axis=1)
    ordered = np.sort(values, axis=1)
    distinct = 1 + (ordered[:, 1:] > ordered[:, :-1]).sum(axis=1)
    finite = np.isfinite(values).all(axis=1)
    spread = top - values.mean(axis=1)
    reason = np.where(distinct < FEWEST_DISTINCT, 2, 0)
    # differences of float32 maxima below this are rounding, and their logarithms are noise
    reason[~(spread > 1e-7 * np.abs(top))] = 3
    reason[~finite] = 4
    # location, shape, scale, low, high
    found = np.full((5, len(values)), np.nan)
    wanted = np.flatnonzero(reason == 0)
    step = max(1, _ELEMENTS // (values.shape[1] * len(_GRID)))
    for part in (wanted[start : start + step] for start in range(0, len(wanted), step)):
        found[:, part] = _profile(values[part], top[part], spread[part])
    location, shape, scale, low, high = found
    reason[(reason == 0) & (shape <= SHAPE_RANGE[0] * (1 + 1e-9))] = 1
    fitted = reason == 0
    low, high = (np.where(distinct < FEWEST_FOR_INTERVAL, np.nan, end) for end in (low, high))
    # NaN propagates: a supremum over values of which one is unknown is unknown
    location = np.where(fitted, np.maximum(location, top), top)
    columns = (location, shape, scale, fitted, reason, low, high, distinct)
    return WeibullFit(*(torch.from_numpy(column).to(maxima.device) for column in columns))


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


def _profile(rows: Numbers, top: Numbers, spread: Numbers) -> tuple[Numbers, ...]:
    """Location, shape, scale and interval of rows (R, n), none degenerate."""
    grid = np.broadcast_to(_GRID, (len(rows), len(_GRID)))
    gaps = ((top[:, None] - rows) / spread[:, None])[:, None]
    coarse, shapes = _likelihood(gaps, grid)
    step = float(_GRID[1] / _GRID[0])
    finer = _best(grid, coarse, shapes)[0] * step**_REFINED
    excess, height, shape = (column[:, 0] for column in _best(finer, *_likelihood(gaps, finer)))
    lengths = gaps[:, 0] + excess[:, None]
    scale = np.power(np.power(lengths, shape[:, None]).mean(axis=1), 1 / shape) * spread
    low, high = _interval(grid, coarse, height)
    return (top + excess * spread, shape, scale, top + low * spread, top + np.maximum(high, excess) * spread)


def _likelihood(gaps: Numbers, excess: Numbers) -> tuple[Numbers, Numbers]:
    """Profile log-likelihood and shape, (R, A) each, at locations that lie ``excess`` (R, A) above the
    maximum.

    gaps (R, 1, n): distances of the values to the maximum. The scale drops out by its closed form.
    """
    logs = np.log(gaps + excess[:, :, None])
    mean = logs.mean(axis=2)
    # centring keeps exp(c·log y) in range for any scale; the likelihood pays c·mean back below
    centred = logs - mean[:, :, None]
    squares = np.square(centred)
    # a Weibull's log has the variance π²/6c²
    shape = np.clip(1.2825498 / np.sqrt(squares.mean(axis=2)), *SHAPE_RANGE)
    for _ in range(_NEWTON_STEPS):
        powers = np.exp(shape[:, :, None] * centred)
        total = powers.sum(axis=2)
        first = (powers * centred).sum(axis=2) / total
        second = (powers * squares).sum(axis=2) / total
        inverse = 1 / shape
        step = (inverse - first) / (np.square(inverse) + second - np.square(first))
        shape = np.clip(shape + step, *SHAPE_RANGE)
    power = np.exp(shape[:, :, None] * centred).mean(axis=2)
    height = gaps.shape[2] * (np.log(shape) - np.log(power) - mean - 1)
    return height, shape


def _best(grid: Numbers, heights: Numbers, shapes: Numbers) -> tuple[Numbers, ...]:
    at = heights.argmax(axis=1)[:, None]
    return tuple(np.take_along_axis(column, at, axis=1) for column in (grid, heights, shapes))


def _interval(grid: Numbers, heights: Numbers, best: Numbers) -> tuple[Numbers, Numbers]:
    """Where the profile likelihood has fallen by half chi-squared's 0.95 quantile, outwards on the grid."""
    inside = heights >= best[:, None] - _DROP
    low = np.where(inside, grid, np.inf).min(axis=1)
    high = np.where(inside, grid, 0.0).max(axis=1)
    # an interval that reaches the grid's first point reaches the maximum itself
    low = np.where((low <= grid[:, 0]) | np.isinf(low), 0.0, low)
    return low, high
