"""What stands before and behind a model in a subject, and is not of the model's making.

A distance is measured from the input as it was given. So a model that wants another number type, or values
that were normalised, gets them inside the composition, before its first layer and behind a masker at input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Cast(nn.Module):
    """Values in the number type that the model takes; `double()` and its like move that type too."""

    like: Tensor

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(0, dtype=kind), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.like.dtype)

    def extra_repr(self) -> str:
        return str(self.like.dtype).removeprefix("torch.")


class Scaled(nn.Module):
    """Inputs from coordinates in units of ``scale``, in the number type that they were given in."""

    scale: Tensor
    like: Tensor

    def __init__(self, scale: Tensor, kind: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("like", torch.zeros(0, dtype=kind), persistent=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        return (coordinates * self.scale).to(self.like.dtype)


class Whole(nn.Module):
    """Rounded to whole numbers, for a model that takes nothing else; no gradient leads through."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.round().long()


class Shown:
    """What a subject is told of the one input that it is judged at; copies of a module share it.

    inputs: (N, *input), whose values inside the model are judged; present: (N, L), whose labels are. at:
    which of them it is.
    """

    def __init__(self, *, inputs: Tensor | None = None) -> None:
        self.inputs = inputs
        self.present: Tensor | None = None
        self.at = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Shown:
        return self


class Changed(nn.Module):
    """Of logits (N, L) of labels, each present above ``level``: (N, L + 1), by how much each label is another
    than it is given, and 0 for that none is."""

    def __init__(self, shown: Shown, level: float) -> None:
        super().__init__()
        self.shown, self.level = shown, level

    def forward(self, logits: Tensor) -> Tensor:
        assert self.shown.present is not None
        present = self.shown.present[self.shown.at]
        other = torch.where(present, self.level - logits, logits - self.level)
        return torch.cat([other, torch.zeros_like(other[:, :1])], 1)

    def extra_repr(self) -> str:
        return f"level={self.level:g}"


class Towards(nn.Module):
    """Logits in which, beside ``label``, only ``target`` can lead: the others stay ``below`` the label's."""

    def __init__(self, label: int, target: int, below: float) -> None:
        super().__init__()
        self.label, self.target, self.below = label, target, below

    def forward(self, logits: Tensor) -> Tensor:
        others = (logits[:, self.label, None] - self.below).expand_as(logits)
        kept = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        kept[[self.label, self.target]] = True
        return torch.where(kept, logits, others)


class Normalise(nn.Module):
    """(x - mean) / std per channel: radii stay in the inputs' own units."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (-1, *([1] * (inputs.ndim - 2)))
        return (inputs - self.mean.view(shape)) / self.std.view(shape)
