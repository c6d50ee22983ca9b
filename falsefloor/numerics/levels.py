"""How many steps a unit of input holds, read off how often fine differences move.

Apart from the spectrum because it answers another question: not how steep the function is beneath the steps,
but how wide the steps are. The knee of the spectrum does not tell (it depends on the number of coordinates);
the share p(h) of single-coordinate differences that move at all does. On a staircase with c levels a unit it
is 2·c·h + δ, where δ is the share of the domain on which the function slopes by itself: 0 for steps, the
ramp's share for a ramp. That line gives a first count. The second count asks for moves of half a step's
height, which happen with probability 2·c·h exactly, whatever the shape of a symmetric riser.

Shapes as in `falsefloor.numerics.spectrum`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from falsefloor.numerics.secants import jacobian
from falsefloor.numerics.spectrum import RESOLVED, Plateau, Spectrum

WINDOW = (0.04, 0.75)
"""Where the line is straight: above counting noise, below the share at which most differences cross a
step."""

FEWEST = 3.0
"""A ball that holds fewer steps than this does not say how wide they are."""

_MOVED = 0.05
"""A difference has moved when it shows this share of the coordinate's plateau slope."""

_COUNTED = 48
"""Differences that a scale's share must rest on."""

_UNEVEN = 1.35
"""Steep coordinates that step this much more often than shallow ones: four standard deviations of the
count."""

_OVER, _UNDER = 1.2, 1.6
"""How far the first count may lie above and below the second. Soft risers make the first too small (by a
third at a sigmoid gain of 40); only steps of many widths, a float's, make it too large."""

_SHARES = (0.2, 0.4, 0.6)
"""Steps crossed by a difference of the second count, on average."""


@dataclass(frozen=True)
class Levels:
    """levels: (N,) steps per unit of input, 0 where there are none, NaN where refused. ramp_share: (N,), δ, 1
    where there are no steps. reason: N words."""

    levels: Tensor
    ramp_share: Tensor
    reason: list[str]


@dataclass(frozen=True)
class _Share:
    """p(h) of one scale, and how many differences it rests on."""

    scale: float
    moved: float
    counted: int


def count_levels(
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    spectrum: Spectrum,
    plateau: Plateau,
    *,
    radius: Tensor,
    lo: Tensor,
    hi: Tensor,
    rows: int,
    eps: float,
    generators: Sequence[Generator],
    coordinates: Tensor | None = None,
) -> Levels:
    """Levels for points (N, P, *input) whose spectrum is known; ``radius`` (N,) must hold at least three
    steps.

    The first count costs nothing, the second 6·k·P forwards where the first saw steps. In it the differences
    lie anywhere in the domain, one coordinate at a time, because a small ball beside a face holds too few
    whole steps. Refuses, in words, where there is no plateau to compare with, where the ball holds fewer than
    three steps, where the line does not fit, where the two counts disagree (a float's steps have no one
    width), and where steep coordinates step more often than shallow ones (then the steps are not in the
    input).
    """
    counts = []
    for n in range(len(radius)):
        moves = spectrum.moves[n].double().cpu()
        index = int(plateau.index[n])
        noise = RESOLVED * eps * float(spectrum.magnitude[n])
        shares = _shares(
            spectrum.scales[n].tolist()[: index + 1], moves, moves[:, index].median(0).values, noise
        )
        first = (
            _first_count(shares) if bool(plateau.found[n]) else (math.nan, math.nan, "refused: no plateau")
        )
        if first[2] == "steps":
            picked = None if coordinates is None else coordinates[n]
            second = _second_count(
                function,
                points[n],
                moves[:, index].median(0).values,
                first[0],
                generator=generators[n],
                picked=picked,
                lo=lo,
                hi=hi,
                rows=rows,
            )
            first = _judge(second, first[0], shares, float(radius[n]))
        counts.append(first)
    numbers = torch.tensor(
        [count[:2] for count in counts], dtype=torch.float64, device=spectrum.median.device
    )
    return Levels(levels=numbers[:, 0], ramp_share=numbers[:, 1], reason=[count[2] for count in counts])


def _shares(scales: list[float], moves: Tensor, usual: Tensor, noise: float) -> list[_Share]:
    """p(h) from moves (P, A, k) against the coordinates' usual slopes (k,), where enough can be counted."""
    found = []
    for index, scale in enumerate(scales):
        # a coordinate that hardly matters, or whose difference would be rounding, says nothing at this scale
        usable = (usual > 0.1 * usual.max()) & (usual * 2 * scale > noise)
        moved = moves[:, index, usable] > _MOVED * usual[usable]
        if moved.numel() >= _COUNTED:
            found.append(_Share(scale, float(moved.double().mean()), moved.numel()))
    return found


def _first_count(shares: list[_Share]) -> tuple[float, float, str]:
    """(levels, δ, reason) by binomially weighted least squares of p = 2·levels·h + δ in the window."""
    refused = (math.nan, math.nan)
    if not shares:
        return *refused, "refused: nothing above rounding"
    if min(share.moved for share in shares) >= WINDOW[1]:
        return 0.0, 1.0, "no steps"
    if max(share.moved for share in shares) <= WINDOW[0]:
        return *refused, "refused: fewer than three steps"
    chosen = [share for share in shares if WINDOW[0] < share.moved < WINDOW[1]]
    if len(chosen) < 2:
        return *refused, "refused: too few scales show steps"
    h = torch.tensor([2 * share.scale for share in chosen], dtype=torch.float64)
    p = torch.tensor([share.moved for share in chosen], dtype=torch.float64)
    weight = torch.tensor([share.counted for share in chosen], dtype=torch.float64) / (p * (1 - p))
    mean_h, mean_p = (weight * h).sum() / weight.sum(), (weight * p).sum() / weight.sum()
    slope = (weight * (h - mean_h) * (p - mean_p)).sum() / (weight * (h - mean_h) ** 2).sum()
    if float(slope) <= 0:
        return *refused, "refused: no line"
    return float(slope), float(mean_p - slope * mean_h), "steps"


def _second_count(
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    usual: Tensor,
    guess: float,
    *,
    lo: Tensor,
    hi: Tensor,
    rows: int,
    generator: Generator,
    picked: Tensor | None,
) -> tuple[float, bool]:
    """(levels, whether steep coordinates step more often) from points (P, *input), given a first guess.

    Asks how often a difference reaches half of a step's height; the height is the usual slope over the
    levels, so the count is repeated with its own answer.
    """
    shape = points.shape[1:]
    size = math.prod(shape)
    base = points.repeat(4, *(1 for _ in shape))
    low, high = (bound.to(torch.float64).expand(shape).reshape(size).cpu() for bound in (lo, hi))
    draws = torch.rand(len(base), size, generator=generator, dtype=torch.float64)
    wide = torch.arange(size) if picked is None else picked.cpu()
    width = (high - low)[wide]
    usable = (usual > 0.1 * usual.max()) & (width > 0)
    drops = []
    for share in _SHARES:
        half = share / (2 * guess)
        # an interval of length 2h anywhere inside the box
        middles = low + half + draws * (high - low - 2 * half).clamp_min(0)
        found = jacobian(
            function,
            base,
            scale=torch.full((len(base),), half, dtype=torch.float64, device=points.device),
            lo=lo,
            hi=hi,
            rows=rows,
            coordinates=None if picked is None else picked.expand(len(base), -1),
            middles=middles.to(points),
        )
        drops.append((half, found.abs().amax(dim=1).double().cpu() * 2 * half))
    steep = usable & (usual > usual[usable].median())
    levels = guess
    for _ in range(6):
        height = usual / (2 * levels)
        rates = torch.zeros(3, dtype=torch.float64)
        for half, drop in drops:
            # inside a box of width w an interval of 2h meets each edge with probability 2h/(w - 2h)
            crossed = (drop > height) * (1 - 2 * half / width.clamp_min(4 * half))
            for place, group in enumerate((usable, steep, usable & ~steep)):
                rates[place] += crossed[:, group].mean() / (2 * half * len(drops))
        # a face of the box is an edge for some quantisers and not for others: half an edge
        levels = max(float(rates[0] + 0.5 / width[usable].mean()), 0.25 * guess)
    return levels, bool(rates[1] > _UNEVEN * rates[2])


def _judge(
    second: tuple[float, bool], guess: float, shares: list[_Share], radius: float
) -> tuple[float, float, str]:
    """(levels, δ, reason) of the second count, or why it means nothing."""
    levels, uneven = second
    if uneven:
        return math.nan, math.nan, "refused: the steps are not in the input"
    if not guess / _OVER < levels < guess * _UNDER:
        return math.nan, math.nan, "refused: steps of uneven width"
    if radius * levels < FEWEST:
        return math.nan, math.nan, "refused: fewer than three steps"
    fine = [share for share in shares if 2 * levels * share.scale < 0.3]
    counted = sum(share.counted for share in fine)
    offset = sum((share.moved - 2 * levels * share.scale) * share.counted for share in fine) / max(counted, 1)
    return levels, min(max(offset, 0.0), 1.0), "steps"


__all__ = ["FEWEST", "WINDOW", "Levels", "count_levels"]
