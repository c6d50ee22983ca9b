"""The ramp: a staircase whose risers have a slope, so steep and narrow that samples miss it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from falsefloor.api import option
from falsefloor.maskers.masked import Masked


class Ramps(nn.Module):
    """h(t) = (k + min(r/delta, 1))/levels with k = floor(levels·t), r = levels·t - k; in float64.

    At 255 levels a delta of 1e-6 is below float32's spacing at levels·t.
    """

    def __init__(self, *, levels: float, delta: float) -> None:
        super().__init__()
        self.levels = levels
        self.delta = delta

    def forward(self, t: Tensor) -> Tensor:
        scaled = t.double() * self.levels
        step = scaled.floor()
        return (step + ((scaled - step) / self.delta).clamp(max=1)) / self.levels

    def extra_repr(self) -> str:
        return f"levels={self.levels}, delta={self.delta}"


@dataclass(frozen=True)
class Ramp:
    """Steps joined by ramps over a share δ of each: the note's ĥ (Goodfellow 2018, §3, Fig. 1).

    h(t) = (k + min(r/δ, 1))/c with k = ⌊c·t⌋ and r = c·t - k.

    Continuous and onto. The derivative is 1/δ on a share δ of the line and 0 on the rest. It tends to the
    ceil staircase as δ → 0 and is t at δ = 1. With N samples in D dimensions, N·D·δ well below 1 hides the
    gradient and far above 1 makes it explode: estimates err in both directions.
    """

    api_version: ClassVar[int] = 1

    c: int | float = option(255, gt=0, help="steps per unit of the part's output")
    delta: float = option(0.2, gt=0, le=1, help="share of a step that its riser takes")

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Masked(part, Ramps(levels=self.c, delta=self.delta), name="ramp")

    def displacement(self) -> float:
        """sup |h(t) - t|, at the end of a riser."""
        return (1 - self.delta) / self.c
