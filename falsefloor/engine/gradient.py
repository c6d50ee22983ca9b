"""A subject seen through a gradient source: same forward, another backward, the same queries counted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from falsefloor.api import GradientSource
from falsefloor.subjects.subject import ModelSubject


class Through(nn.Module):
    """`falsefloor.api.Subject` whose logits come from ``source(subject)``."""

    def __init__(self, subject: ModelSubject, source: GradientSource) -> None:
        super().__init__()
        self.subject, self.source = subject, source
        self._logits: Callable[[Tensor], Tensor] = source(subject)

    @property
    def module(self) -> nn.Module:
        return self.subject.module

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.subject.bounds

    @property
    def classes(self) -> int:
        return self.subject.classes

    @property
    def device(self) -> torch.device:
        return self.subject.device

    @property
    def dtype(self) -> torch.dtype:
        return self.subject.dtype

    @property
    def forward_queries(self) -> int:
        return self.subject.forward_queries

    @property
    def backward_queries(self) -> int:
        return self.subject.backward_queries

    def prepare(self, inputs: Tensor) -> None:
        """One forward for what a source looks at once, so that no input's estimate is charged for it."""
        self._logits(inputs[:1].detach().clone().requires_grad_())

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)
