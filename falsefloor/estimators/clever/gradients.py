"""How steep each target's margin is at given points: gradients taken and reduced to a few numbers a point.

One forward serves all targets; each target costs one backward on the same graph. A gradient is turned into
its dual norm and its supports at a few radii at once and dropped, so memory grows with neither samples nor
targets. Everything here looks at one input at a time, in shapes that depend on that input alone: torch's
matrix products give other bits in other shapes and at other alignments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from falsefloor.estimators.slopes import View
from falsefloor.numerics.balls import dual, vector_norm, working
from falsefloor.numerics.support import common_support, cube_weights

SMALL = 32
"""Points up to which all targets share one forward and one backward: repeating the points costs forwards, a
call of its own for each target costs time that does not shrink with the points."""

FEW = 4
"""The same where all targets do not fit: smaller forwards are filled up to 16 rows, so that a backward of one
point for each of 999 targets would cost sixteen."""


AT_ONCE = 2**20
"""Seeds of all targets' backwards are laid out together up to so many numbers: one call for one a target."""


def gradients(view: View, points: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Margin gradients at points (P, *input), block by block: first slot, first point, gradients (T', P', d).

    Each block is contiguous and a tensor of its own, which is what makes its products reproducible.
    """
    count, targets = len(points), len(view.targets)
    together = min(targets, view.rows // count)
    if getattr(view.subject, "apart", lambda _points: False)(points):
        together = 1  # repeated rows would cost forwards of their own
    if targets > 1 and together > 1 and count <= (SMALL if together == targets else FEW):
        for first in range(0, targets, together):
            seeds = view.seeds[first : first + together]
            repeated = points.repeat(len(seeds), *([1] * (points.ndim - 1)))
            flat = next(_backward(view, repeated, [seeds.repeat_interleave(count, dim=0)]))
            yield first, 0, flat.reshape(len(seeds), count, -1)
        return
    for start in range(0, count, view.rows):
        piece = points[start : start + view.rows]
        seeds = view.seeds.unsqueeze(1)
        if seeds.numel() * piece.shape[0] <= AT_ONCE:
            seeds = seeds.expand(-1, piece.shape[0], -1).contiguous()
        found = _backward(view, piece, seeds.unbind())
        for slot in range(targets):
            yield slot, start, next(found).unsqueeze(0)


def _backward(view: View, points: Tensor, seeds: Iterable[Tensor]) -> Iterator[Tensor]:
    """Gradients (P, d) of the logits weighted by each of seeds, (P, K) or (1, K), on one graph.

    None is kept here: a block that its reader drops leaves its memory, still in the cache, to the next one.
    """
    inputs = points.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = view.subject(inputs)
    starts = list(seeds)
    for index, start in enumerate(starts):
        if start.dtype != logits.dtype:
            start = start.to(logits.dtype)
        seed = start.expand(logits.shape).contiguous()
        yield _rows(torch.autograd.grad(logits, inputs, seed, retain_graph=index < len(starts) - 1)[0])


def _rows(found: Tensor) -> Tensor:
    flat = found.reshape(found.shape[0], -1)
    wide = working(flat.dtype)
    return (flat if flat.dtype == wide else flat.to(wide)).contiguous()


def own_gradients(view: View, points: Tensor, slots: Tensor) -> Tensor:
    """Margin gradients (P, d) at points (P, *input), each for its own target's slot (P,)."""
    pieces = zip(torch.split(points, view.rows), torch.split(view.seeds[slots], view.rows), strict=True)
    parts = [next(_backward(view, piece, [seeds])) for piece, seeds in pieces]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Ruler:
    """Measures gradients at one centre: supports at radii rho (A,), and the plain dual norm as last column.

    Without radii there is only the dual norm. ``guide`` has gradients (d,) by slot that others of the same
    target are expected to resemble; they set the multipliers that l1 and l2 share (see `common_support`).
    """

    def __init__(self, view: View, rho: Tensor, guide: Mapping[int, Tensor] | None = None) -> None:
        self.norm, self.rho, self.guide = view.norm, rho, guide or {}
        self.columns = len(rho) + 1
        self.down, self.up = view.room
        self._size: Tensor | None = None
        if self.norm == "linf":
            self.both, self.difference = cube_weights(self.down, self.up, rho=rho.to(self.down.dtype))

    def __call__(self, block: Tensor, slot: int) -> Tensor:
        """(T', A + 1, P') of a block of gradients (T', P', d) whose first target is ``slot``."""
        flat = block.flatten(0, 1)
        if self.norm == "linf":
            table = torch.empty(self.columns, len(flat), dtype=flat.dtype, device=flat.device)
            return self._cube(flat, table).reshape(-1, *block.shape[:2]).transpose(0, 1)
        plain = vector_norm(flat, dual(self.norm)).reshape(len(block), 1, -1)
        if not len(self.rho):
            return plain
        found = torch.stack([self._supports(rows, slot + index).T for index, rows in enumerate(block)])
        return torch.cat([torch.minimum(found, plain), plain], dim=1)

    def into(self, table: Tensor, block: Tensor, slot: int) -> None:
        """The same of one target's block (1, P', d), written to a contiguous table (A + 1, P')."""
        if self.norm == "linf":
            self._cube(block[0], table)
        else:
            table.copy_(self(block, slot)[0])

    def _cube(self, flat: Tensor, table: Tensor) -> Tensor:
        if self._size is None or self._size.shape != flat.shape:
            self._size = torch.empty_like(flat)
        # few rows times many columns: the other way round takes 2.5 times as long
        torch.mm(self.both, torch.abs(flat, out=self._size).T, out=table)
        return table.addmm_(self.difference, flat.T) if len(self.rho) else table

    def exact(self, flat: Tensor) -> Tensor:
        """(P, A + 1) of gradients (P, d) of any targets, each with its own multiplier."""
        if self.norm == "linf":
            return self(flat.unsqueeze(0), 0)[0].T
        plain = vector_norm(flat, dual(self.norm)).unsqueeze(1)
        if not len(self.rho):
            return plain
        found = common_support(flat, self.down, self.up, norm=self.norm, rho=self.rho.to(flat.dtype))
        return torch.cat([torch.minimum(found, plain), plain], dim=1)

    def _supports(self, flat: Tensor, slot: int) -> Tensor:
        rho = self.rho.to(flat.dtype)
        return common_support(flat, self.down, self.up, norm=self.norm, rho=rho, guide=self.guide.get(slot))


def measure(
    view: View,
    points: Tensor,
    ruler: Ruler,
    *,
    watch: Callable[[int, int, Tensor], None] | None = None,
    base: int = 0,
) -> Tensor:
    """The ruler's columns for every target and point: (T, A + 1, P). Maxima of it are to be made `sound`.

    ``watch`` sees every block of gradients as `gradients` gives it, with points counted from ``base``.
    """
    dtype = working(view.centre.dtype)
    table = torch.empty(len(view.targets), ruler.columns, len(points), dtype=dtype, device=points.device)
    for slot, start, block in gradients(view, points):
        if block.shape[:2] == (1, len(points)):
            ruler.into(table[slot], block, slot)
        else:
            table[slot : slot + block.shape[0], :, start : start + block.shape[1]] = ruler(block, slot)
        if watch is not None:
            watch(slot, start - base, block)
        del block
    return table


def sound(slopes: Tensor) -> Tensor:
    """What is not finite becomes inf, never a small slope; rounding below 0 becomes 0. In place."""
    slopes.clamp_(min=0)
    if not bool(slopes.sum().isfinite()):
        slopes.masked_fill_(~slopes.isfinite(), torch.inf)
    return slopes
