"""How steep each target's margin is at given points: gradients taken and reduced to a few numbers a point.

One forward serves all targets; each target costs one backward on the same graph. A gradient is turned into its
dual norm and its supports at a few radii at once and dropped, so memory grows with neither samples nor targets.
Everything here looks at one input at a time, in shapes that depend on that input alone: torch's matrix products
give other bits in other shapes and at other alignments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.api import Norm, Subject
from falsefloor.numerics.balls import dual, vector_norm, working
from falsefloor.numerics.support import common_support, cube_weights


@dataclass(frozen=True)
class View:
    """One input as its margins see it.

    centre (*input); label; targets (T,) classes other than the label; margin (T,), all positive, in float32 at
    least; rows: how many points one forward may take.
    """

    subject: Subject
    centre: Tensor
    label: int
    targets: Tensor
    margin: Tensor
    norm: Norm
    rows: int

    def only(self, slots: Tensor) -> View:
        """The same input with some of its targets."""
        return dataclasses.replace(self, targets=self.targets[slots], margin=self.margin[slots])


def gradients(view: View, points: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
    """Margin gradients at points (P, *input): (target's slot, points covered, gradients (·, d)), in turn."""
    count, targets = len(points), len(view.targets)
    if targets > 1 and count * targets <= view.rows:
        # many small backward calls cost more than one forward on repeated points
        repeated = points.repeat(targets, *([1] * (points.ndim - 1)))
        where = view.targets.repeat_interleave(count)
        flat = next(_backward(view, repeated, [where]))
        for slot in range(targets):
            yield slot, slice(0, count), flat[slot * count : (slot + 1) * count]
        return
    for start in range(0, count, view.rows):
        piece = points[start : start + view.rows]
        wanted = [target.expand(len(piece)) for target in view.targets]
        for slot, flat in enumerate(_backward(view, piece, wanted)):
            yield slot, slice(start, start + len(piece)), flat


def _backward(view: View, points: Tensor, wanted: list[Tensor]) -> Iterator[Tensor]:
    """Gradients (P, d) of f_label - f_target, for each entry (P,) of wanted, on one graph."""
    inputs = points.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = view.subject(inputs)
    # seeding the backward with +1 and -1 gives the margin's gradient itself: K - 1 backwards instead of K
    seed = torch.zeros_like(logits)
    seed[:, view.label] = 1
    for index, target in enumerate(wanted):
        column = target.reshape(-1, 1)
        seed.scatter_(1, column, -1.0)
        last = index == len(wanted) - 1
        (found,) = torch.autograd.grad(logits, inputs, seed, retain_graph=not last)
        seed.scatter_(1, column, 0.0)
        yield found.detach().reshape(len(points), -1).to(working(found.dtype))


class Ruler:
    """Measures gradients at one centre: supports at radii rho (A,), and the plain dual norm as last column.

    Without radii there is only the dual norm. ``guide`` (T, d) are gradients of the same targets that the others
    are expected to resemble; they set the Lagrange multipliers that l1 and l2 share (see `common_support`).
    """

    def __init__(self, view: View, rho: Tensor, guide: Mapping[int, Tensor] | None = None) -> None:
        self.norm, self.rho, self.guide = view.norm, rho, guide
        self.columns = len(rho) + 1
        lo, hi = view.subject.bounds
        centre = view.centre
        dtype = working(centre.dtype)
        self.down, self.up = ((side.reshape(-1).to(dtype)) for side in (centre - lo, hi - centre))
        if self.norm == "linf":
            both, difference = cube_weights(centre, lo, hi, rho=rho.to(dtype))
            ones = torch.ones_like(self.down).unsqueeze(1)
            # a lone column would be a matrix-vector product, whose bits depend on the alignment
            self.both = torch.cat([both, ones, ones[:, : 1 if not len(rho) else 0]], dim=1)
            self.difference = torch.cat([difference, ones * 0], dim=1)

    def __call__(self, flat: Tensor, slot: int) -> Tensor:
        """(P, A + 1) of gradients (P, d) of one target. What is not finite becomes inf: never a small slope."""
        if self.norm == "linf":
            size = flat.abs()
            table = size @ self.both
            if len(self.rho):
                # a fresh tensor is aligned, a slice need not be
                table = torch.addmm(table, flat.clone(), self.difference)
            table = table[:, : self.columns]
        else:
            plain = vector_norm(flat, dual(self.norm)).unsqueeze(1)
            if not len(self.rho):
                table = plain
            else:
                guide = None if self.guide is None else self.guide.get(slot)
                found = common_support(
                    flat, self.down, self.up, norm=self.norm, rho=self.rho.to(flat.dtype), guide=guide
                )
                table = torch.cat([torch.minimum(found, plain), plain], dim=1)
        return torch.where(table.isfinite(), table, torch.inf).clamp_(min=0)


def measure(view: View, points: Tensor, ruler: Ruler) -> Tensor:
    """The ruler's columns for every target and point: (T, P, A + 1)."""
    dtype = working(view.centre.dtype)
    table = torch.empty(len(view.targets), len(points), ruler.columns, dtype=dtype, device=points.device)
    for slot, covered, flat in gradients(view, points):
        table[slot, covered] = ruler(flat, slot)
    return table


__all__ = ["Ruler", "View", "gradients", "measure"]
