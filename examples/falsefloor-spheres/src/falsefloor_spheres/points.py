"""spheres: points of the two spheres, inner and outer in turn, the same at every call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from falsefloor.api import LabelledInputs, LoadedModel, option
from falsefloor_spheres.model import INNER, OUTER

MOST = 10_000


@dataclass(frozen=True)
class Points:
    """`spheres:I` or `spheres:I-J`: points I to J, both included; even ones lie on the inner sphere."""

    api_version: ClassVar[int] = 1

    seed: int = option(0, help="another seed gives other points", ge=0)

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        """The points (N, D) with their labels; raises ValueError, repeating the reference, otherwise."""
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", ref, flags=re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < MOST:
            raise ValueError(f"spheres:{ref} is not there; write spheres:I-J with I ≤ J < {MOST}.")
        if len(model.input_shape) != 1:
            raise ValueError(f"spheres:{ref} are vectors; this model takes inputs {model.input_shape}.")
        rows = [self._row(at, model.input_shape[0]) for at in range(first, last + 1)]
        labels = torch.tensor([at % 2 for at in range(first, last + 1)])
        names = [f"{'outer' if at % 2 else 'inner'} {at}" for at in range(first, last + 1)]
        return LabelledInputs(inputs=torch.stack(rows), labels=labels, names=names)

    def _row(self, at: int, count: int) -> Tensor:
        # One generator a point: point 7 is the same in 0-9 and alone.
        generator = torch.Generator().manual_seed(self.seed * MOST + at)
        direction = torch.randn(count, generator=generator)
        norm: Tensor = torch.linalg.vector_norm(direction)
        return direction / norm * (OUTER if at % 2 else INNER)
