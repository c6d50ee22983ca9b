"""The scale spectrum: how steep a function looks through steps of every size, and what that says of steps.

A function with a hidden staircase is flat through fine steps and honest through coarse ones, a cast shows the
same, a ramp is steep where it is not flat. So the scale at which differences stop depending on the scale, the
plateau, belongs to the function beneath; and the share of fine differences that move at all counts the
staircase's levels.

Shapes: N inputs, P points each, A scales (ascending), k coordinates of d, K outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import dual, vector_norm, working
from falsefloor.numerics.secants import Boxed, jacobian

SCALES = (*(10 ** (k / 4 - 7) for k in range(25)), 0.15)
"""Four a decade from 1e-7 to 0.1 of the domain's width, and the widest step that secants take."""

FLAT = 0.15
"""A plateau is a run of scales whose slopes lie within this of each other."""

_CALM = 1.25
"""Scales whose gradients change this much more than at the calmest one are still as good as it."""

_ROUGH = 0.1
"""Where gradients at neighbouring scales inside the ball differ by more, wider scales are looked at too."""

RESOLVED = 50.0
"""Units in the last place of the largest output that a difference must show to be more than rounding."""


@dataclass(frozen=True)
class Spectrum:
    """What was measured, scale by scale: (N, A) unless said.

    median, largest: over the points, of the dual norm of the secant gradient of the margin. change: how far
    the secant gradient moves, relative to itself, when the step grows to the next scale. moves: (N, P, A, k),
    the largest slope of any output. magnitude: (N,), the largest output seen.
    """

    scales: Tensor
    median: Tensor
    largest: Tensor
    change: Tensor
    moves: Tensor
    magnitude: Tensor


@dataclass(frozen=True)
class Plateau:
    """index: (N,) the chosen scale's; slope (N,); found (N,) bool."""

    index: Tensor
    slope: Tensor
    found: Tensor


def enlarge(norms: Tensor, *, norm: str, size: int, count: int) -> Tensor:
    """Dual norms over ``count`` of ``size`` random coordinates, scaled to stand for all of them.

    Unbiased for the l1 dual norm (times d/k) and for the square of the l2 one (times √(d/k)); the linf dual
    norm of a subset is a lower bound of the whole, and no factor mends that.
    """
    return norms * {"linf": size / count, "l2": math.sqrt(size / count), "l1": 1.0}[norm]


def measure(
    asked: Boxed,
    points: Tensor,
    own: Tensor,
    other: Tensor,
    *,
    norm: str,
    width: float,
    coordinates: Tensor | None = None,
) -> Spectrum:
    """The spectrum of output ``own`` (N,) minus output ``other`` (N,) at points (N, P, *input).

    ``norm`` is the perturbation's, its dual measures gradients; ``width`` is what `SCALES` are shares of.
    Costs 2·k·P forwards a scale and input.
    """
    count, each = points.shape[:2]
    size = math.prod(points.shape[2:])
    scales = torch.tensor(SCALES, dtype=torch.float64) * width
    flat = points.reshape(count * each, *points.shape[2:])
    picked = None if coordinates is None else coordinates.repeat_interleave(each, dim=0)
    mine, theirs = (labels.repeat_interleave(each).reshape(-1, 1, 1) for labels in (own, other))
    with torch.no_grad():
        parts = torch.split(flat, max(asked.rows, 1))
        magnitude = torch.cat([asked.function(part).abs().amax(dim=1) for part in parts])
    slopes, moves = [], []
    for scale in scales.tolist():
        half = torch.full((len(flat),), scale, dtype=working(points.dtype), device=points.device)
        found = jacobian(asked, flat, scale=half, coordinates=picked)
        wide = found.shape[2]
        slopes.append((_row(found, mine, wide) - _row(found, theirs, wide)).reshape(count, each, wide))
        moves.append(found.abs().amax(dim=1).reshape(count, each, wide))
    gradients = torch.stack(slopes, dim=2)
    lengths = vector_norm(gradients.reshape(-1, gradients.shape[3]), dual(norm)).reshape(count, each, -1)
    lengths = enlarge(lengths, norm=norm, size=size, count=gradients.shape[3])
    usable = torch.nan_to_num(lengths, nan=0.0)
    return Spectrum(
        scales=scales.to(points.device).expand(count, -1),
        median=_middle(usable),
        largest=usable.amax(dim=1),
        change=_change(gradients),
        moves=torch.stack(moves, dim=2),
        magnitude=torch.nan_to_num(magnitude.reshape(count, each).amax(dim=1).to(working(magnitude.dtype))),
    )


def plateau(spectrum: Spectrum, *, limit: Tensor, eps: float) -> Plateau:
    """The coarsest run of at least three scales within 15 %, and the scale of it where neighbours agree best.

    Looks at scales up to ``limit`` (N,) first, at all of them where that shows no calm run. Scales at which
    the run's own slope would drown in rounding (50 units of ``eps`` at the largest output) are taken off its
    fine end. In a run the scale is the one whose secant gradient changes least towards the next: finer ones
    still see steps or rounding, coarser ones curvature. Without a run the coarsest scale is taken, and
    ``found`` is False.
    """
    rows = []
    for n in range(len(limit)):
        scales = spectrum.scales[n].tolist()
        inside = sum(scale <= float(limit[n]) * (1 + 1e-9) for scale in scales)
        median = spectrum.median[n].tolist()
        noise = RESOLVED * eps * float(spectrum.magnitude[n])
        change = spectrum.change[n].tolist()
        run, best = None, 0
        for stop in dict.fromkeys((max(inside, 0), len(scales))):
            wider = _coarsest_run(median[:stop], scales[:stop], noise)
            if wider is None:
                continue
            calmest = _calmest(change, *wider)
            if run is None or change[calmest - 1] < change[best - 1]:
                run, best = wider, calmest
            if change[best - 1] <= _ROUGH:
                break
        if run is None:
            best = max(inside - 1, 0)
        rows.append((best, median[best], run is not None))
    index, slope, found = zip(*rows, strict=True)
    device = spectrum.median.device
    return Plateau(
        index=torch.tensor(index, device=device),
        slope=torch.tensor(slope, dtype=spectrum.median.dtype, device=device),
        found=torch.tensor(found, device=device),
    )


def _coarsest_run(median: list[float], scales: list[float], noise: float) -> tuple[int, int] | None:
    """First and last index of the coarsest run of three or more scales within `FLAT`, above rounding."""
    for last in range(len(median) - 1, 1, -1):
        first, low, high = last, median[last], median[last]
        while first > 0 and low > 0:
            value = median[first - 1]
            if max(high, value) > (1 + FLAT) * min(low, value) or value * 2 * scales[first - 1] < noise:
                break
            first, low, high = first - 1, min(low, value), max(high, value)
        if last - first >= 2 and low > 0:
            return first, last
    return None


def _calmest(change: list[float], first: int, last: int) -> int:
    """The scale of the run whose gradient differs least from its finer neighbour's, looked for from the
    coarse end.

    Not the least of all: on a ramp, two steps that both stay on it agree perfectly about the wrong slope. So
    the search ends where the change has grown by half again. Of scales that are about as calm the finest is
    taken: coarse ones average the extremes away, which makes a floor too high.
    """
    best = last
    for k in range(last - 1, first, -1):
        if change[k - 1] < change[best - 1]:
            best = k
        elif change[k - 1] > 1.5 * change[best - 1]:
            break
    while best - 1 > first and change[best - 2] <= _CALM * change[best - 1]:
        best -= 1
    return best


def _change(gradients: Tensor) -> Tensor:
    """(N, A) from (N, P, A, k): the median over points of the relative change to the next scale; inf at the
    last."""
    moved = (gradients[:, :, 1:] - gradients[:, :, :-1]).square().sum(dim=3).sqrt()
    length = gradients[:, :, 1:].square().sum(dim=3).sqrt()
    relative = torch.where(length > 0, moved / length.clamp_min(torch.finfo(length.dtype).tiny), math.inf)
    middle = _middle(torch.nan_to_num(relative, nan=math.inf, posinf=math.inf))
    return torch.cat([middle, torch.full_like(middle[:, :1], math.inf)], dim=1)


def _middle(values: Tensor) -> Tensor:
    """The median over dim 1, the mean of the two middle values where their number is even."""
    ordered = values.sort(dim=1).values
    each = values.shape[1]
    return (ordered[:, (each - 1) // 2] + ordered[:, each // 2]) / 2


def _row(found: Tensor, labels: Tensor, wide: int) -> Tensor:
    return found.gather(1, labels.expand(-1, 1, wide)).squeeze(1)
