"""Single steps of a function, found by walking along one coordinate at a time.

Apart from counting how often differences move, because a riser that was located tells more than many that
were counted: the distance between neighbours is the step width whatever their shape, and an interval that
lies on one riser with both ends gives its slope, so its width. What lines along steep and shallow coordinates
all over the domain agree about is the input's; a float's steps and an output's differ from line to line.

Shapes: P points, M lines, T places on a line, K outputs; one input is *input, flattened where a coordinate is
picked.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from falsefloor.numerics.secants import ELEMENTS, Boxed
from falsefloor.numerics.spectrum import RESOLVED

_LINES = 24
"""Lines walked: enough that a few silent or bent ones leave a majority to agree."""

_FEW = 4
"""Lines whose risers are evenly spaced that must at least be there."""

_STEPS, _TILES = 6, 96
"""Guessed steps of a line, and the pieces it is cut into: 16 a step, because guesses were 0.45 to 1.78 of the
levels, the high ones at wide ramps."""

_RISEN = 0.2
"""A piece belongs to a riser when it rises by this share of the line's mean piece; flat ones rise by none."""

_HALVINGS = 16
"""From 3 pieces down to 3e-6 of a step: what still rises at once there is a jump."""

_ON = 0.45
"""An interval around a riser's middle that shows less of its height than this lies on it with both ends."""

_EVEN = 1.3
"""Largest over smallest distance between the risers of one line. Each is known to a piece, so jumps show up
to 9/7 where the guess was half of the truth."""

_ALIKE, _AGREEING, _HEARD = 0.1, 0.8, 0.75
"""Lines agree when these shares of them, of the readable ones and of all that rise, lie within a tenth of
their median. Half of a float's domain shares one step width, and up to 0.54 agreed in 60 looks behind
casts; behind staircases and ramps all lines did, in 800 looks at digits models."""

_FOLLOWS = 0.6
"""Rank correlation of 24 lines' risers with their slopes that chance reaches once in a thousand times."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class _Line:
    """A line that rises: which of the lines it is and the output that shows it, its mean slope, its whole
    risers per unit; where there are three at least, evenly spaced, the steps per unit (else NaN) and the
    interval low to high around the middle riser."""

    index: int
    output: int
    slope: float
    rate: float
    levels: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class _Walk:
    """A function of M points (M, *input) along one flattened coordinate (M,) of each."""

    asked: Boxed
    points: Tensor
    coordinate: Tensor

    def values(self, at: Tensor) -> Tensor:
        """Outputs (M, T, K) on the CPU, in float64, with the coordinate set to ``at`` (M, T)."""
        count, each = at.shape
        flat = self.points.reshape(count, -1)
        place = at.reshape(-1).to(flat)
        which = torch.arange(count, device=flat.device).repeat_interleave(each)
        outputs = []
        most = max(1, min(self.asked.rows, ELEMENTS // flat.shape[1]))
        for piece in torch.split(torch.arange(len(which), device=flat.device), most):
            moved = flat[which[piece]].scatter(
                1, self.coordinate[which[piece]].unsqueeze(1), place[piece].unsqueeze(1)
            )
            with torch.no_grad():
                outputs.append(self.asked.function(moved.reshape(-1, *self.points.shape[1:])).double().cpu())
        return torch.cat(outputs).reshape(count, each, -1)

    def held(self, at: Tensor) -> Tensor:
        """Positions as the points' precision holds them."""
        return at.to(self.points.dtype).double()

    def only(self, kept: list[int]) -> _Walk:
        return _Walk(self.asked, self.points[kept], self.coordinate[kept])


def walk_steps(
    asked: Boxed,
    points: Tensor,
    usual: Tensor,
    guess: float,
    *,
    ulp: float,
    generator: Generator,
    picked: Tensor | None = None,
) -> tuple[float, float, str]:
    """(levels, δ, "steps"), or NaN twice and why the lines mean nothing.

    ``points`` (P, *input) are where lines start from, ``usual`` (k,) the typical slope of each coordinate
    (those in ``picked`` (k,), or all), ``guess`` the levels within a factor of two, ``ulp`` the rounding of
    the largest output. δ is the share of a step that a straight riser takes which is as steep as the real
    one at half its height: 0 for jumps, NaN where risers differ. Takes 97 forwards a line and 18 for its
    riser; one number is drawn from ``generator``.
    """
    walk, places = _lay(asked, points, usual, guess, picked=picked, generator=generator)
    lines = _read(walk, places, ulp)
    even = [line for line in lines if not math.isnan(line.levels)]
    found = torch.tensor([line.levels for line in even], dtype=torch.float64)
    levels = float(found.median()) if even else math.nan
    agreeing = int(((found / levels - 1).abs() <= _ALIKE).sum())
    if len(even) < _FEW or agreeing < max(_AGREEING * len(even), _HEARD * len(lines)):
        return math.nan, math.nan, _disagreement(lines)
    return levels, _ramp_share(walk, even, levels, ulp), "steps"


def _lay(
    asked: Boxed, points: Tensor, usual: Tensor, guess: float, *, picked: Tensor | None, generator: Generator
) -> tuple[_Walk, Tensor]:
    """Lines through points (P, *input) along usable coordinates, steep and shallow in turn, and the places
    (M, `_TILES` + 1) to look at on them."""
    shape = points.shape[1:]
    size = math.prod(shape)
    low, high = (bound.double().expand(shape).reshape(size).cpu() for bound in (asked.lo, asked.hi))
    wide = torch.arange(size) if picked is None else picked.cpu()
    usable = ((usual > 0.1 * usual.max()) & (high > low)[wide]).nonzero().squeeze(1)
    ranked = usable[usual[usable].argsort(descending=True, stable=True)]
    turns = torch.arange(_LINES)
    # a golden rotation spreads the lines over the domain, and any few neighbours in steepness too
    draws = (torch.rand(1, generator=generator, dtype=torch.float64) + turns * _GOLDEN).frac()
    coordinate = wide[ranked[turns * len(ranked) // _LINES]] if len(ranked) else wide[:0]
    walk = _Walk(asked, points[turns[: len(coordinate)] % len(points)], coordinate.to(points.device))
    here = walk.points.reshape(len(coordinate), size).double().cpu().gather(1, coordinate.unsqueeze(1))[:, 0]
    low, high = low[coordinate], high[coordinate]
    span = _STEPS / guess
    bounded = (high - low).isfinite()
    low = torch.where(bounded, low, torch.maximum(low, here - span))
    high = torch.where(bounded, high, torch.minimum(high, here + span))
    length = (high - low).clamp_max(span)
    start = low + draws[: len(coordinate)] * (high - low - length)
    ticks = torch.arange(_TILES + 1, dtype=torch.float64) / _TILES
    places = start.unsqueeze(1) + length.unsqueeze(1) * ticks
    return walk, walk.held(places)


def _disagreement(lines: list[_Line]) -> str:
    """Why lines do not agree: steps in the output are met as often as the output rises."""
    slopes = torch.tensor([line.slope for line in lines]).argsort().argsort()
    rates = torch.tensor([line.rate for line in lines]).argsort().argsort()
    if len(lines) >= 2 * _FEW and float(torch.corrcoef(torch.stack([slopes, rates]))[0, 1]) > _FOLLOWS:
        return "refused: the steps are not in the input"
    return "refused: steps of uneven width"


def _read(walk: _Walk, places: Tensor, ulp: float) -> list[_Line]:
    """The lines that rise above rounding, in the output that rises most."""
    if not len(places):
        return []
    values = walk.values(places).nan_to_num(0.0, 0.0, 0.0)
    rises = values.diff(dim=1).abs()
    output = rises.sum(dim=1).argmax(dim=1)
    rises = rises.gather(2, output.reshape(-1, 1, 1).expand(-1, _TILES, 1)).squeeze(2)
    lines = []
    for index, (rise, place) in enumerate(zip(rises, places, strict=True)):
        total, length = float(rise.sum()), float(place[-1] - place[0])
        if total <= _STEPS * RESOLVED * ulp:
            continue
        risers = _risers(rise > max(_RISEN * total / _TILES, 4 * ulp))
        line = _Line(index, int(output[index]), total / length, len(risers) / length)
        middles = (place[1:] + place[:-1]) / 2
        centres = [float((rise[a:b] * middles[a:b]).sum() / rise[a:b].sum()) for a, b in risers]
        gaps = [right - left for left, right in itertools.pairwise(centres)]
        if len(gaps) >= 2 and max(gaps) <= _EVEN * min(gaps):
            first, last = risers[len(risers) // 2]
            line = replace(
                line,
                levels=len(gaps) / (centres[-1] - centres[0]),
                low=float(place[first - 1]),
                high=float(place[last + 1]),
            )
        lines.append(line)
    return lines


def _risers(risen: Tensor) -> list[tuple[int, int]]:
    """Runs of pieces that rise, as (first, after the last), without those that touch an end of the line."""
    edges = torch.cat([torch.tensor([False]), risen, torch.tensor([False])]).int().diff().nonzero().squeeze(1)
    pairs = edges.reshape(-1, 2).tolist()
    return [(first, last) for first, last in pairs if first > 0 and last < len(risen)]


def _ramp_share(walk: _Walk, lines: list[_Line], levels: float, ulp: float) -> float:
    """The median share of a step that a riser takes; 0 for jumps, NaN where the risers are not alike.

    Halves the interval around the point at half of a riser's height until it shows less than `_ON` of it:
    then neither end can lie beyond the riser.
    """
    walk = walk.only([line.index for line in lines])
    output = torch.tensor([line.output for line in lines]).unsqueeze(1)
    low = torch.tensor([line.low for line in lines], dtype=torch.float64)
    high = torch.tensor([line.high for line in lines], dtype=torch.float64)
    ends = walk.values(torch.stack([low, high], dim=1)).gather(2, output.unsqueeze(1).expand(-1, 2, 1))
    below, above = ends[:, 0, 0], ends[:, 1, 0]
    height, half, rising = (above - below).abs(), (above + below) / 2, (above - below).sign()
    share = torch.zeros(len(lines), dtype=torch.float64)
    done = torch.zeros(len(lines), dtype=torch.bool)
    for _ in range(_HALVINGS):
        middle = walk.held((low + high) / 2)
        value = walk.values(middle.unsqueeze(1)).squeeze(1).gather(1, output).squeeze(1)
        left = (value - half) * rising < 0
        low, below = torch.where(left, middle, low), torch.where(left, value, below)
        high, above = torch.where(left, high, middle), torch.where(left, above, value)
        seen = (above - below).abs()
        on = (seen < _ON * height) & (seen > 0) & ~done
        share[on] = (levels * height * (high - low) / seen)[on]
        done |= on
    share = share[height > RESOLVED * ulp]
    if not len(share):
        return math.nan
    found = float(share.median())
    alike = (share - found).abs() <= max(0.25 * found, 1e-3)
    return min(found, 1.0) if float(alike.double().mean()) > 0.5 else math.nan
