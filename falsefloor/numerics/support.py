"""How much a linear function can fall inside a ball cut with the box: per unit of radius, and to which least.

S_ρ(g) = (1/ρ) · max{-g·δ : ‖δ‖_p ≤ ρ, lo ≤ x₀ + δ ≤ hi}. Without the box it is the dual norm of g; with it,
it is never larger, and falls as ρ grows. A floor built on S_ρ instead of the dual norm uses that a
perturbation cannot leave the input domain.

Each coordinate moves against its gradient, by at most its cap: the way to the face it moves towards.
linf: every coordinate goes min(ρ, cap). l2: δ = min(λ|g|, cap), λ by Newton's method on the piecewise linear,
concave λ² ↦ ‖δ‖², which arrives from below in a few steps; the Lagrangian's value is returned, so a λ that
has not arrived errs upwards (a larger S, a smaller floor). l1: coordinates in order of |g|, a fractional
knapsack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import dual, vector_norm, working

# Newton's method needed at most 9 steps on random gradients and boxes up to d = 4096
_NEWTON_STEPS = 40
_LARGEST_SQUARE = 1e30


def support(g: Tensor, centre: Tensor, lo: Tensor, hi: Tensor, *, norm: str, rho: float | Tensor) -> Tensor:
    """S_ρ of gradients g (N, …) at centres (N, …) or (1, …).

    rho: a positive number, giving (N,); or (A,) or (N, A), giving (N, A).
    """
    dual(norm)
    flat, down, up = _flatten(g, centre, lo, hi)
    radii = torch.as_tensor(rho, dtype=flat.dtype, device=flat.device)
    value = _exact(flat, down, up, radii, norm=norm)
    return value.squeeze(1) if radii.ndim == 0 else value


def cube_weights(down: Tensor, up: Tensor, *, rho: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (u, v), each (A + 1, d), with u @ |g| + v @ g for linf: S_ρ at radii rho (A,), then the dual
    norm.

    down, up (d,): how far each coordinate can fall and rise. Many gradients of one centre cost one pair of
    matrix products instead of A passes.
    """
    radii = rho.reshape(-1, 1)
    one = torch.ones_like(down).unsqueeze(0)
    below, above = (torch.cat([torch.clamp(side / radii, max=1), one]) for side in (down, up))
    return (below + above) / 2, (below - above) / 2


def common_support(
    flat: Tensor, down: Tensor, up: Tensor, *, norm: str, rho: Tensor, guide: Tensor | None = None
) -> Tensor:
    """S_ρ, or slightly more, of many gradients (P, d) at one centre with caps down, up (d,): (P, A).

    The Lagrangian bounds S_ρ from above for *any* multiplier. Instead of solving for each gradient's own,
    this takes that of a guide (d,), scaled by the ratio of the dual norms: one pass a radius instead of a
    search, and exact where gradients are parallel to the guide (a linear model). It is never below S_ρ, so
    a floor that rests on it can only get smaller. Without a guide the exact value is computed.
    """
    if guide is None or norm == "linf":
        return _exact(flat, down, up, rho, norm=norm)
    size, caps = flat.abs(), torch.where(flat > 0, down, up)
    model = guide.reshape(1, -1)
    limits, model = torch.where(model > 0, down, up).reshape(1, -1), model.abs()
    own, length = (vector_norm(rows, dual(norm)).unsqueeze(1) for rows in (size, model))
    ratio = torch.where((length > 0) & (own > 0), own / torch.where(length > 0, length, 1.0), 1.0)
    scaled, top = _scale(model)
    ranked, order = model.sort(dim=1, descending=True, stable=True)
    filled = limits.gather(1, order).cumsum(dim=1)
    columns = []
    for radius in rho.reshape(-1, 1, 1):
        if norm == "l2":
            stretch = _stretch(scaled, limits, radius).sqrt() / torch.where(top > 0, top, 1.0) / ratio
            move = torch.minimum(stretch * size, caps)
            gain = (move * (size - move / (2 * stretch))).sum(dim=1, keepdim=True)
            value = gain + radius.square() / (2 * stretch)
        else:
            at = (filled < radius).sum(dim=1, keepdim=True)
            last = model.shape[1] - 1
            price = ratio * torch.where(at <= last, ranked.gather(1, at.clamp(max=last)), 0.0)
            value = price * radius + ((size - price).clamp_(min=0) * caps).sum(dim=1, keepdim=True)
        columns.append(value / radius)
    return torch.cat(columns, dim=1)


def vertex(g: Tensor, centre: Tensor, lo: Tensor, hi: Tensor, *, norm: str, rho: float | Tensor) -> Tensor:
    """The δ (N, …) inside ball and box that minimises g·δ: steepest descent of the linearised margin.

    rho: a number or (N,). Where g is zero, δ is zero.
    """
    dual(norm)
    flat, down, up = _flatten(g, centre, lo, hi)
    radii = torch.as_tensor(rho, dtype=flat.dtype, device=flat.device).reshape(-1, 1)
    if norm == "linf":
        against = torch.where(flat > 0, -torch.minimum(radii, down), torch.minimum(radii, up))
        return torch.where(flat == 0, 0.0, against).reshape(g.shape)
    caps = torch.where(flat > 0, down, up).expand(flat.shape)
    size = flat.abs()
    if norm == "l2":
        scaled, _ = _scale(size)
        length = torch.minimum(_stretch(scaled, caps, radii).sqrt() * scaled, caps)
    else:
        _, order, room, before = _ranked(size, caps)
        used = torch.minimum((radii - before).clamp(min=0), room)
        length = torch.zeros_like(size).scatter(1, order, used)
        length = torch.where(size > 0, length, 0.0)
    return (-flat.sign() * length).reshape(g.shape)


def _flatten(g: Tensor, centre: Tensor, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dtype = working(g.dtype)
    down = (centre - lo).reshape(len(centre), -1).to(dtype)
    up = (hi - centre).reshape(len(centre), -1).to(dtype)
    return g.reshape(len(g), -1).to(dtype), down, up


def _exact(flat: Tensor, down: Tensor, up: Tensor, radii: Tensor, *, norm: str) -> Tensor:
    if norm == "linf":
        return _linf(flat, down, up, radii)
    caps = torch.where(flat > 0, down, up)
    return (_l2 if norm == "l2" else _l1)(flat.abs(), caps, radii)


def _columns(radii: Tensor) -> list[Tensor]:
    """rho as a list of A columns, each broadcastable to (N, 1)."""
    if radii.ndim == 0:
        return [radii.reshape(1, 1)]
    table = radii.reshape(-1, radii.shape[-1])
    return [table[:, column : column + 1] for column in range(table.shape[1])]


def _linf(flat: Tensor, down: Tensor, up: Tensor, radii: Tensor) -> Tensor:
    fall, rise = flat.clamp(min=0), (-flat).clamp(min=0)
    return torch.cat(
        [
            (fall * (down / rho).clamp(max=1) + rise * (up / rho).clamp(max=1)).sum(dim=1, keepdim=True)
            for rho in _columns(radii)
        ],
        dim=1,
    )


def _scale(size: Tensor) -> tuple[Tensor, Tensor]:
    """|g| with its largest entry brought to 1, so that squares stay representable; and that entry, (N, 1)."""
    top = size.amax(dim=1, keepdim=True)
    return size / torch.where(top > 0, top, 1.0), top


def _stretch(size: Tensor, caps: Tensor, rho: Tensor) -> Tensor:
    """λ² (N, 1) with ‖min(λ|g|, cap)‖₂ = ρ, or a very large number where every coordinate reaches its cap."""
    squares, limits, budget = size.square(), caps.square(), rho.square()
    square = _ratio(budget, squares.sum(dim=1, keepdim=True))
    for _ in range(_NEWTON_STEPS):
        at_cap = square * squares >= limits
        spent = torch.where(at_cap, limits, 0.0).sum(dim=1, keepdim=True)
        free = torch.where(at_cap, 0.0, squares).sum(dim=1, keepdim=True)
        better = _ratio(budget - spent, free)
        moved = better > square
        square = torch.where(moved, better, square)
        if not bool(moved.any()):
            break
    return square


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below, _LARGEST_SQUARE).clamp(max=_LARGEST_SQUARE)


def _l2(size: Tensor, caps: Tensor, radii: Tensor) -> Tensor:
    scaled, top = _scale(size)
    values = []
    for rho in _columns(radii):
        stretch = _stretch(scaled, caps, rho).sqrt()
        length = torch.minimum(stretch * scaled, caps)
        slack = rho.square() - length.square().sum(dim=1, keepdim=True)
        value = (scaled * length).sum(dim=1, keepdim=True) + slack / (2 * stretch)
        values.append(torch.where(top > 0, value * top / rho, 0.0))
    return torch.cat(values, dim=1)


def _ranked(size: Tensor, caps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """|g| falling, its order, and in that order the caps and the length that all before it take."""
    ranked, order = size.sort(dim=1, descending=True, stable=True)
    room = caps.expand(size.shape).gather(1, order)
    return ranked, order, room, room.cumsum(dim=1) - room


def _l1(size: Tensor, caps: Tensor, radii: Tensor) -> Tensor:
    ranked, _, room, before = _ranked(size, caps)
    return torch.cat(
        [
            (ranked * torch.minimum((rho - before).clamp(min=0), room)).sum(dim=1, keepdim=True) / rho
            for rho in _columns(radii)
        ],
        dim=1,
    )


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
