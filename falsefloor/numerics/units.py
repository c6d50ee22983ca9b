"""Hidden units that a small step could switch: where to look for what no gradient at the input points to.

A unit of a ReLU that is off, a sigmoid that is saturated, a comparison that is false: each cuts what lies
behind it out of the gradient, and no sample of a small ball need ever meet the other side. But the value in
front of the kink is still a function of the input: its distance to the threshold over the dual norm of its
own gradient says how far the switch is. Units that no other input and no random point switches come first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import fold, wide
from falsefloor.numerics.kinks import Watch
from falsefloor.numerics.projections import to_plane
from falsefloor.numerics.secants import Boxed

PROBES, NEAR = 9, 6
"""Rows an input is surveyed at: itself, steps that feel for slopes, points that show what does switch."""
ROWS = 1 + PROBES + NEAR
STEP, AROUND = 0.02, 0.1
"""How far these lie in every coordinate, as shares of the domain's width."""
LAYER = 1 << 15
"""Values of one call that are looked at, evenly spread: neighbours of a feature map say much the same."""
ELEMENTS = 1 << 24
"""Values held at once: 64 MB in float32."""
FEW = 16
"""Values a row of a call that stands alone, as a condition on the whole input does."""
COORDINATES = 256
"""Up to this many, a unit that autograd does not lead to is differentiated by steps along each."""


@dataclass(frozen=True)
class Switches:
    """Of N inputs, K units each, the nearest first.

    slope: (N, K, *input), down which the unit comes to its threshold; gap: (N, K), by how much it must fall;
    inf where there is no unit. seen: units of one input, looked: of these. reason: why there are none.
    """

    slope: Tensor
    gap: Tensor
    seen: int = 0
    looked: int = 0
    reason: str = ""

    def points(
        self, inputs: Tensor, shares: Sequence[float], *, norm: str, lo: Tensor, hi: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Nearest points (N, K * S, *input) of the box at which units have come ``shares`` of the way, S; the
        input itself where there is no unit. And whether there is one, (N, K * S)."""
        count, kept = self.gap.shape
        flat = self.slope.flatten(0, 1).flatten(1)
        centre = inputs.repeat_interleave(kept, 0).to(flat.dtype).flatten(1)
        low, high = (bound.to(flat).expand(inputs.shape[1:]).reshape(1, -1) for bound in (lo, hi))
        known = self.gap < torch.inf
        fall = torch.where(known, self.gap, 0.0).flatten()
        tried = [
            centre + to_plane(flat, fall * share, centre - low, high - centre, norm=norm) for share in shares
        ]
        points = torch.minimum(torch.maximum(torch.stack(tried, 1), low), high)
        shape = (count, kept * len(shares), *inputs.shape[1:])
        return points.reshape(shape).to(inputs.dtype), known.repeat_interleave(len(shares), 1)


def switches(
    asked: Boxed, inputs: Tensor, *, norm: str, count: int, others: Tensor | None = None
) -> Switches:
    """The ``count`` units of each of inputs (N, *input) that the least step could switch.

    asked: from points to logits, at `ROWS` points and ``count`` more, with a gradient, an input. others (R,
    *input): points at which units are used as they should be. Never raises for what the function does, except
    when memory is out.
    """
    try:
        return _Search(asked, inputs, norm=norm, count=count).run(others)
    except torch.OutOfMemoryError:
        raise
    except UnseenError as why:
        reason = str(why)
    except Exception as error:
        reason = f"its forward fails while it is watched ({type(error).__name__}: {error})"[:300]
    slope = inputs.new_zeros(len(inputs), 0, *inputs.shape[1:], dtype=torch.float32)
    return Switches(slope, torch.zeros(len(inputs), 0, device=inputs.device), reason=reason)


class UnseenError(Exception):
    """In words: why no unit can be looked at."""


class _Search:
    def __init__(self, asked: Boxed, inputs: Tensor, *, norm: str, count: int) -> None:
        self.function, self.lo, self.hi = asked.function, asked.lo, asked.hi
        self.inputs, self.norm, self.count = inputs, norm, count
        self.rows = max(asked.rows - asked.rows % ROWS, ROWS)
        self.shape: list[tuple[str, int, int]] = []  # name, values a row, stride of each call

    def run(self, others: Tensor | None) -> Switches:
        value, steep, pools = self._survey(others)
        size = self.inputs[0].numel()
        # the l1 norm of a slope without a pattern; one factor for all units, so for l1 any does
        signs = math.sqrt(2 * size / math.pi) if self.norm == "linf" else 1.0
        reach = (value.abs() / (steep * signs)).nan_to_num(torch.inf, torch.inf)
        kept = min(self.count, reach.shape[1])
        chosen, known = [], []
        for nth, pool in enumerate(pools):
            share = (nth + 1) * kept // len(pools) - nth * kept // len(pools)
            best, order = torch.where(pool, reach, torch.inf).topk(share, dim=1, largest=False)
            chosen.append(order)
            known.append(best < torch.inf)
            reach = reach.scatter(1, order, torch.where(known[-1], torch.inf, reach.gather(1, order)))
        # whole forwards an input, so that each costs the same
        short = -sum(order.shape[1] for order in chosen) % ROWS
        chosen.append(chosen[0].new_zeros(len(self.inputs), short))
        known.append(known[0].new_zeros(len(self.inputs), short))
        slope, gap = self._differentiate(torch.cat(chosen, 1), torch.cat(known, 1))
        looked = reach.shape[1]
        return Switches(slope, gap, seen=sum(each for _, each, _ in self.shape), looked=looked)

    def _survey(self, others: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of each input's units (N, U): value less threshold, NaN where the side it is on shows the other
        already; root mean square of the slope along random signs; and the pools they are chosen from: those
        of calls of a few values, those that no input switches, those that no point near by does, and all."""
        width = (self.hi - self.lo).to(self.inputs)
        drawn = torch.Generator().manual_seed(0)
        shape = tuple(self.inputs.shape[1:])
        signs = torch.randint(0, 2, (PROBES, *shape), generator=drawn).to(self.inputs) * 2 - 1
        noise = (torch.rand(NEAR, *shape, generator=drawn).to(self.inputs) * 2 - 1) * AROUND
        offsets = torch.cat([torch.zeros_like(signs[:1]), STEP * signs, noise]) * width
        points = fold(self.inputs[:, None] + offsets, self.lo.to(self.inputs), self.hi.to(self.inputs))
        used = None if others is None or not len(others) else self._used(others)
        values, slopes, still, unused = [], [], [], []
        at = 0
        while at < len(points):
            total = sum(-(-each // stride) for _, each, stride in self.shape)
            block = max(1, min(self.rows, ELEMENTS // max(total, 1)) // ROWS) if self.shape else 1
            here = self._read(points[at : at + block].flatten(0, 1))
            here = here.reshape(-1, ROWS, here.shape[1])
            at += block
            felt = (here[:, 1 : 1 + PROBES] - here[:, :1]).square().mean(1).sqrt() / (STEP * width.max())
            same = ((here > 0) == (here[:, :1] > 0)).all(1)
            values.append(here[:, 0])
            slopes.append(felt)
            still.append(same)
            unused.append(same if used is None else same & (torch.where(here[:, 0] > 0, *used)))
        side, alone = (
            self._of_calls(lambda name, _: float(name.rpartition("|")[2])),
            self._of_calls(lambda _, each: float(each <= FEW)),
        )
        value = torch.cat(values)
        value = torch.where((side == 0) | (value.sign() == side), value, torch.nan)
        still_ = torch.cat(still)
        every = torch.ones_like(still_)
        return value, torch.cat(slopes), [every & (alone > 0), torch.cat(unused), still_, every]

    def _used(self, others: Tensor) -> tuple[Tensor, Tensor]:
        """Units (U,): whether all others' values are positive, and whether none is."""
        whole = -(-len(others) // ROWS) * ROWS
        ready = others[torch.arange(whole, device=others.device) % len(others)]
        signs = [self._read(part) > 0 for part in torch.split(ready, ROWS)]
        above = torch.stack([sign.all(0) for sign in signs]).all(0)
        below = torch.stack([~sign.any(0) for sign in signs]).all(0)
        return above, below

    def _of_calls(self, value: Callable[[str, int], float]) -> Tensor:
        """(U,): something of each unit's call, by its name with its side and its values a row."""
        device = self.inputs.device
        parts = [
            torch.full((-(-each // stride),), value(name, each), device=device)
            for name, each, stride in self.shape
        ]
        return torch.cat(parts)

    def _read(self, points: Tensor) -> Tensor:
        """Values less thresholds (R, U) of the units looked at, at points (R, *input)."""
        parts: list[Tensor] = []
        shape: list[tuple[str, int, int]] = []

        def note(name: str, value: Tensor) -> None:
            stride = max(1, value.shape[1] // LAYER)
            shape.append((name, value.shape[1], stride))
            # a copy: what works in place would change it afterwards
            parts.append(value.detach()[:, ::stride].to(torch.float32, copy=True))

        with torch.no_grad(), Watch(len(points), note):
            self.function(points)
        if not shape:
            raise UnseenError("no call of a function with a kink was seen: TorchScript, fused, or smooth")
        if self.shape and shape != self.shape:
            raise UnseenError("its forward takes another path at other points")
        self.shape = shape
        return torch.cat(parts, 1)

    def _differentiate(self, chosen: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Of the chosen units (N, K), numbers as `_read` counts them: slope (N, K, *input), gap (N, K)."""
        count, kept = chosen.shape
        ends = torch.tensor([-(-each // stride) for _, each, stride in self.shape]).cumsum(0).to(chosen)
        call = torch.searchsorted(ends, chosen.flatten().contiguous(), right=True)
        first = torch.cat([ends.new_zeros(1), ends[:-1]])
        stride = torch.tensor([stride for *_, stride in self.shape]).to(chosen)
        unit = (chosen.flatten() - first[call]) * stride[call]
        points = self.inputs.repeat_interleave(kept, 0)
        values, slopes = [], []
        for part in zip(*(torch.split(whole, self.rows) for whole in (points, call, unit)), strict=True):
            value, slope = self._slopes(*part)
            values.append(value)
            slopes.append(slope)
        value = torch.cat(values).reshape(count, kept)
        slope = torch.cat(slopes).reshape(count, kept, *self.inputs.shape[1:])
        lost = wanted & (slope.flatten(2).abs().amax(2) == 0)
        if bool(lost.any()) and self.inputs[0].numel() <= COORDINATES:
            for row in lost.any(1).nonzero().flatten().tolist():
                slope[row] = torch.where(
                    wide(lost[row], slope[row]), self._by_steps(row, chosen[row]), slope[row]
                )
        there = wanted & (slope.flatten(2).abs().amax(2) > 0)
        return slope * wide(value.sign(), slope), torch.where(there, value.abs(), torch.inf)

    def _slopes(self, points: Tensor, call: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Value (R,) and gradient (R, *input) of one unit a row, all by one backward."""
        short = -len(points) % ROWS
        padded = torch.cat([points, points[-1:].expand(short, *points.shape[1:])]) if short else points
        value = torch.zeros(len(points), device=points.device)
        total: list[Tensor] = []
        at = 0

        def note(name: str, values: Tensor) -> None:
            nonlocal at
            if at >= len(self.shape) or (name, values.shape[1]) != self.shape[at][:2]:
                raise UnseenError("its forward takes another path at other points")
            rows = (call == at).nonzero().flatten()
            at += 1
            if len(rows):
                picked = values[rows, unit[rows]]
                value[rows] = picked.detach().to(value)
                if picked.requires_grad:
                    total.append(picked.sum())

        with torch.enable_grad():
            leaf = padded.detach().clone().requires_grad_()
            with Watch(len(padded), note):
                self.function(leaf)
            gradient = None
            if total:
                (gradient,) = torch.autograd.grad(sum(total[1:], total[0]), leaf, allow_unused=True)
        if gradient is None:
            return value, torch.zeros_like(points, dtype=torch.float32)
        slope = gradient[: len(points)].to(torch.float32).nan_to_num(0.0, 0.0, 0.0)
        return value, slope

    def _by_steps(self, row: int, chosen: Tensor) -> Tensor:
        """Slopes (K, *input) of units of the input ``row``, by a step along each coordinate."""
        x = self.inputs[row].flatten()
        low, high = (b.to(x).expand(self.inputs.shape[1:]).reshape(-1) for b in (self.lo, self.hi))
        step = STEP * (high - low)
        step = torch.where(x + step > high, -step, step)
        moved = torch.cat([x[None], x + torch.diag(step)])
        whole = -(-len(moved) // ROWS) * ROWS
        moved = moved[torch.arange(whole, device=x.device).clamp(max=len(moved) - 1)]
        parts = torch.split(moved.reshape(-1, *self.inputs.shape[1:]), self.rows)
        here = torch.cat([self._read(part)[:, chosen] for part in parts])[: len(x) + 1]
        change = (here[1:] - here[:1]) / step[:, None]
        return change.T.nan_to_num(0.0, 0.0, 0.0).reshape(-1, *self.inputs.shape[1:])
