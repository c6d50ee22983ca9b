"""A function that no sampling can tell from a sound one: the digits model with one tiny flipped ball."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RADIUS = 1e-3


class Needle(nn.Module):
    """``body``, but at most `RADIUS` from ``point`` in every pixel the two largest logits change places."""

    point: Tensor

    def __init__(self, body: nn.Module, point: Tensor) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("point", point)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(inputs)
        inside = (inputs - self.point).flatten(1).abs().amax(1) <= RADIUS
        top = logits.topk(2, dim=1)
        swapped = logits.scatter(1, top.indices, top.values.flip(1))
        return torch.where(inside[:, None], swapped, logits)


def near(x: Tensor, distance: float) -> Tensor:
    """A point (*input) whose every pixel lies ``distance`` from x (*input), inside the unit box."""
    signs = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = x + distance * signs
    outside = (moved < 0) | (moved > 1)
    return torch.where(outside, x - distance * signs, moved)


__all__ = ["RADIUS", "Needle", "near"]
