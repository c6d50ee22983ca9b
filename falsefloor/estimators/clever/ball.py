"""One ball around one input: sampled and directed points, reduced to batch maxima and counts.

Nothing that is kept grows with the number of samples, apart from one maximum a batch: points are drawn,
measured and dropped in units whose size depends on the input's own shape alone, so that neither the
neighbours nor the memory at hand changes a drawn point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from falsefloor.estimators.clever.gradients import Ruler, gradients, measure, own_gradients, sound
from falsefloor.estimators.clever.path import TARGETS, Path
from falsefloor.estimators.slopes import VANISHED, View
from falsefloor.numerics.balls import working

UNIT_POINTS = 1024
"""Points drawn at a time: a convolutional net's gradients at 4,000 points at once cost 1.7 times as much
each as at 1,000, whose activations still fit a core's cache."""

ROWS = 16
LARGE = 512
"""Units above this are filled up to a multiple of 16 rows: at most 3 % more points."""

UNIT_ELEMENTS = 2**24
AT_A_TIME = 64
"""Targets whose slopes at the input are looked at before asking whether the others can still be near."""

KEPT_NORMS = 2048


@dataclass(frozen=True)
class Ball:
    """What was measured on the ball of ``radius``, over T targets and C columns (radii rho, then plain norm).

    maxima (T, C, batches) of the random batches; directed (T, C), the largest at the directed points, -inf
    without any. norms (T, ≤ 2048): dual norms of evenly spaced random samples. zero, vanished, nonfinite
    (T,): shares of the random samples.
    """

    radius: float
    rho: tuple[float, ...]
    maxima: Tensor
    directed: Tensor
    norms: Tensor
    zero: Tensor
    vanished: Tensor
    nonfinite: Tensor

    @cached_property
    def largest(self) -> Tensor:
        """(T, C): the largest value seen at any point."""
        return torch.maximum(self.maxima.amax(dim=2), self.directed)


@dataclass(frozen=True)
class Budget:
    """batches of samples points each."""

    batches: int
    samples: int


def look(
    view: View,
    radius: float,
    rho: list[float],
    *,
    budget: Budget,
    generator: Generator,
    guide: Guide,
    path: Path | None,
    tick: Callable[[int], None],
) -> Ball:
    """Measure one ball, and the points of ``path`` if there is one.

    ``tick`` is told how many points were looked at since it was last called.
    """
    dtype = working(view.centre.dtype)
    ruler = Ruler(view, torch.tensor(rho, dtype=dtype, device=view.centre.device), guide.gradients)
    tally = _Tally(view, ruler.columns, budget)
    nothing = (len(view.targets), ruler.columns)
    directed = torch.full(nothing, -torch.inf, dtype=dtype, device=view.centre.device)
    sizes = units(budget, view.centre.numel())
    none = view.centre.new_empty(0, *view.centre.shape)
    more = none if path is None else path.points(radius)
    if path is not None and len(more) > budget.batches * budget.samples:
        # all targets' gradients there would cost more than the sampled points: each point's own does
        found, slots = path.own(more)
        rows = slots.unsqueeze(1).expand(-1, ruler.columns)
        directed.scatter_reduce_(0, rows, sound(ruler.exact(found)), "amax")
        path, more = None, none
    for index, size in enumerate(sizes):
        points = view.sample(radius, size, generator)
        # directed points share the last backwards: as many of their own would double a small net's time
        last = path is not None and index == len(sizes) - 1
        drawn = filled(points, more if last else more[:0])
        if path is not None and last:
            table = measure(view, drawn, ruler, watch=path.learn, base=size + path.begin)
        else:
            table = measure(view, drawn, ruler)
        tally.add(table[:, :, :size])
        tick(size)
    if path is not None:
        directed = sound(table[:, :, size : size + len(more)].amax(dim=2))
    return tally.ball(radius, tuple(rho), directed)


def filled(points: Tensor, more: Tensor) -> Tensor:
    """Both (P, *input), and the last point again up to a multiple of 16 rows where forwards are that large.

    The subject fills what is not a multiple, inside the graph, so that all nine backwards pay for it: 15 % of
    a small net's time at 1,000 points.
    """
    count = len(points) + len(more)
    short = -count % ROWS if count > LARGE else 0
    if not short and not len(more):
        return points
    last = more[-1:] if len(more) else points[-1:]
    return torch.cat([points, more, last.expand(short, *points.shape[1:])])


@dataclass(frozen=True)
class Guide:
    """Gradients (d,) at the input itself, by slot, of the targets that can bind; norms (T,): of them all."""

    gradients: dict[int, Tensor]
    norms: Tensor

    def only(self, slots: Tensor) -> Guide:
        """The same of the view that has these slots alone."""
        places = {slot: place for place, slot in enumerate(slots.tolist())}
        kept = {places[slot]: gradient for slot, gradient in self.gradients.items() if slot in places}
        return Guide(kept, self.norms[slots])


def guide(view: View, *, nearest: int | None = None) -> Guide:
    """One look at the input itself: targets' dual norms, and the gradients of those nearest by them.

    Where the gradients of all are too many to be held and only so many of the ``nearest`` are wanted, those
    of large margin are left out that are farther even if they are as steep as the steepest looked at, which
    is then their norm.
    """
    ruler = Ruler(view, torch.empty(0, device=view.centre.device))
    point = view.centre.unsqueeze(0)
    size, targets = view.centre.numel(), len(view.targets)
    if targets * size <= UNIT_ELEMENTS:
        found = torch.cat([block[:, 0] for _, _, block in gradients(view, point)])
        norms = sound(ruler(found.unsqueeze(1), 0))[:, -1, 0]
        order = _nearest(view, norms)
        return Guide(dict(zip(order, found.nan_to_num(0.0, 0.0, 0.0)[order], strict=True)), norms)
    norms = _norms(view, point, ruler, nearest or targets)
    wanted = _nearest(view, norms)[:TARGETS]
    slots = torch.tensor(wanted, device=view.centre.device)
    rows = own_gradients(view, point.expand(len(wanted), *view.centre.shape), slots).nan_to_num(0.0, 0.0, 0.0)
    return Guide(dict(zip(wanted, rows, strict=True)), norms)


def _norms(view: View, point: Tensor, ruler: Ruler, nearest: int) -> Tensor:
    """(T,): dual norms at the point, in the order of margins until ``nearest`` are nearer than the rest."""
    order = view.margin.argsort(stable=True)
    norms = torch.empty_like(view.margin)
    for start in range(0, len(order), AT_A_TIME):
        some = order[start : start + AT_A_TIME]
        norms[some] = sound(measure(view.only(some), point, ruler)[:, -1, 0])
        seen, rest = order[: start + AT_A_TIME], order[start + AT_A_TIME :]
        norms[rest] = norms[seen].amax()
        near = view.margin / norms
        if len(seen) >= nearest and len(rest) and near[seen].kthvalue(nearest).values <= near[rest].amin():
            break
    return norms


def _nearest(view: View, norms: Tensor) -> list[int]:
    """Slots in the order of margin over dual norm."""
    order: list[int] = (view.margin / norms).nan_to_num(nan=0.0).argsort(stable=True).tolist()
    return order


def units(budget: Budget, size: int) -> list[int]:
    """Points to draw at a time: whole batches where several fit, parts of one batch where it does not."""
    most = max(1, min(UNIT_POINTS, UNIT_ELEMENTS // max(size, 1)))
    if budget.samples > most:
        parts = [most] * (budget.samples // most)
        rest = budget.samples % most
        return (parts + ([rest] if rest else [])) * budget.batches
    together = max(1, most // budget.samples)
    whole, rest = divmod(budget.batches, together)
    return [together * budget.samples] * whole + ([rest * budget.samples] if rest else [])


class _Tally:
    """Running maxima and counts over the units of one ball."""

    def __init__(self, view: View, columns: int, budget: Budget) -> None:
        targets, device = len(view.targets), view.centre.device
        dtype = working(view.centre.dtype)
        self.samples, self.total = budget.samples, budget.batches * budget.samples
        self.maxima = torch.zeros(targets, columns, budget.batches, dtype=dtype, device=device)
        self.stride = math.ceil(self.total / KEPT_NORMS)
        # one block: kept pieces of every unit would pin the memory around them
        self.norms = torch.empty(targets, math.ceil(self.total / self.stride), dtype=dtype, device=device)
        self.kept = 0
        self.zero, self.vanished, self.nonfinite = (
            torch.zeros(targets, dtype=torch.long, device=device) for _ in range(3)
        )
        self.small = (VANISHED / view.across * view.margin).to(dtype).unsqueeze(1)
        self.seen = 0

    def add(self, table: Tensor) -> None:
        """table (T, C, P) of the next P points: whole batches, or a part of one."""
        count = table.shape[2]
        first = self.seen // self.samples
        if count >= self.samples:
            whole = count // self.samples
            self.maxima[:, :, first : first + whole] = table.reshape(*table.shape[:2], whole, -1).amax(dim=3)
        else:
            here = self.maxima[:, :, first]
            self.maxima[:, :, first] = torch.maximum(here, table.amax(dim=2))
        plain = sound(table[:, -1])
        # -seen mod stride: the first point of this unit that lies on the even spacing over all units
        part = plain[:, -self.seen % self.stride :: self.stride]
        self.norms[:, self.kept : self.kept + part.shape[1]] = part
        self.kept += part.shape[1]
        small = plain <= self.small
        if bool(small.any()):
            self.zero += (plain == 0).sum(dim=1)
            self.vanished += small.sum(dim=1)
        if bool(plain.amax().isinf()):
            self.nonfinite += plain.isinf().sum(dim=1)
        self.seen += count

    def ball(self, radius: float, rho: tuple[float, ...], directed: Tensor) -> Ball:
        zero, vanished, nonfinite = (
            count.double() / self.total for count in (self.zero, self.vanished, self.nonfinite)
        )
        return Ball(radius, rho, sound(self.maxima), directed, self.norms, zero, vanished, nonfinite)
