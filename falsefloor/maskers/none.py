"""No mask: the row that every other row is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class NoMask:
    """No mask: the model as it is."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return part

    def displacement(self) -> float:
        return 0.0
