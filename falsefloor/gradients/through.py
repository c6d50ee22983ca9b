"""A subject that is asked in another way: all of it is the subject's own but the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import Subject

OWN = frozenset((
    "module", "bounds", "classes", "device", "dtype", "resolution", "span", "forward_queries",
    "backward_queries",
))  # fmt: skip
"""What is asked of the subject itself."""


class Through(nn.Module):
    """`falsefloor.api.Subject` whose logits come from ``source(subject)``, (N, *input) to (N, K).

    A gradient source keeps the forward and puts another backward behind it. Queries are counted by the
    subject; `forward_queries` and `backward_queries` raise AttributeError where it counts none.
    """

    module: nn.Module
    bounds: tuple[Tensor, Tensor]
    classes: int
    device: torch.device
    dtype: torch.dtype

    def __init__(self, subject: Subject, source: Callable[[Subject], Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.subject, self.source = subject, source
        self._logits = source(subject)

    def __getattr__(self, name: str) -> Any:
        """The subject's own, where it has it."""
        return getattr(self.subject, name) if name in OWN else super().__getattr__(name)

    def prepare(self, inputs: Tensor) -> None:
        """One forward for what a source looks at once, so that no input's estimate is charged for it."""
        self._logits(inputs[:1].detach().clone().requires_grad_())

    def forward(self, inputs: Tensor) -> Tensor:
        return self._logits(inputs)
