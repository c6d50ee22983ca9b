"""Certified bounds of a network over a ball cut with a box, by linear relaxation.

CROWN (Zhang et al. 2018, https://arxiv.org/abs/1811.00866): every activation is enclosed between two lines
over the interval that its input can take, the lines are substituted backwards to the input, and the linear
function that is left is minimised over the input set in closed form. It is a certified floor of its own, and
an exact solver needs its bounds twice: they fix the neurons that cannot change sign, and are its big-M
constants.

A network is a list of nodes, each after its parents; node 0 is the input (None). Values are flat: node i
holds n_i numbers, and m linear functions of it are slopes (m, n_i). All in float64: sums are rounded, so
bounds are moved outward by `OUTWARD` of the size of their terms where ``outward`` is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.numerics.envelopes import Curve, Line, Lines, relu
from falsefloor.numerics.support import support, vertex

Affine = tuple[Tensor, Tensor]
Interval = tuple[Tensor, Tensor]

OUTWARD = 1e-10
"""Of the sum of the terms' sizes: sums of 1e5 terms in float64 were 1e-14 of it off at most."""
FEW = 1e6
"""Rows times numbers on the way up to which an activation's bounds are the better of two mixtures."""
RATE = 0.3
"""Adam's, of shares between 0 and 1."""
ELEMENTS = 1 << 23
"""Numbers of slopes held at once: 64 MB; passes of more rows are cut."""


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
        caps = torch.where(slopes > 0, self.centre - self.lo, self.hi - self.centre).clamp_min(0)
        size = slopes.abs()
        if self.norm == "l2" and not math.isinf(self.budget):
            fall = self.budget * support(
                slopes,
                self.centre.unsqueeze(0),
                self.lo.unsqueeze(0),
                self.hi.unsqueeze(0),
                norm="l2",
                rho=self.budget,
            )
            # the box holds the ball: what it allows stands for a ball that cannot be measured, of no radius
            return slopes @ self.centre - torch.where(fall.isnan(), (size * caps).sum(dim=1), fall)
        if math.isinf(self.budget):
            fall = (size * caps).sum(dim=1)
        else:
            order = size.argsort(dim=1, descending=True, stable=True)
            room = caps.gather(1, order)
            used = torch.minimum((self.budget - (room.cumsum(dim=1) - room)).clamp_min(0), room)
            fall = (size.gather(1, order) * used).sum(dim=1)
        return slopes @ self.centre - fall

    def lowest(self, slopes: Tensor) -> Tensor:
        """Where slopes (m, n) · x is least over the region, (m, n)."""
        if math.isinf(self.budget):
            return torch.where(slopes > 0, self.lo, torch.where(slopes < 0, self.hi, self.centre))
        centre, lo, hi = (one.unsqueeze(0) for one in (self.centre, self.lo, self.hi))
        return centre + vertex(slopes, centre, lo, hi, norm=self.norm, rho=self.budget)

    def size(self, slopes: Tensor) -> Tensor:
        """The sum of the terms' sizes of slopes (m, n) · x at most, (m,): what rounding is a share of."""
        return slopes.abs() @ torch.maximum(self.lo.abs(), self.hi.abs())


def region(centre: Tensor, lo: Tensor, hi: Tensor, *, norm: str, radius: float) -> Region:
    """The ball of ``radius`` around centre (n,), cut with the box."""
    low, high = torch.maximum(lo, centre - radius), torch.minimum(hi, centre + radius)
    return Region(centre, low, high, math.inf if norm == "linf" else radius, norm)


@dataclass(frozen=True)
class Linear:
    """A linear map of its parents, plus ``constant`` (n,).

    back: slopes (m, n) to those of the parents. interval: the parents' to its own. value: of the parents'
    values (P, n_p), (P, n).
    """

    parents: tuple[int, ...]
    constant: Tensor
    back: Callable[[Tensor], Sequence[Tensor]]
    interval: Callable[[Sequence[Interval]], Interval]
    value: Callable[[Sequence[Tensor]], Tensor]


def dense(parent: int, weight: Tensor, bias: Tensor) -> Linear:
    """weight (n, n_p) · x + bias (n,)."""

    def interval(given: Sequence[Interval]) -> Interval:
        ((low, high),) = given
        positive, negative = weight.clamp_min(0), weight.clamp_max(0)
        return positive @ low + negative @ high + bias, positive @ high + negative @ low + bias

    return Linear(
        (parent,),
        bias,
        lambda slopes: (slopes @ weight,),
        interval,
        lambda given: given[0] @ weight.T + bias,
    )


@dataclass(frozen=True)
class Bend:
    """An activation of one parent."""

    parents: tuple[int]
    curve: Curve


@dataclass(frozen=True)
class Largest:
    """The largest of groups of its parent's numbers: groups (n, k), -1 where a group has fewer."""

    parents: tuple[int]
    groups: Tensor


Node = Linear | Bend | Largest


@dataclass(frozen=True)
class Pooled:
    """A `Largest` over one set of inputs: it is at least the number ``at`` (n,), and at most ``slope`` of
    the number ``top`` plus ``offset``."""

    width: int
    at: Tensor
    top: Tensor
    slope: Tensor
    offset: Tensor


@dataclass
class Relaxed:
    """What is known of a network's nodes over a region: the interval of each value, and what activations are
    enclosed by. cut: neurons whose interval is plain interval arithmetic's."""

    nodes: Sequence[Node | None]
    inside: Region
    intervals: list[Interval] = field(default_factory=list)
    forms: dict[int, Lines | Pooled] = field(default_factory=dict)
    outward: float = 0.0
    cut: int = 0

    def below(self, at: int, slopes: Tensor, *, ways: Sequence[Mixture] = ()) -> Tensor:
        """Lower bounds (m,) of slopes (m, n) · the value of node ``at``: the best of these ways to mix lines,
        by default of the nearer line and the flat one."""
        found = [plane.least(self.inside) for plane in self.planes(at, slopes, ways=ways)]
        return found[0] if len(found) == 1 else torch.stack(found).amax(0)

    def planes(self, at: int, slopes: Tensor, *, ways: Sequence[Mixture] = ()) -> list[Plane]:
        """Linear functions of the input below slopes (m, n) · the value of node ``at`` all over the region,
        one for each way."""
        rows = max(1, ELEMENTS // self.widest(at))
        made = []
        for way in ways or (NEARER, FLAT):
            parts = [self._pass(at, part, way) for part in torch.split(slopes, rows)]
            made.append(
                parts[0]
                if len(parts) == 1
                else Plane(torch.cat([p.slopes for p in parts]), torch.cat([p.offset for p in parts]))
            )
        return made

    def raised(self, at: int, slopes: Tensor, inside: Region, *, steps: int) -> Plane:
        """The planes of each row's own mixture of lines, raised in the ball ``inside`` by Adam (Kingma & Ba
        2015) from the nearer lines; the best of ``steps`` mixtures, row by row."""

        def start(first: Tensor) -> Tensor:
            return first.to(slopes.dtype).expand(len(slopes), -1).clone().requires_grad_()

        shares = {
            index: (start(form.first_below), start(form.first_above))
            for index, form in self.forms.items()
            if index <= at and isinstance(form, Lines)
        }
        leaves = [share for pair in shares.values() for share in pair]
        (best,) = self.planes(at, slopes, ways=(NEARER,))
        optimiser = torch.optim.Adam(leaves, lr=RATE) if leaves else None
        for _ in range(steps if optimiser else 0):
            with torch.enable_grad():
                (plane,) = self.planes(at, slopes, ways=(Mixed(shares),))
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

    def widest(self, at: int) -> int:
        return max(len(low) for low, _ in self.intervals[: at + 1])

    def _pass(self, at: int, slopes: Tensor, mixed: Mixture) -> Plane:
        pending = {at: slopes}
        offset = slopes.new_zeros(len(slopes))
        size = offset
        for index in range(at, 0, -1):
            if (given := pending.pop(index, None)) is None:
                continue
            node = self.nodes[index]
            assert node is not None
            if isinstance(node, Linear):
                moved: Sequence[Tensor] = (given @ node.constant,)
                parts = node.back(given)
            elif isinstance(node, Bend):
                part, moved = mixed.through(index, self.forms[index], given)
                parts = (part,)
            else:
                part, moved = _through_largest(self.forms[index], given)
                parts = (part,)
            for one in moved:
                offset = offset + one
                if self.outward:
                    size = size + one.abs()
            for parent, part in zip(node.parents, parts, strict=True):
                pending[parent] = pending[parent] + part if parent in pending else part
        last = pending.get(0)
        if last is None:  # what is asked for does not depend on the input
            last = slopes.new_zeros(len(slopes), len(self.inside.centre))
        if self.outward:
            offset = offset - self.outward * (size + self.inside.size(last))
        return Plane(last, offset)


@dataclass(frozen=True)
class Plane:
    """slopes (m, n_0) · x + offset (m,), m linear functions of the input."""

    slopes: Tensor
    offset: Tensor

    def least(self, inside: Region) -> Tensor:
        """(m,) over a region."""
        return inside.minimum(self.slopes) + self.offset


def _higher(one: Plane, other: Plane, inside: Region) -> Plane:
    """Row by row, whichever has the higher minimum; never ``other`` where that is NaN."""
    first = ~(other.least(inside) > one.least(inside))
    slopes = torch.where(first.unsqueeze(1), one.slopes, other.slopes)
    return Plane(slopes, torch.where(first, one.offset, other.offset))


class Mixture:
    """How the two lines below and the two above an activation are mixed; here by a fixed rule."""

    def __init__(self, *, nearer: bool) -> None:
        self.nearer = nearer

    def lines(self, index: int, lines: Lines) -> tuple[Line, Line]:
        """The line below and the line above that node ``index`` is replaced by."""
        del index
        if not self.nearer:
            return lines.below[1], lines.above[1]
        (steep, flat), first = lines.below, lines.first_below
        below = Line(
            torch.where(first, steep.slope, flat.slope), torch.where(first, steep.offset, flat.offset)
        )
        (steep, flat), first = lines.above, lines.first_above
        if steep is flat:
            return below, steep
        return below, Line(
            torch.where(first, steep.slope, flat.slope), torch.where(first, steep.offset, flat.offset)
        )

    def through(
        self, index: int, form: Lines | Pooled, slopes: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Slopes (m, n) before the activation, and what the lines' offsets add to the bounds (m,)."""
        assert isinstance(form, Lines)
        below, above = self.lines(index, form)
        positive, negative = slopes.clamp_min(0), slopes.clamp_max(0)
        moved = _times(negative, above.offset), _times(positive, below.offset)
        return positive * below.slope + negative * above.slope, moved


NEARER, FLAT = Mixture(nearer=True), Mixture(nearer=False)


class Mixed(Mixture):
    """A mixture of its own for each row and neuron: shares (m, n) of the first line, below and above."""

    def __init__(self, shares: dict[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__(nearer=True)
        self.shares = shares

    def lines(self, index: int, lines: Lines) -> tuple[Line, Line]:
        below, above = (
            Line(
                flat.slope + share * (steep.slope - flat.slope),
                flat.offset + share * (steep.offset - flat.offset),
            )
            for share, (steep, flat) in zip(self.shares[index], (lines.below, lines.above), strict=True)
        )
        return below, above


def _times(slopes: Tensor, offset: Tensor) -> Tensor:
    return slopes @ offset if offset.ndim == 1 else (slopes * offset).sum(1)


def relax(
    nodes: Sequence[Node | None],
    inside: Region,
    *,
    every: bool = False,
    outward: float = 0.0,
    most: float = math.inf,
    steps: int = 0,
) -> Relaxed:
    """Intervals and lines of all nodes over the region, in order.

    every: bound neurons backwards that interval arithmetic already fixes, too. most: rows times numbers on
    the way of the backward passes for one activation; neurons beyond it keep what interval arithmetic says.
    steps: of optimised slopes for the bounds of small activations.
    """
    made = Relaxed(nodes, inside, [(inside.lo, inside.hi)], outward=outward)
    straight = [True]
    for index, node in enumerate(nodes[1:], start=1):
        assert node is not None
        straight.append(isinstance(node, Linear) and all(straight[parent] for parent in node.parents))
        if isinstance(node, Linear):
            low, high = node.interval([made.intervals[parent] for parent in node.parents])
            if outward:
                slack = outward * (low.abs() + high.abs())
                low, high = low - slack, high + slack
            made.intervals.append((low, high))
            continue
        (parent,) = node.parents
        made.intervals[parent] = low, high = _tightened(
            made, parent, node, every=every, straight=straight[parent], most=most, steps=steps
        )
        if isinstance(node, Bend):
            made.forms[index] = node.curve.lines(low, high)
            made.intervals.append(node.curve.span(low, high))
        else:
            made.forms[index], out = _pooled(node.groups, low, high)
            made.intervals.append(out)
    return made


def _tightened(
    made: Relaxed, at: int, node: Bend | Largest, *, every: bool, straight: bool, most: float, steps: int
) -> Interval:
    """The interval of node ``at`` by backward passes, for those of its numbers whose interval matters."""
    low, high = made.intervals[at]
    if at == 0:
        return low, high
    # NaN (inf - inf) would pass for a fixed neuron: nothing is known of it
    low, high = torch.where(low.isnan(), -torch.inf, low), torch.where(high.isnan(), torch.inf, high)
    which = torch.arange(len(low))
    ways: tuple[Mixture, ...] = (NEARER, FLAT)
    if not every:
        if isinstance(node, Bend) and node.curve.name == "relu":
            which = ((low < 0) & (high > 0)).nonzero().squeeze(1)
        way = sum(len(one[0]) for one in made.intervals[: at + 1])
        if len(which) * way > most:
            widest = (high - low)[which].argsort(descending=True)[: int(most / way)]
            made.cut += len(which) - len(widest)
            which = which[widest].sort().values
        if len(which) * way > FEW:
            ways, steps = ways[:1], 0
        if not len(which):
            return low, high
    below, above = low.clone(), high.clone()
    for part in torch.split(which, max(1, ELEMENTS // made.widest(at))):
        rows = torch.zeros(len(part), len(low), dtype=low.dtype)
        rows[torch.arange(len(part)), part] = 1.0
        below[part] = made.below(at, rows, ways=ways)
        above[part] = -made.below(at, -rows, ways=ways)
        if steps and not straight:
            both = torch.cat([rows, -rows])
            down, up = made.raised(at, both, made.inside, steps=steps).least(made.inside).chunk(2)
            below[part], above[part] = torch.fmax(below[part], down), torch.fmin(above[part], -up)
    if not (every and straight):
        # interval arithmetic is sometimes tighter, and never wrong
        below, above = torch.maximum(below, low), torch.minimum(above, high)
    below = torch.where(below.isnan(), -torch.inf, below)
    above = torch.where(above.isnan(), torch.inf, above)
    return below, torch.maximum(above, below)


def _pooled(groups: Tensor, low: Tensor, high: Tensor) -> tuple[Pooled, Interval]:
    """How the largest of each group (n, k) is enclosed; low and high (n_p,) of its parent's numbers."""
    known = groups >= 0
    lows = torch.where(known, low[groups.clamp_min(0)], -torch.inf)
    highs = torch.where(known, high[groups.clamp_min(0)], -torch.inf)
    least, first = lows.max(1)
    most, top = highs.max(1)
    # max(x, rest) ≤ rest + relu(x - rest), by its chord
    rest = highs.scatter(1, top.unsqueeze(1), -torch.inf).amax(1)
    bottom = lows.gather(1, top.unsqueeze(1)).squeeze(1)
    alone = bottom >= rest
    slope = torch.where(alone, 1.0, (most - rest) / (most - bottom).clamp_min(1e-300)).clamp(0, 1)
    offset = torch.where(alone, 0.0, rest - slope * bottom)
    at, peak = (groups.gather(1, one.unsqueeze(1)).squeeze(1) for one in (first, top))
    return Pooled(len(low), at, peak, slope, offset), (least, most)


def _through_largest(form: Lines | Pooled, slopes: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    assert isinstance(form, Pooled)
    positive, negative = slopes.clamp_min(0), slopes.clamp_max(0)
    before = slopes.new_zeros(len(slopes), form.width)
    before = before.index_add(1, form.at, positive).index_add(1, form.top, negative * form.slope)
    return before, (negative @ form.offset,)


def evaluate(nodes: Sequence[Node | None], points: Tensor) -> Tensor:
    """The network itself at points (P, n_0): (P, n) of the last node."""
    values = [points]
    for node in nodes[1:]:
        assert node is not None
        given = [values[parent] for parent in node.parents]
        if isinstance(node, Linear):
            values.append(node.value(given))
        elif isinstance(node, Bend):
            values.append(node.curve.value(given[0]))
        else:
            known = torch.where(node.groups >= 0, given[0][:, node.groups.clamp_min(0)], -torch.inf)
            values.append(known.amax(2))
    return values[-1]


def chain(layers: Sequence[Affine]) -> list[Node | None]:
    """Affine maps (W (m, n), b (m,)) with a ReLU between each two, as nodes."""
    nodes: list[Node | None] = [None]
    for weight, bias in layers:
        if len(nodes) > 1:
            nodes.append(Bend((len(nodes) - 1,), relu()))
        nodes.append(dense(len(nodes) - 1, weight, bias))
    return nodes


def bends(nodes: Sequence[Node | None]) -> Iterator[int]:
    """The numbers of the nodes that are activations."""
    return (index for index, node in enumerate(nodes) if isinstance(node, Bend))


def forward(layers: Sequence[Affine], points: Tensor) -> Tensor:
    """The affine maps with ReLUs between at points (P, n): (P, K)."""
    values = points
    for index, (weight, bias) in enumerate(layers):
        values = (values.clamp_min(0) if index else values) @ weight.T + bias
    return values
