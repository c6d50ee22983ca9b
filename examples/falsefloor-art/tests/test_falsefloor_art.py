"""ART's CLEVER through falsefloor: right on a linear model, and its radius on a staircase."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from falsefloor_art.clever import ArtClever
from torch import nn

pytest.importorskip("art")


class _Context:
    rows = 64

    def __init__(self) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in range(2)]

    def progress(self, done: int, total: int, /, **series: torch.Tensor) -> None:
        assert 0 < done <= total

    def warn(self, code: str, message: str, *, inputs: torch.Tensor | None = None) -> None:
        raise AssertionError(code)


class _Subject(nn.Module):
    """Two classes by the sum of two coordinates, behind as many steps as it is given."""

    def __init__(self, steps: float = 0.0) -> None:
        super().__init__()
        self.bounds = (torch.zeros(2), torch.ones(2))
        self.device, self.dtype, self.classes, self.module = torch.device("cpu"), torch.float32, 2, self
        self.steps = steps

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        seen = torch.ceil(inputs * self.steps) / self.steps if self.steps else inputs
        total = (seen.sum(1) + 0.01 * (seen * seen).sum(1) - 0.9)[:, None]
        return torch.cat([-total, total], dim=1)


INPUTS, LABELS = torch.tensor([[0.3, 0.4], [0.2, 0.3]]), torch.tensor([0, 0])


def estimate(subject: _Subject, radius: float = 0.3) -> torch.Tensor:
    asked = ArtClever(batches=10, samples=20, radius=radius)
    return asked(subject, INPUTS, LABELS, norm="linf", context=_Context()).radius  # type: ignore[arg-type]


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["falsefloor.estimators"]
    assert EntryPoint("art-clever", points["art-clever"], "falsefloor.estimators").load() is ArtClever


def test_on_a_nearly_linear_model_it_is_near_the_distance() -> None:
    found = estimate(_Subject())
    assert torch.allclose(found, torch.tensor([0.099, 0.198], dtype=torch.float64), rtol=0.1)


def test_behind_a_staircase_it_is_the_radius_and_says_that_it_is_capped() -> None:
    asked = ArtClever(batches=10, samples=20)
    found = asked(_Subject(255.0), INPUTS, LABELS, norm="linf", context=_Context())  # type: ignore[arg-type]
    assert found.radius.tolist() == pytest.approx([0.3, 0.3])
    assert torch.as_tensor(found.evidence["capped"]).tolist() == [1.0, 1.0]


def test_the_same_generators_give_the_same_and_numpys_own_is_left_alone() -> None:
    before = str(np.random.get_state())
    first, second = estimate(_Subject()), estimate(_Subject())
    assert torch.equal(first, second)
    assert str(np.random.get_state()) == before
