"""A subject that is asked in another way: all of it is the subject's own but the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from falsefloor.api import Subject


class Through(nn.Module):
    """`falsefloor.api.Subject` whose logits come from ``source(subject)``, (N, *input) to (N, K).

    A gradient source keeps the forward and puts another backward behind it. Queries are counted by the
    subject; `forward_queries` and `backward_queries` raise AttributeError where it counts none.
    """

    def __init__(self, subject: Subject, source: Callable[[Subject], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.subject, self.source = subject, source
        self._logits = source(subject)

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
    def resolution(self) -> torch.dtype | None:
        return getattr(self.subject, "resolution", None)

    @property
    def span(self) -> float | None:
        return getattr(self.subject, "span", None)

    @property
    def forward_queries(self) -> int:
        return cast("int", self.subject.forward_queries)  # type: ignore[attr-defined]

    @property
    def backward_queries(self) -> int:
        return cast("int", self.subject.backward_queries)  # type: ignore[attr-defined]

    def prepare(self, inputs: Tensor) -> None:
        """One forward for what a source looks at once, so that no input's estimate is charged for it."""
        self._logits(inputs[:1].detach().clone().requires_grad_())

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)
