"""The staircase: a derivative that is zero wherever it exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import option
from falsefloor.maskers.masked import Masked, widest

ROUNDINGS = {"ceil": torch.ceil, "round": torch.round, "floor": torch.floor}


class Steps(nn.Module):
    """h(t) = ceil(levels·t)/levels, or with round or floor; a solver reads ``levels`` and ``mode``.

    Float32 at least, but not float64: pixels k/255 in float32 lie beside the step edges of 255 levels, and
    only float32's own rounding puts levels·t back on k (in float64 half of them would move by a whole step).
    """

    def __init__(self, *, levels: float, mode: str) -> None:
        super().__init__()
        self.levels = levels
        self.mode = mode

    def forward(self, t: Tensor) -> Tensor:
        return ROUNDINGS[self.mode](widest(t, torch.float32) * self.levels) / self.levels

    def extra_repr(self) -> str:
        return f"levels={self.levels}, mode={self.mode}"


@dataclass(frozen=True)
class Staircase:
    """A staircase of c steps a unit, ceil(c·t)/c: flat almost everywhere (Goodfellow 2018, §3).

    torch gives ceil, round and floor the derivative 0 everywhere. round is half to even.
    """

    api_version: ClassVar[int] = 1

    c: int | float = option(255, gt=0, help="steps per unit of the part's output")
    mode: str = option("ceil", choices=("ceil", "round", "floor"), help="how a value is put on a step")

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Masked(part, Steps(levels=self.c, mode=self.mode), name="quantise")

    def displacement(self) -> float:
        """sup |h(t) - t|: a step, or half of one for round."""
        return (0.5 if self.mode == "round" else 1.0) / self.c
