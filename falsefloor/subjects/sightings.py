"""Every answer counts: what a subject keeps of the rows that it was asked, whoever asked.

Estimators look at thousands of points and keep slopes. A point among them whose class is another than an
input's, or whose logits are not finite, contradicts every claim about that input that reaches so far, its
own estimator's or a sibling's. A row does not say which input it was asked for: it counts for the one under
judgement that it lies nearest to in l2, as the points do that an estimator takes around one, and every input
counts for the others.

A row costs a product with the inputs and a comparison of its class; a distance only where that differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import working

KEPT = 3
"""Points an input: the nearest may not hold when it is asked again."""
PART = 4096
"""Rows that are gathered before they are looked at: small operations take longer to start than to run."""
PROBES = 8
"""Neighbouring coordinates over which a distance is taken first: over some it is never larger than over all,
and most rows are then known to be farther than what is kept."""
ELEMENTS = 2**20
"""Numbers of rows gathered at most: 4 MB in float32."""
OUTSIDE = 1e-6
"""Relative to the domain's width: less is rounding, as for a witness."""
LEAD = 4.0
"""Units of eps * max|logit| by which another class leads at least: settling never asks for less, and in a
saturated region every row is a tie."""


@dataclass
class Nearest:
    """points (N, KEPT, d) at distances (N, KEPT), nearest first; inf where there is none."""

    points: Tensor
    distance: Tensor

    @classmethod
    def none(cls, flat: Tensor) -> Nearest:
        empty = torch.full((len(flat), KEPT), torch.inf, dtype=working(flat.dtype), device=flat.device)
        return cls(flat.unsqueeze(1).repeat(1, KEPT, 1), empty)

    @property
    def found(self) -> Tensor:
        """(N,) whether there is any."""
        return self.distance[:, 0] < torch.inf

    def take(self, who: Tensor, points: Tensor, distance: Tensor) -> None:
        """Of points (P, d) at distances (P,) from inputs ``who`` (P,): each input's nearest, where nearer
        than what is kept and not exactly as far as some of it, as the same point asked again is."""
        count, kept = self.distance.shape
        best = self.distance.new_full((count,), torch.inf).scatter_reduce(0, who, distance, "amin")
        at = (distance == best[who]).nonzero().flatten()
        first = torch.full((count,), len(who), device=who.device).scatter_reduce(0, who[at], at, "amin")
        known = (self.distance == best.unsqueeze(1)).any(1)
        fresh = ((first < len(who)) & ~known).nonzero().flatten()
        values = torch.cat([self.distance[fresh], best[fresh, None]], 1)
        values, order = values.sort(dim=1, stable=True)
        all_ = torch.cat([self.points[fresh], points[first[fresh]].unsqueeze(1)], 1)
        wide = order[:, :kept, None].expand(-1, -1, points.shape[1])
        self.distance[fresh] = values[:, :kept]
        self.points[fresh] = all_.gather(1, wide)


class Sightings:
    """Of inputs (N, *input) with labels (N,), in a norm: the nearest points of another class, and the nearest
    without finite logits, among all rows that `see` was shown.

    Which of the inputs are classified as labelled is for the reader to ask.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, *, norm: str, bounds: tuple[Tensor, Tensor]) -> None:
        self.inputs, self.labels, self.norm = inputs.detach(), labels, norm
        self._flat = self.inputs.flatten(1)
        lo, hi = (torch.broadcast_to(bound, inputs.shape[1:]).reshape(-1) for bound in bounds)
        slack = OUTSIDE * (hi - lo)
        self._low, self._high = lo - slack, hi + slack
        wide = self._flat.to(working(self._flat.dtype))
        # |row - x|² less |row|², which is the same for all inputs
        self._products, self._squares = -2.0 * wide, wide.square().sum(1, keepdim=True)
        self._window = _busiest(wide)
        self._probed = wide[:, self._window]
        size = max(1, min(PART, ELEMENTS // max(1, self._flat.shape[1])))
        self._rows = self._flat.new_empty(size, self._flat.shape[1])
        self._logits: Tensor | None = None  # (K, size): one class beside the other is compared fastest
        self._filled = 0
        self.changed = Nearest.none(self._flat)
        self.broken = Nearest.none(self._flat)

    def see(self, points: Tensor, logits: Tensor) -> None:
        """Look at points (R, *input) and their logits (R, K), in whatever mode they were asked."""
        # under vmap rows have no values
        if torch._C._functorch.peek_interpreter_stack() is not None or not len(self.inputs):
            return
        # a repaired gradient's mode would take this for a part of the model
        with torch.no_grad(), torch._C.DisableTorchFunction():
            if points.shape[1:] != self.inputs.shape[1:]:
                return
            all_, size = points.shape[0], self._rows.shape[0]  # len() of a tensor takes a microsecond
            rows = points.reshape(all_, -1)
            if self._logits is None or self._logits.dtype != logits.dtype:
                self.look()
                self._logits = logits.new_empty(logits.shape[1], size)
            at = 0
            while at < all_:
                count = min(all_ - at, size - self._filled)
                there = slice(self._filled, self._filled + count)
                self._rows[there] = rows[at : at + count]
                self._logits[:, there] = logits[at : at + count].T
                at, self._filled = at + count, self._filled + count
                if self._filled == size:
                    self.look()

    def look(self) -> None:
        """Look at the rows that were gathered; whoever reads what was found begins with this."""
        if self._filled and self._logits is not None:
            self._look(self._rows[: self._filled], self._logits[:, : self._filled])
            self._filled = 0

    def compare(self, judged: Tensor) -> None:
        """Look at the inputs themselves: those that are ``judged`` (N,) have the class of their label."""
        for at, label in enumerate(self.labels):
            others = (judged & (self.labels != label)).nonzero().flatten()
            self._keep(self.changed, self._flat[others], torch.full_like(others, at))

    def _look(self, rows: Tensor, logits: Tensor) -> None:
        """At rows (R, d) with logits (K, R)."""
        top = logits.amax(0)
        away = torch.addmm(self._squares, self._products, rows.to(self._products.dtype).T)  # (N, R)
        same = logits.index_select(0, self.labels) == top
        if not math.isfinite(float(logits.sum())):  # or the sum overflows, in half precision
            lost = ~logits.isfinite().all(0)
            same |= lost
            self._keep(self.broken, rows[lost], away[:, lost].argmin(0))
        # the input that a row lies nearest to is one that has another label
        who, at = ((away <= away.amin(0)) & ~same).nonzero(as_tuple=True)
        part = rows[:, self._window].index_select(0, at).to(self._probed.dtype) - self._probed.index_select(
            0, who
        )
        near = self._norm(part) < self.changed.distance[:, -1].contiguous().index_select(0, who)
        at, who = at[near], who[near]
        if not len(at):
            return
        there = logits[:, at]
        lead = top[at] - there.gather(0, self.labels[who].unsqueeze(0)).squeeze(0)
        sure = lead > LEAD * torch.finfo(there.dtype).eps * there.abs().amax(0)
        self._keep(self.changed, rows[at[sure]], who[sure])

    def _keep(self, kept: Nearest, rows: Tensor, who: Tensor) -> None:
        """Those of rows (P, d) that are nearer to inputs ``who`` (P,) than what is kept, in the domain."""
        if not len(rows):
            return
        points = rows.to(self._flat.dtype)
        away = self._norm(points.to(kept.distance.dtype) - self._flat[who])
        # at no distance lies the input itself: it is judged, and settling refuses it
        near = (away > 0) & (away < kept.distance[who, -1])
        if not bool(near.any()):
            return
        points, who, away = points[near], who[near], away[near]
        inside = ((points >= self._low) & (points <= self._high)).all(1)
        kept.take(who[inside], points[inside], away[inside])

    def _norm(self, difference: Tensor) -> Tensor:
        """(P,) of (P, d); for the largest, torch's vector_norm takes ten times as long."""
        if self.norm == "linf":
            return difference.abs_().amax(1)
        away: Tensor = torch.linalg.vector_norm(difference, 1 if self.norm == "l1" else 2, dim=1)
        return away


def _busiest(wide: Tensor) -> slice:
    """The window of coordinates in which the inputs (N, d) differ most."""
    if not len(wide):
        return slice(0, 0)
    spread = wide.var(dim=0, correction=0)
    size = min(PROBES, len(spread))
    sums = spread.unfold(0, size, 1).sum(1)
    start = int(sums.argmax())
    return slice(start, start + size)
