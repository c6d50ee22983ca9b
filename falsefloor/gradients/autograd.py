"""The gradient source that changes nothing: the derivative of the graph as torch recorded it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from falsefloor.api import Subject


@dataclasses.dataclass(frozen=True)
class Autograd:
    """The gradient that torch computes, nothing repaired."""

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        """(N, *input) to logits (N, K), differentiated by torch alone."""
        return subject
