"""kwta: k-winners-take-all (Xiao et al. 2020, arXiv:1905.10510), a defence by discontinuity.

Proposed as an activation that makes gradients useless for attacks, broken by Tramèr et al. 2020
(arXiv:2002.08347). Its gradient is right almost everywhere and says nothing about the jumps in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from falsefloor.api import option


class _Winners(nn.Module):
    """Keeps the largest values of each row and sets the others to 0."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, t: Tensor) -> Tensor:
        flat = t.flatten(1)
        kept = max(1, round(self.share * flat.shape[1]))
        least = flat.topk(kept, dim=1).values[:, -1:]
        return (flat * (flat >= least)).reshape(t.shape)


@dataclass(frozen=True)
class KWinners:
    """Keeps a share of each row's values, the largest, and sets the others to 0 (Xiao et al. 2020)."""

    api_version: ClassVar[int] = 1

    share: float = option(0.5, help="share of the values that is kept; at least one is", gt=0, le=1)

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return nn.Sequential(part, _Winners(self.share))
