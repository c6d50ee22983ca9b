"""Secant slopes of a function inside a box: derivatives that need nothing but values.

They are apart from the estimators because a central difference has three traps that each user would meet
again: it must never leave the box (an integer cast wraps there), it must divide by the step that was really
taken in the working precision, and next to a face it must not put a point on the face itself, which is a step
edge of every quantiser.

Shapes: M points, K outputs, d coordinates of one input (``*input`` flattened), k of them differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from falsefloor.numerics.balls import working

WIDEST = 0.15
"""Largest half step, as a share of the box: a one-sided step of twice that still fits with its offset."""

ELEMENTS = 1 << 24
"""Input numbers of one forward at most (64 MB in float32): bounds memory where one input is large."""

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Boxed:
    """A function of points (R, *input) on the box lo, hi, which broadcast to one input; rows: how many points
    one forward may take."""

    function: Callable[[Tensor], Tensor]
    lo: Tensor
    hi: Tensor
    rows: int

    def corners(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The box (d,) in the type of points (M, *input)."""
        low, high = (
            bound.to(points.dtype).expand(points.shape[1:]).reshape(-1) for bound in (self.lo, self.hi)
        )
        return low, high


def ends(points: Tensor, scale: Tensor, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and upper end of a step of half width ``scale`` in every coordinate, each (M, d).

    points (M, d), scale broadcastable to it, lo and hi (d,). The step's middle lies up to h/4 beside the
    point, differently in each coordinate: on a grid of pixels under a staircase, all coordinates would
    otherwise meet the steps in the same phase, and err together. Where z ± h would leave the box the step
    becomes one-sided, of the same length, and starts up to h/2 inside, so that no end lies on the face. h is
    cut to `WIDEST` of the box; a box of no width gives a step of no width.
    """
    reach = torch.minimum(scale.expand_as(points), WIDEST * (hi - lo))
    share = _shares(points.shape[1], points.dtype, points.device)
    middle = points + (share - 0.5) * (0.5 * reach)
    inset = share * (0.5 * reach)
    start, stop = points + inset, points - inset
    leaves_below, leaves_above = middle - reach < lo, middle + reach > hi
    low = torch.where(leaves_below, start, torch.where(leaves_above, stop - 2 * reach, middle - reach))
    high = torch.where(leaves_below, start + 2 * reach, torch.where(leaves_above, stop, middle + reach))
    # the last rounding may step over a face
    return torch.maximum(low, lo), torch.minimum(high, hi)


@lru_cache(maxsize=64)
def _shares(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    phase = torch.arange(1, size + 1, dtype=torch.float64, device=device) * _GOLDEN
    return (phase - phase.floor()).to(dtype)


def jacobian(asked: Boxed, points: Tensor, *, scale: Tensor, coordinates: Tensor | None = None) -> Tensor:
    """Secant slopes of all outputs along coordinates: (M, K, k), in float32 at least.

    points (M, *input); scale (M,), the half step in the input's units; coordinates (M, k) picks flattened
    coordinates of each point, all of them without it. It costs 2·k forwards a point. A coordinate whose step
    is lost to rounding has slope 0.
    """
    count, shape = len(points), points.shape[1:]
    size = math.prod(shape)
    flat = points.reshape(count, size)
    chosen = (
        torch.arange(size, device=points.device).expand(count, size) if coordinates is None else coordinates
    )
    rows = max(2, min(asked.rows, ELEMENTS // max(size, 1)))
    across = min(chosen.shape[1], rows // 2)
    down = max(1, rows // (2 * max(across, 1)))
    blocks = []
    for start in range(0, count, down):
        here = slice(start, start + down)
        step = scale[here].to(points.dtype).reshape(-1, 1)
        below, above = ends(flat[here], step, *asked.corners(points))
        strips = [
            _block(asked.function, flat[here], part, below.gather(1, part), above.gather(1, part), shape)
            for part in torch.split(chosen[here], max(across, 1), dim=1)
        ]
        blocks.append(strips[0] if len(strips) == 1 else torch.cat(strips, dim=2))
    return torch.cat(blocks)


def _block(
    function: Callable[[Tensor], Tensor],
    flat: Tensor,
    part: Tensor,
    below: Tensor,
    above: Tensor,
    shape: torch.Size,
) -> Tensor:
    """Slopes (m, K, k) at flat (m, d) along coordinates part (m, k) between the given ends (m, k)."""
    count = len(flat)
    wide = part.shape[1]
    moved = flat.unsqueeze(1).repeat(1, 2 * wide, 1)
    where = part.unsqueeze(2)
    moved[:, :wide].scatter_(2, where, above.unsqueeze(2))
    moved[:, wide:].scatter_(2, where, below.unsqueeze(2))
    with torch.no_grad():
        outputs = function(moved.reshape(count * 2 * wide, *shape))
    outputs = outputs.to(working(outputs.dtype)).reshape(count, 2 * wide, -1)
    step = above.to(outputs.dtype) - below.to(outputs.dtype)
    taken = step > 0
    # a product with the inverse: it is one pass over a number per output, and 1/step is as exact as the
    # quotient
    inverse = torch.where(taken, step, 1.0).reciprocal() * taken
    return ((outputs[:, :wide] - outputs[:, wide:]) * inverse.unsqueeze(2)).transpose(1, 2)


def fan(asked: Boxed, points: Tensor, *, scale: Tensor) -> Tensor:
    """`jacobian` along all coordinates at half its cost: d + 1 forwards a point, all steps from one end.

    The shared end lies up to h/4 beside the point, differently in each coordinate, as the middles of `ends`
    do, and inside a face by as much as those. Every other coordinate steps down, so that neither what bends
    inside a step nor the rounding of the shared value adds up.
    """
    count, shape = len(points), points.shape[1:]
    size = math.prod(shape)
    low, high = asked.corners(points)
    flat = points.reshape(count, size)
    below, above = ends(flat, scale.to(points.dtype).reshape(-1, 1), low, high)
    wide, middle = above - below, below + (above - below) / 2
    first, last = flat - below < 0, above - flat < 0
    down = (torch.arange(size, device=points.device) % 2 == 1).expand(count, size)
    down = torch.where(middle - wide < low, False, torch.where(middle + wide > high, True, down))
    down = torch.where(first, False, torch.where(last, True, down))
    start = torch.where(first, below, torch.where(last, above, middle))
    stop = torch.minimum(torch.maximum(torch.where(down, start - wide, start + wide), low), high)
    most = max(1, min(asked.rows, ELEMENTS // max(size, 1)))
    slopes = []
    for at in range(count):
        with torch.no_grad():
            here = asked.function(start[at].reshape(1, *shape))
            moved = []
            for part in torch.split(torch.arange(size, device=points.device), most):
                there = start[at].repeat(len(part), 1)
                there.scatter_(1, part.unsqueeze(1), stop[at, part].unsqueeze(1))
                moved.append(asked.function(there.reshape(-1, *shape)))
        outputs = torch.cat(moved).to(working(here.dtype))
        step = (stop[at] - start[at]).to(outputs.dtype)
        inverse = torch.where(step != 0, step, 1.0).reciprocal() * (step != 0)
        slopes.append(((outputs - here.to(outputs.dtype)) * inverse.unsqueeze(1)).T)
    return torch.stack(slopes)


def some_coordinates(size: int, *, count: int, generators: Sequence[torch.Generator]) -> Tensor | None:
    """Random coordinates without repetition, one row an input: (N, count), or None where all d fit in
    count."""
    if size <= count:
        return None
    return torch.stack([torch.randperm(size, generator=g)[:count].sort().values for g in generators])
