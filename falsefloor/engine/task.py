"""A unit of work with its model loaded: what estimating, observing and trapping start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from falsefloor.engine.session import Prepared
from falsefloor.subjects.subject import ModelSubject


@dataclass(frozen=True)
class Task:
    """A unit's description together with what it needs from the session."""

    spec: Mapping[str, Any]
    prepared: Prepared
    subject: ModelSubject
    numbers: range
    """the numbers of its inputs"""

    @property
    def inputs(self) -> Tensor:
        return self.prepared.inputs[self.numbers.start : self.numbers.stop]

    @property
    def labels(self) -> Tensor:
        return self.prepared.labels[self.numbers.start : self.numbers.stop]


__all__ = ["Task"]
