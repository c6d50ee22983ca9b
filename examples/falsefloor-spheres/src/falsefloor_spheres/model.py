"""spheres: two concentric spheres told apart by their radius (Gilmer et al. 2018, Adversarial Spheres).

The boundary is itself a sphere, so the l2 distance of x is exactly | ‖x‖ - 1.15 |: an estimator's error can
be read off without any attack.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import LoadedModel

INNER, OUTER = 1.0, 1.3
BOUNDARY = (INNER + OUTER) / 2
CORNER = 1.5
"""The domain is [-1.5, 1.5]^D; both spheres lie inside with room to leave them."""


class _Radius(nn.Module):
    """(N, D) to (N, 1): the Euclidean norm."""

    def forward(self, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return norm


class _Head(nn.Module):
    """(N, 1) to (N, 2): inner against outer; the margin's slope in ‖x‖ is 2."""

    def forward(self, radius: Tensor) -> Tensor:
        return torch.cat([BOUNDARY - radius, radius - BOUNDARY], dim=1)


@dataclass(frozen=True)
class Spheres:
    """`spheres:D`: the exact classifier of two spheres in D dimensions, D from 2 to 4096."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        """The model; raises ValueError, repeating the reference, for anything but a number of dimensions."""
        if not (ref.isascii() and ref.isdigit() and 2 <= int(ref) <= 4096):
            raise ValueError(f"spheres:{ref} is not there; write spheres:D with D from 2 to 4096.")
        parts = OrderedDict[str, nn.Module](radius=_Radius(), head=_Head())
        return LoadedModel(
            module=nn.Sequential(parts).eval(),
            classes=2,
            input_shape=(int(ref),),
            bounds=(-CORNER, CORNER),
            units="radius of the inner sphere",
            inputs="spheres:0-9",
        )
