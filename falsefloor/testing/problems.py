"""Subjects whose answers are known, for the kits: a linear model with closed-form distances, a staircase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import Masker, Norm
from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

SHAPE = (1, 2, 3)
CLASSES = 3
BASE_SEED = 20
COUNT = 3


class Watched(ModelSubject):
    """A subject that remembers the largest number of points it was asked for at once."""

    largest = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.largest = max(self.largest, len(inputs))
        return super().forward(inputs)

    def unfilled(self, inputs: Tensor) -> Tensor:
        self.largest = max(self.largest, len(inputs))
        return super().unfilled(inputs)


# what asks for its subject's class must not see a kit by it
Watched.__name__, Watched.__qualname__, Watched.__module__ = (
    ModelSubject.__name__,
    ModelSubject.__qualname__,
    ModelSubject.__module__,
)


class Steps(nn.Module):
    """ceil(levels·t)/levels: the derivative torch sees is 0 everywhere."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, t: Tensor) -> Tensor:
        return torch.ceil(t * self.levels) / self.levels


@dataclass(frozen=True)
class Stairs:
    """The masker that the kits place in front of their models."""

    api_version: ClassVar[int] = 1
    levels: int = 64

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return nn.Sequential(part, Steps(self.levels))


@dataclass(frozen=True)
class Problem:
    """A linear model z = Wx + b, N inputs it classifies as ``labels``, well inside the unit box."""

    module: nn.Sequential
    inputs: Tensor
    labels: Tensor

    def subject(self, stack: Sequence[tuple[Masker, str]] = ()) -> Watched:
        """The model with maskers (masker, place) on it."""
        return Watched(compose(self.module, stack), classes=CLASSES)

    @property
    def weight(self) -> Tensor:
        """W (K, d) of z = Wx + b, one input flattened."""
        return self._layer().weight.detach()

    def distances(self, norm: Norm) -> Tensor:
        """The exact distances (N,), float64, reached inside the box."""
        return self.by_class(norm).amin(1)

    def by_class(self, norm: Norm) -> Tensor:
        """The exact distances to each class (N, K), float64: m_j / ‖w_c − w_j‖_q; inf to the input's own."""
        weight, logits = self.weight.double(), self.logits()
        lead = logits.gather(1, self.labels[:, None]) - logits
        slopes = weight[self.labels][:, None, :] - weight
        found = lead / vector_norm(slopes.flatten(0, 1), dual(norm)).reshape(lead.shape)
        return found.scatter(1, self.labels[:, None], torch.inf)

    def logits(self) -> Tensor:
        """The logits (N, K) in float64."""
        points = self.inputs.flatten(1).double()
        return (points[:, None, :] * self.weight.double()).sum(2) + self._layer().bias.detach().double()

    def _layer(self) -> nn.Linear:
        layer = self.module[1]
        assert isinstance(layer, nn.Linear)
        return layer


def linear(dtype: torch.dtype = torch.float32, device: str = "cpu") -> Problem:
    """The problem that all kits use: 3 inputs of shape (1, 2, 3), 3 classes, ℓ2 distances 0.05 to 0.07."""
    generator = torch.Generator().manual_seed(BASE_SEED)
    # Without the usual initialisation, which draws from the global generator that the kits watch.
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, 6, CLASSES)  # type: ignore[no-untyped-call]
    weight = torch.randn(CLASSES, 6, generator=generator)
    inputs = 0.5 + 0.1 * (torch.rand(COUNT, *SHAPE, generator=generator) - 0.5)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor([0.15, 0.0, 0.05]) - 0.5 * weight.sum(1))
    module = nn.Sequential(nn.Flatten(), layer).to(device, dtype)
    points = inputs.to(device, dtype)
    with torch.no_grad():
        labels = module(points).argmax(1)
    return Problem(module=module, inputs=points, labels=labels)
