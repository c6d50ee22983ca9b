"""The first gradient that the function itself confirms: straight-through, else coarse secants.

A repaired derivative is a guess about what lies beneath a mask. Two evaluations of the function tell, at any
point, whether it is a good one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from falsefloor.api import Subject, option
from falsefloor.gradients.secant import Secant
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.numerics.agreement import AGREE
from falsefloor.numerics.balls import wide


@dataclasses.dataclass(frozen=True)
class Auto:
    """Straight-through where that predicts what the function does, secants elsewhere.

    Asked of every point anew: the repaired gradient is followed by ``h`` in both directions, inside the
    domain, and what it predicts is held against what the function does. In a study this name means more:
    there the choice is made once an input, against random pairs at the scales that the claim is about, with a
    step read off the scale spectrum, and an input for which neither source agrees is skipped.
    """

    api_version: ClassVar[int] = 1
    h: float = option(
        0.05, help="half the step of test and secants, as a fraction of the domain's width", gt=0.0, le=0.5
    )

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        """(N, *input) to logits (N, K). A backward costs two forwards a point, and secants where it fails."""
        repaired, secant = StraightThrough()(subject), Secant(h=self.h)

        def function(inputs: Tensor) -> Tensor:
            if not (inputs.requires_grad and torch.is_grad_enabled()):
                return subject(inputs)
            logits: Tensor = _Confirmed.apply(inputs, subject, repaired, secant)  # type: ignore[no-untyped-call]
            return logits

        return function


class _Confirmed(torch.autograd.Function):
    """The subject's logits forwards; backwards the repaired gradient, row by row, where it holds."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, subject: Subject, repaired: Callable[[Tensor], Tensor], secant: Secant
    ) -> Tensor:
        leaf = inputs.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = repaired(leaf)
        ctx.leaf, ctx.logits, ctx.subject, ctx.secant, ctx.slopes = leaf, logits, subject, secant, None
        return logits.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        leaf: Tensor = ctx.leaf
        (gradient,) = torch.autograd.grad(ctx.logits, leaf, upstream[0], retain_graph=True)
        wrong = ~_holds(ctx.subject, leaf.detach(), gradient, upstream[0], h=ctx.secant.h)
        if bool(wrong.any()):
            if ctx.slopes is None:
                ctx.slopes = ctx.secant.slopes(ctx.subject, leaf)
            coarse = (ctx.slopes * upstream[0][:, None, :]).sum(-1).reshape(leaf.shape).to(leaf.dtype)
            gradient = torch.where(wide(wrong, leaf), coarse, gradient)
        return gradient, None, None, None


def _holds(subject: Subject, points: Tensor, gradient: Tensor, upstream: Tensor, *, h: float) -> Tensor:
    """(N,) bool: whether the gradient predicts the change of upstream · logits along its own direction."""
    lo, hi = subject.bounds
    step = h * (hi - lo) * gradient.sign()
    above = torch.minimum(torch.maximum(points + step, lo), hi)
    below = torch.minimum(torch.maximum(points - step, lo), hi)
    with torch.no_grad():
        ends = subject(torch.cat([above, below])).double()
    seen = ((ends[: len(points)] - ends[len(points) :]) * upstream.double()).sum(1)
    told = (gradient.double() * (above.double() - below.double())).flatten(1).sum(1)
    # a row that nothing was asked of is right with its gradient of 0
    unasked = (upstream == 0).all(1)
    low, high = AGREE
    return unasked | ((told > 0) & (told >= low * seen) & (told <= high * seen))
