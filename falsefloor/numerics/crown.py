"""Certified bounds of a network over a ball cut with a box, by linear relaxation.

CROWN (Zhang et al. 2018, https://arxiv.org/abs/1811.00866): every activation is enclosed between two lines
over the interval that its input can take, the lines are substituted backwards to the input, and the linear
function that is left is minimised over the input set in closed form. It is a certified floor of its own, and
an exact solver needs its bounds twice: they fix the neurons that cannot change sign, and are its big-M
constants.

In float64: sums are rounded, so bounds are moved outward by `OUTWARD` of the size of their terms where
``outward`` is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.numerics.envelopes import FLAT, NEARER, Lines, Mixed, Mixture, Pooled, pooled
from falsefloor.numerics.nodes import Bend, Interval, Largest, Linear, Node
from falsefloor.numerics.support import Region

OUTWARD = 1e-10
"""Of the sum of the terms' sizes: sums of 1e5 terms in float64 were 1e-14 of it off at most."""
FEW = 1e6
"""Rows times numbers on the way up to which an activation's bounds are the better of two mixtures."""
RATE = 0.3
"""Adam's, of shares between 0 and 1."""
ELEMENTS = 1 << 23
"""Numbers of slopes held at once: 64 MB; passes of more rows are cut."""
PART = 1 << 18
"""Of those in one pass for neurons, if that is `ROWS`: 2 MB, which caches hold, took half of 32's time."""
ROWS = 16


@dataclass(frozen=True)
class Plane:
    """slopes (m, n_0) · x + offset (m,), m linear functions of the input."""

    slopes: Tensor
    offset: Tensor

    def least(self, inside: Region) -> Tensor:
        """(m,) over a region."""
        return inside.minimum(self.slopes) + self.offset


@dataclass(frozen=True)
class Carried:
    """m functions on their way back: the slopes (m, n_i) in the nodes reached, offsets and the size of their
    terms (m,)."""

    pending: dict[int, Tensor]
    offset: Tensor
    size: Tensor

    def rows(self, which: Tensor) -> Carried:
        pending = {index: slopes[which] for index, slopes in self.pending.items()}
        return Carried(pending, self.offset[which], self.size[which])

    def both(self) -> Carried:
        """The functions and their negatives, (2m)."""
        pending = {index: torch.cat([slopes, -slopes]) for index, slopes in self.pending.items()}
        return Carried(pending, torch.cat([self.offset, -self.offset]), torch.cat([self.size, self.size]))

    def past(self, index: int, parents: Sequence[int], parts: Sequence[Tensor], moved: Tensor) -> Carried:
        """With node ``index`` replaced by what it is of its parents."""
        pending = {other: slopes for other, slopes in self.pending.items() if other != index}
        for parent, part in zip(parents, parts, strict=True):
            pending[parent] = pending[parent] + part if parent in pending else part
        return Carried(pending, self.offset + moved, self.size + moved.detach().abs())


def carried(nodes: Sequence[Node | None], at: int, slopes: Tensor) -> Carried:
    """slopes (m, n) · the value of node ``at``, back to the first activations: the same in every region."""
    none = slopes.new_zeros(len(slopes))
    found = Carried({at: slopes}, none, none)
    while isinstance(node := nodes[index := max(found.pending, default=0)], Linear):
        given = found.pending[index]
        found = found.past(index, node.parents, node.back(given), given @ node.constant)
    return found


class Heads:
    """`carried` of a network's own numbers, kept from one region to the next where there is room."""

    def __init__(self, nodes: Sequence[Node | None]) -> None:
        self.nodes = nodes
        self._kept: dict[int, Carried] = {}
        self._room = 2 * ELEMENTS

    def of(self, at: int, which: Tensor, size: int, widest: int) -> Carried:
        """Of the numbers ``which`` (m,) of the ``size`` of node ``at``."""
        if at not in self._kept and size * widest <= ELEMENTS and size * widest <= self._room:
            self._room -= size * widest
            self._kept[at] = carried(self.nodes, at, torch.eye(size, dtype=torch.float64))
        if at in self._kept:
            kept = self._kept[at]
            return kept if len(which) == size else kept.rows(which)
        rows = torch.zeros(len(which), size, dtype=torch.float64)
        rows[torch.arange(len(which)), which] = 1.0
        return carried(self.nodes, at, rows)


@dataclass
class Relaxed:
    """What is known of a network's nodes over a region: the interval of each value, and what activations are
    enclosed by. cut: neurons whose interval is plain interval arithmetic's."""

    nodes: Sequence[Node | None]
    inside: Region
    heads: Heads
    outward: float = 0.0
    intervals: list[Interval] = field(default_factory=list)
    forms: dict[int, Lines | Pooled] = field(default_factory=dict)
    cut: int = 0

    def below(self, at: int, slopes: Tensor) -> Tensor:
        """Lower bounds (m,) of slopes (m, n) · the value of node ``at``: the better of two mixtures."""
        return torch.cat([self.least(head, (NEARER, FLAT)) for head in self.heads_of(at, slopes)])

    def heads_of(self, at: int, slopes: Tensor) -> list[Carried]:
        """slopes (m, n) · the value of node ``at``, in as many parts as memory asks for."""
        widest = max(len(low) for low, _ in self.intervals[: at + 1])
        return [carried(self.nodes, at, part) for part in torch.split(slopes, max(1, ELEMENTS // widest))]

    def least(self, head: Carried, ways: Sequence[Mixture]) -> Tensor:
        found = [self.plane(head, way).least(self.inside) for way in ways]
        return found[0] if len(found) == 1 else torch.stack(found).amax(0)

    def plane(self, head: Carried, way: Mixture) -> Plane:
        """Linear functions of the input below those carried, all over the region."""
        found = head
        while index := max(found.pending, default=0):
            node, given = self.nodes[index], found.pending[index]
            assert node is not None
            if isinstance(node, Linear):
                found = found.past(index, node.parents, node.back(given), given @ node.constant)
                continue
            form = self.forms[index]
            part, moved, size = (
                way.through(index, form, given) if isinstance(form, Lines) else form.through(given)
            )
            found = found.past(index, node.parents, (part,), moved)
            found = Carried(found.pending, found.offset, found.size + size)
        last = found.pending.get(0)
        if last is None:  # what is asked for does not depend on the input
            last = head.offset.new_zeros(len(head.offset), len(self.inside.centre))
        if not self.outward:
            return Plane(last, found.offset)
        return Plane(last, found.offset - self.outward * (found.size + self.inside.size(last)))

    def raised(self, head: Carried, inside: Region, *, steps: int) -> Plane:
        """The planes of each row's own mixture of lines, raised in the ball ``inside`` by Adam (Kingma & Ba
        2015) from the nearer lines; the best of ``steps`` mixtures, row by row."""
        best = self.plane(head, NEARER)
        shares = {
            index: tuple(
                first.to(torch.float64).expand(len(head.offset), -1).clone().requires_grad_()
                for first in (form.first_below, form.first_above)
            )
            for index, form in self.forms.items()
            if index <= max(head.pending, default=0) and isinstance(form, Lines)
        }
        leaves = [share for pair in shares.values() for share in pair]
        optimiser = torch.optim.Adam(leaves, lr=RATE) if leaves else None
        for _ in range(steps if optimiser else 0):
            with torch.enable_grad():
                plane = self.plane(head, Mixed(shares))
                if not plane.slopes.requires_grad and not plane.offset.requires_grad:
                    return best  # its way leads past none of these activations
                # at the lowest point the minimum has the plane's own gradient; through the search for that
                # point it would be NaN where nothing is left to spend
                point = inside.lowest(plane.slopes.detach())
                lead = (plane.slopes * point).sum() + plane.offset.sum()
                gradients = torch.autograd.grad(-lead, leaves, allow_unused=True)
            best = _higher(best, Plane(plane.slopes.detach(), plane.offset.detach()), inside)
            for share, gradient in zip(leaves, gradients, strict=True):
                share.grad = gradient
            assert optimiser is not None
            optimiser.step()
            with torch.no_grad():
                for share in leaves:
                    share.clamp_(0, 1)
        return best


def _higher(one: Plane, other: Plane, inside: Region) -> Plane:
    """Row by row, whichever has the higher minimum; never ``other`` where that is NaN."""
    first = ~(other.least(inside) > one.least(inside))
    slopes = torch.where(first.unsqueeze(1), one.slopes, other.slopes)
    return Plane(slopes, torch.where(first, one.offset, other.offset))


def relax(
    nodes: Sequence[Node | None],
    inside: Region,
    *,
    heads: Heads | None = None,
    every: bool = False,
    outward: float = 0.0,
    most: float = math.inf,
    steps: int = 0,
) -> Relaxed:
    """Intervals and lines of all nodes over the region, in order.

    heads: of this network, where it is relaxed more than once. every: bound neurons backwards that interval
    arithmetic already fixes, too. most: rows times numbers on the way of the backward passes for one
    activation; neurons beyond it keep what interval arithmetic says. steps: of optimised slopes for the
    bounds of small activations.
    """
    made = Relaxed(nodes, inside, heads or Heads(nodes), outward, [(inside.lo, inside.hi)])
    for index, node in enumerate(nodes[1:], start=1):
        assert node is not None
        if isinstance(node, Linear):
            low, high = node.interval([made.intervals[parent] for parent in node.parents])
            if outward:
                slack = outward * (low.abs() + high.abs())
                low, high = low - slack, high + slack
            made.intervals.append((low, high))
            continue
        (parent,) = node.parents
        made.intervals[parent] = low, high = _tightened(
            made, parent, node, every=every, most=most, steps=steps
        )
        if isinstance(node, Bend):
            made.forms[index] = node.curve.lines(low, high)
            made.intervals.append(node.curve.span(low, high))
        else:
            made.forms[index], out = pooled(node.groups, low, high)
            made.intervals.append(out)
    return made


def _tightened(
    made: Relaxed, at: int, node: Bend | Largest, *, every: bool, most: float, steps: int
) -> Interval:
    """The interval of node ``at`` by backward passes, for those of its numbers whose interval matters."""
    low, high = made.intervals[at]
    if at == 0:
        return low, high
    # NaN (inf - inf) would pass for a fixed neuron: nothing is known of it
    low, high = torch.where(low.isnan(), -torch.inf, low), torch.where(high.isnan(), torch.inf, high)
    switch = not every and isinstance(node, Bend) and node.curve.name == "relu"
    which = torch.arange(len(low))
    ways: tuple[Mixture, ...] = (NEARER, FLAT)
    if not every:
        if switch:
            which = ((low < 0) & (high > 0)).nonzero().squeeze(1)
        way = sum(len(one[0]) for one in made.intervals[: at + 1])
        if len(which) * way > most:
            wide = (high - low)[which].argsort(descending=True)[: int(most / way)]
            made.cut += len(which) - len(wide)
            which = which[wide].sort().values
        if len(which) * way > FEW:
            ways, steps = ways[:1], 0
        if not len(which):
            return low, high
    below, above = low.clone(), high.clone()
    widest = max(len(one) for one, _ in made.intervals[: at + 1])
    for part in torch.split(which, max(ROWS, PART // widest)):
        head = made.heads.of(at, part, len(low), widest)
        straight = not any(head.pending)
        least = made.least(head.both(), ways[:1] if straight else ways)
        if steps and not straight:
            down, up = least.chunk(2)
            matter = ~((down >= 0) | (up >= 0)) if switch else torch.ones_like(down, dtype=torch.bool)
            if bool(matter.any()):
                better = made.raised(head.rows(matter).both(), made.inside, steps=steps)
                rows = matter.repeat(2)
                least[rows] = torch.fmax(least[rows], better.least(made.inside))
        below[part], up = least.chunk(2)
        above[part] = -up
    if not (every and straight):
        # interval arithmetic is sometimes tighter, and never wrong
        below, above = torch.maximum(below, low), torch.minimum(above, high)
    below = torch.where(below.isnan(), -torch.inf, below)
    above = torch.where(above.isnan(), torch.inf, above)
    return below, torch.maximum(above, below)
