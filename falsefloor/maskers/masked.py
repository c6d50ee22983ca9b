"""A part of a model with an operation on its output: the shape that every masker's result has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.errors import DomainError


class Masked(nn.Module):
    """Runs ``part`` with whatever it is called with, then ``operation`` on its output, kept in its dtype.

    The operation is registered under ``name``, so that a mask can be found in `named_modules()`.
    Attributes of the part are deliberately not passed through: code that reaches around a module's call
    (a fused kernel that reads ``layer.weight``) must fail, not silently skip the mask. Raises DomainError
    where the part does not return one tensor of floating point numbers.
    """

    def __init__(self, part: nn.Module, operation: nn.Module, *, name: str) -> None:
        super().__init__()
        self.part = part
        self.operation_name = name
        self.add_module(name, operation)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        output = self.part(*args, **kwargs)
        if not (isinstance(output, Tensor) and output.is_floating_point()):
            kind = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
            raise DomainError(
                f"A masker was placed at {type(self.part).__name__}, which returns {kind}. "
                "Place it at a submodule that returns one tensor of floating point numbers."
            )
        masked: Tensor = getattr(self, self.operation_name)(output)
        return masked.to(output.dtype)


def widest(t: Tensor, dtype: torch.dtype) -> Tensor:
    """``t`` in ``dtype`` or its own, whichever holds more: the mask must not add rounding of its own."""
    return t.to(torch.promote_types(t.dtype, dtype))
