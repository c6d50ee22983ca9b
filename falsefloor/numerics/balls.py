"""Norm balls inside a box: norms and duals, folding, and sampling without atoms.

Every estimator looks at points of the same set, the ball cut with the input domain. Points that leave the
box are folded back (reflected), never clipped: clipping puts a positive probability on the faces, which are
exactly the step edges of a quantiser. Folding never increases a distance to a point inside the box.

Norms are named "l1", "l2", "linf". Shapes: N inputs, ``*input`` the shape of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

_ORDER = {"l1": 1.0, "l2": 2.0, "linf": math.inf}
_DUAL = {"l1": "linf", "l2": "l2", "linf": "l1"}


def dual(norm: str) -> str:
    """The dual norm's name: 1/p + 1/q = 1. Raises ValueError for an unknown norm."""
    _order(norm)
    return _DUAL[norm]


def working(dtype: torch.dtype) -> torch.dtype:
    """The type that norms and sums are taken in: the given one, but never less than float32."""
    return torch.promote_types(dtype, torch.float32)


def wide(values: Tensor, like: Tensor) -> Tensor:
    """Values with further dimensions of size 1, as many as ``like`` has."""
    return values.reshape(*values.shape, *([1] * (like.ndim - values.ndim)))


def vector_norm(x: Tensor, norm: str) -> Tensor:
    """The norm of each row of x (N, …), over all other dimensions: (N,), in float32 at least.

    The l2 norm neither overflows nor underflows where the result itself is representable.
    """
    order = _order(norm)
    flat = x.reshape(x.shape[0], -1)
    flat = flat.to(working(flat.dtype))
    norms: Tensor = torch.linalg.vector_norm(flat, order, dim=1)
    if norm != "l2":
        return norms
    # squares leave the representable range long before the norm does: redo those rows, scaled
    finfo = torch.finfo(flat.dtype)
    doubtful = ~((norms > math.sqrt(finfo.tiny) / finfo.eps) & (norms < math.inf))
    if bool(doubtful.any()):
        rows = flat[doubtful]
        scale = rows.abs().amax(dim=1, keepdim=True)
        usable = (scale > 0) & (scale < math.inf)
        safe = torch.where(usable, scale, 1.0)
        redone = torch.linalg.vector_norm(rows / safe, order, dim=1) * safe.squeeze(1)
        norms = norms.masked_scatter(doubtful, redone)
    return norms


def diameter(lo: Tensor, hi: Tensor, shape: tuple[int, ...], norm: str) -> float:
    """The largest distance between two points of the box, for inputs of the given shape (without N)."""
    widths = (hi.to(torch.float64) - lo.to(torch.float64)).expand(shape)
    return float(vector_norm(widths.reshape(1, -1), norm))


def fold(x: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Reflect x at the faces of the box as often as needed; a point inside is returned bit for bit."""
    once = torch.where(x < lo, 2 * lo - x, x)
    once = torch.where(once > hi, 2 * hi - once, once)
    if bool(((once >= lo) & (once <= hi)).all()):
        return once
    width = hi - lo
    period = torch.where(width > 0, 2 * width, 1.0)
    phase = torch.remainder(x - lo, period)
    phase = torch.where(width > 0, torch.minimum(phase, period - phase), 0.0)
    many = torch.minimum(lo + phase, hi)
    # NaN stays NaN: a fold must not hide that its input was no point at all
    return torch.where((once >= lo) & (once <= hi) | x.isnan(), once, many)


def sample(
    centre: Tensor,
    *,
    norm: str,
    radius: float | Tensor,
    count: int,
    generators: Sequence[Generator],
    lo: Tensor,
    hi: Tensor,
) -> Tensor:
    """Points of the ball of ``radius`` (a number or (N,)) around centre (N, *input), inside the box.

    Returns (N, count, *input). Each input draws from its own generator, always in float32, so that its points
    depend neither on its neighbours nor on the model's precision. linf: uniform on the ball cut with the box.
    l2: Gaussian direction times U^(1/d). l1: d of d + 1 normalised exponential spacings, with signs
    (Calafiore, Dabbene & Tempo 1999). l2 and l1 are uniform on the whole ball, then folded.
    """
    shape = centre.shape[1:]
    size = math.prod(shape)
    dtype, device = working(centre.dtype), centre.device
    each = [_draw(size, norm, count, generator) for generator in generators]
    draws = torch.stack(each) if len(each) > 1 else each[0].unsqueeze(0)
    draws = draws.to(device=device, dtype=dtype)
    radii = torch.as_tensor(radius, dtype=dtype, device=device).reshape(-1, 1, 1)
    middle = centre.to(dtype).reshape(len(centre), 1, size)
    low, high = (bound.to(dtype).expand(shape).reshape(1, 1, size) for bound in (lo, hi))
    if norm == "linf":
        bottom = torch.maximum(low, middle - radii)
        top = torch.minimum(high, middle + radii)
        # the last rounding may step over the end of the interval
        points = torch.minimum(draws.mul_(top - bottom).add_(bottom), top, out=draws)
    else:
        points = fold(draws.mul_(radii).add_(middle), low, high)
    return points.to(centre.dtype).reshape(len(centre), count, *shape)


def directions(shape: tuple[int, ...], *, norm: str, count: int, generator: Generator) -> Tensor:
    """Random unit vectors of the norm: (count, *shape), float32.

    linf: signs, the corners of the cube. l2: uniform on the sphere. l1: signed exponential spacings,
    normalised (uniform on the cross-polytope's surface).
    """
    size = math.prod(shape)
    if norm == "linf":
        flat = _signs(count, size, generator)
    elif norm == "l2":
        flat = torch.randn(count, size, generator=generator)
        flat = flat / torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    else:
        _order(norm)
        flat = torch.empty(count, size).exponential_(generator=generator)
        flat = flat / flat.sum(dim=1, keepdim=True) * _signs(count, size, generator)
    return flat.reshape(count, *shape)


def _draw(size: int, norm: str, count: int, generator: Generator) -> Tensor:
    """(count, size): uniform on [0, 1) per coordinate for linf, points of the unit ball otherwise."""
    if norm == "linf":
        return torch.rand(count, size, generator=generator)
    if norm == "l2":
        gauss = torch.randn(count, size, generator=generator)
        length = torch.linalg.vector_norm(gauss, dim=1, keepdim=True)
        share = torch.rand(count, 1, generator=generator).pow(1 / size)
        inside: Tensor = gauss * (share / length)
        return inside
    _order(norm)
    spacings = torch.empty(count, size + 1).exponential_(generator=generator)
    total = spacings.sum(dim=1, keepdim=True)
    return spacings[:, :size] / total * _signs(count, size, generator)


def _signs(count: int, size: int, generator: Generator) -> Tensor:
    coins = torch.randint(0, 2, (count, size), generator=generator, dtype=torch.int8)
    signs: Tensor = coins.float().mul_(2).sub_(1)
    return signs


def _order(norm: str) -> float:
    if norm not in _ORDER:
        raise ValueError(f"There is no norm {norm!r}: use one of {', '.join(_ORDER)}.")
    return _ORDER[norm]
