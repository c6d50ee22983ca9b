"""Coarse finite differences as the backward: a gradient for functions that show none.

Where no derivative can be repaired, the function's own secants, over steps wider than whatever flattens it,
are the only gradient there is; forwards are all that is needed (Uesato et al. 2018, gradient-free attacks).
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from falsefloor.api import Subject, option

# Numbers held at once in one chunk of displaced points: 4 MB in float32, where a small net's cost per point
# is flat.
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Secant:
    """Central differences of the logits inside the box, as the gradient.

    With d coordinates and ``directions`` >= d every coordinate is differenced alone. Otherwise the
    coordinates are dealt into that many random groups and each group moves at once by random signs
    (simultaneous perturbation, Spall 1992): unbiased over the signs, and every coordinate still moves by the
    full step, which is what a quantiser has to see. Groups and signs are a function of the point's own
    bytes, so a point's gradient does not depend on its neighbours in the batch, and changes from point to
    point.

    Near a face the pair is shifted inwards, never cut: it always spans 2 h (the whole axis where h >= 1/2).
    """

    api_version: ClassVar[int] = 1
    h: float = option(0.05, help="half the step, as a fraction of the domain's width", gt=0.0, le=0.5)
    directions: int = option(512, help="differences a point; all coordinates where there are no more", ge=1)

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        """(N, *input) to logits (N, K); backward costs 2 min(d, directions) forwards a point, once a
        forward."""

        def function(inputs: Tensor) -> Tensor:
            if not (inputs.requires_grad and torch.is_grad_enabled()):
                return subject(inputs)
            logits: Tensor = _Differenced.apply(inputs, subject, self)  # type: ignore[no-untyped-call]
            return logits

        return function

    def slopes(self, subject: Subject, inputs: Tensor) -> Tensor:
        """The Jacobian estimate (N, d, K) at inputs (N, *input); coordinates of zero width have slope 0."""
        count, size = len(inputs), inputs[0].numel()
        groups = min(size, self.directions)
        flat = inputs.detach().reshape(count, size)
        lo, hi = (b.to(flat).expand(inputs.shape[1:]).reshape(size) for b in subject.bounds)
        step = self.h * (hi - lo)
        centre = torch.minimum(torch.maximum(flat, lo + step), hi - step)
        above, below = torch.minimum(centre + step, hi), torch.maximum(centre - step, lo)
        group, sign = _deal(flat, groups)
        rows = max(16, _CHUNK // (2 * size))
        rise: list[Tensor] = []
        for start in range(0, count * groups, rows):
            index = torch.arange(start, min(start + rows, count * groups), device=flat.device)
            point, k = index // groups, index % groups
            moved = group[point] == k[:, None]
            up = moved & (sign[point] > 0)
            down = moved & (sign[point] < 0)
            base = flat[point]
            first = torch.where(up, above[point], torch.where(down, below[point], base))
            second = torch.where(up, below[point], torch.where(down, above[point], base))
            pair = torch.cat([first, second]).reshape(-1, *inputs.shape[1:])
            with torch.no_grad():
                ends = subject(pair)
            rise.append(ends[: len(index)] - ends[len(index) :])
        width = (above - below) * sign
        inverse = torch.where(width == 0, torch.zeros_like(width), 1 / width)
        differences = torch.cat(rise).reshape(count, groups, -1)
        picked = differences.gather(1, group[..., None].expand(-1, -1, differences.shape[-1]))
        return picked * inverse[..., None]


def _deal(flat: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Which group each coordinate moves with (N, d), and in which direction (N, d) of ±1."""
    count, size = flat.shape
    if groups == size:
        return torch.arange(size, device=flat.device).expand(count, size), torch.ones_like(flat)
    group, sign = [], []
    for row in flat.cpu():
        generator = torch.Generator().manual_seed(
            zlib.crc32(row.contiguous().view(torch.uint8).numpy().tobytes())
        )
        group.append(torch.randperm(size, generator=generator) % groups)
        sign.append(torch.randint(0, 2, (size,), generator=generator) * 2 - 1)
    return torch.stack(group).to(flat.device), torch.stack(sign).to(flat)


class _Differenced(torch.autograd.Function):
    """The subject's logits forwards; contracted secants backwards, differenced once a forward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, subject: Subject, source: Secant) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.subject, ctx.source, ctx.slopes = subject, source, None
        return subject(inputs.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        if ctx.slopes is None:
            # kept for the other classes' backwards on the same forward: differencing is all the cost
            ctx.slopes = ctx.source.slopes(ctx.subject, inputs)
        gradient = (ctx.slopes * upstream[0][:, None, :]).sum(-1)
        return gradient.reshape(inputs.shape).to(inputs.dtype), None, None
