"""splitting: how much of a ball answers otherwise, far below what uniform points can tell.

Webb, Rainforth, Teh & Kumar, "A statistical approach to assessing neural network robustness", ICLR 2019,
https://arxiv.org/abs/1811.07209. Particles climb towards another class level by level, each a tenth of the
one before; the product of the shares is the ball's. What it finds is a point like any other: an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, NotApplicable, Subject, option
from falsefloor.estimators.account import Queries, column
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.margins import margins
from falsefloor.numerics.shares import Ball, Split, split

OWN = ("volume", "volume_low", "volume_high", "volume_levels")
"""Evidence of its own: the estimated share of the ball that answers otherwise (an upper limit where nothing
was found), where about 95 % of such estimates lie, and how many levels that took."""


@dataclass(frozen=True)
class Splitting:
    """The point of another class that particles in the ball of ``radius`` climbed to, and the ball's share.

    The share is an estimate, within a factor of three for half-spaces of 1e-3 to 1e-9 of the ball; a region
    that no margin announces (salt) is found by luck alone, and counts with what uniform points say.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "upper_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l1", "l2", "linf"))

    radius: float = option(0.1, help="of the ball whose share is estimated, in input units", gt=0.0)
    particles: int = option(500, help="points that climb together", ge=20)
    moves: int = option(10, help="steps of each at every level", ge=1)
    levels: int = option(12, help="levels at most; each is a tenth of the one before", ge=1, le=40)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise NotApplicable("not applicable because the model has one class only.")
        spent = Queries(subject, len(inputs))
        witness, found = inputs.clone(), []
        radii = torch.full((len(inputs),), torch.inf, dtype=torch.float64, device=inputs.device)
        for index, (point, label) in enumerate(zip(inputs, labels, strict=True)):
            ball = Ball.around(point, subject.bounds, norm=norm, radius=self.radius)
            with spent.of(torch.tensor([index], device=inputs.device)):
                found.append(self._split(subject, ball, point, label, context, index))
            if (best := found[-1].point) is not None:
                witness[index] = best.reshape(point.shape).to(inputs)
                move = (witness[index] - point).unsqueeze(0)
                radii[index] = vector_norm(move.double(), norm)[0]
            context.progress(index + 1, len(inputs), radius=radii)
        told = zip(*((one.share, one.low, one.high, one.levels) for one in found), strict=True)
        columns = {name: column(values, inputs) for name, values in zip(OWN, told, strict=True)}
        return Estimate(radius=radii, evidence={**columns, **spent.evidence()}, witness=witness)

    def _split(
        self, subject: Subject, ball: Ball, point: Tensor, label: Tensor, context: Context, index: int
    ) -> Split:
        def score(points: Tensor) -> Tensor:
            """How far another class leads the label; a NaN leads to nothing."""
            parts = []
            for part in torch.split(points, max(1, context.rows)):
                with torch.no_grad():
                    logits = subject(part.to(point).reshape(len(part), *point.shape))
                parts.append(-margins(logits.float(), label.expand(len(part))).amin(1).cpu())
            return torch.cat(parts).nan_to_num(-math.inf)

        return split(
            score,
            ball,
            particles=self.particles,
            moves=self.moves,
            levels=self.levels,
            generator=context.generators[index],
        )
