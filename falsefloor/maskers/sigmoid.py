"""Sigmoids: functions with a derivative everywhere on paper, and an exact zero in floating point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import option
from falsefloor.maskers.masked import Masked


class Saturation(nn.Module):
    """h(t) = σ(gain·t), in the working precision: its underflow is the point."""

    def __init__(self, *, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, t: Tensor) -> Tensor:
        return torch.sigmoid(t * self.gain)

    def extra_repr(self) -> str:
        return f"gain={self.gain}"


class SmoothSteps(nn.Module):
    """h(t) = (k + (σ(gain(r - ½)) - s₀)/(1 - 2s₀))/c, k = ⌊c·t⌋, r = c·t - k, s₀ = σ(-gain/2), c = levels.

    k and r in float64 (at 255 levels float32 places r only to 1.5e-5), σ in the working precision, where its
    derivative underflows.
    """

    def __init__(self, *, levels: float, gain: float) -> None:
        super().__init__()
        self.levels = levels
        self.gain = gain
        self.lowest = _lowest(gain)

    def forward(self, t: Tensor) -> Tensor:
        scaled = t.double() * self.levels
        step = scaled.floor()
        rise = torch.sigmoid((self.gain * (scaled - step - 0.5)).to(t.dtype)).double()
        return (step + (rise - self.lowest) / (1 - 2 * self.lowest)) / self.levels

    def extra_repr(self) -> str:
        return f"levels={self.levels}, gain={self.gain}"


def _lowest(gain: float) -> float:
    """s₀ = σ(-gain/2), without overflow at any gain."""
    small = math.exp(-gain / 2)
    return small / (1 + small)


@dataclass(frozen=True)
class Sigmoid:
    """A saturated sigmoid, h(t) = σ(gain·t), as in Brendel & Bethge 2017 (Goodfellow 2018, §4).

    Order is kept in exact arithmetic, so at the logits the classes stay the same until values round to the
    same number: there a high gain makes classes tie. The usual place is the logits or a hidden layer.
    """

    api_version: ClassVar[int] = 1

    gain: float = option(1.0, gt=0, help="slope factor before the sigmoid; the larger, the more saturated")

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Masked(part, Saturation(gain=self.gain), name="saturate")

    def displacement(self) -> None:
        """sup |h(t) - t| is infinite: σ does not follow t."""


@dataclass(frozen=True)
class SigmoidStaircase:
    """A staircase whose steps are sharp sigmoids (Goodfellow 2018, §4).

    h(t) = (k + (σ(gain(r - ½)) - s₀)/(1 - 2s₀))/c with k = ⌊c·t⌋, r = c·t - k and s₀ = σ(-gain/2).

    Continuously differentiable, with a positive derivative everywhere; in float32 exact zeros cover most of
    the line as the gain grows. Tends to t as gain → 0 and to the round staircase as gain → ∞.
    """

    api_version: ClassVar[int] = 1

    c: int | float = option(255, gt=0, help="steps per unit of the part's output")
    gain: float = option(400.0, ge=0.01, help="steepness of a riser; the larger, the flatter the treads")

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Masked(part, SmoothSteps(levels=self.c, gain=self.gain), name="smooth_steps")

    def displacement(self) -> float:
        """sup |h(t) - t|, below half a step: attained where the riser's slope is 1 (σ' solved for r)."""
        lowest = _lowest(self.gain)
        rise = (1 - math.sqrt(max(0.0, 1 - 4 * (1 - 2 * lowest) / self.gain))) / 2
        if rise <= lowest:  # no interior point in float64: the treads are as flat as they can be
            return 0.5 / self.c
        r = 0.5 + math.log(rise / (1 - rise)) / self.gain
        return abs((rise - lowest) / (1 - 2 * lowest) - r) / self.c
