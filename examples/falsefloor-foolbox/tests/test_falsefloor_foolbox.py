"""foolbox's attacks keep the contract, find what is there, and say so where they find nothing."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from falsefloor_foolbox.attacking import run
from falsefloor_foolbox.ddn import DecoupledDirectionNorm
from falsefloor_foolbox.deepfool import DeepFool
from falsefloor_foolbox.fmn import FastMinimumNorm

from falsefloor.api import Estimator, Norm
from falsefloor.testing import parametrize_with_checks

pytest.importorskip("foolbox")

EACH: list[Estimator] = [FastMinimumNorm(), DeepFool(), DecoupledDirectionNorm()]


@parametrize_with_checks("estimator", EACH)
def test_it_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_every_entry_point_names_a_class_with_its_claim() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    group = "falsefloor.estimators"
    points = project["project"]["entry-points"][group]
    loaded = {EntryPoint(name, target, group).load() for name, target in points.items()}
    assert loaded == {type(one) for one in EACH}


class _Half(torch.nn.Module):
    """Class 1 where the first coordinate is above a half; the distance is half minus it."""

    def __init__(self, low: float = 0.0, high: float = 1.0, *, flat: bool = False) -> None:
        super().__init__()
        self.bounds = (torch.tensor([low, 0.0]), torch.tensor([high, 1.0]))
        self.device, self.dtype, self.classes, self.module = torch.device("cpu"), torch.float32, 2, self
        self.flat = flat

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = inputs[:, 0] * 0 if self.flat else inputs[:, 0] - 0.5
        return torch.stack([0.1 - first * 4, first * 4 - 0.1], dim=1)


class _Context:
    rows = 16
    logger = logging.getLogger("test")

    def __init__(self) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in range(2)]

    def progress(self, done: int, total: int, /, **series: torch.Tensor) -> None:
        assert 0 < done <= total

    def warn(self, code: str, message: str, *, inputs: torch.Tensor | None = None) -> None:
        raise AssertionError(code)


INPUTS, LABELS = torch.tensor([[0.1, 0.5], [0.4, 0.5]]), torch.tensor([0, 0])


@pytest.mark.parametrize(
    ("estimator", "norm", "slack"),
    [
        (DeepFool(), "l2", 1.03),
        (DeepFool(), "linf", 1.03),
        (DecoupledDirectionNorm(), "l2", 1.03),
        # its steps are of fixed length: on a plane it ends up to a step beyond
        (FastMinimumNorm(steps=200, stepsize=0.03), "l2", 1.25),
    ],
)
def test_the_distance_to_a_plane_is_found(estimator: Estimator, norm: Norm, slack: float) -> None:
    estimate = estimator(_Half(), INPUTS, LABELS, norm=norm, context=_Context())
    exact = torch.tensor([0.425, 0.125], dtype=torch.float64)
    assert (estimate.radius >= exact * (1 - 1e-5)).all()
    assert (estimate.radius <= exact * slack).all()


def test_where_no_other_class_exists_nothing_is_found() -> None:
    estimate = FastMinimumNorm(steps=5)(_Half(flat=True), INPUTS, LABELS, norm="l2", context=_Context())
    assert estimate.radius.isinf().all()


def test_a_point_that_does_not_change_the_class_is_not_believed() -> None:
    class Liar:
        def run(self, model: object, inputs: torch.Tensor, criterion: object) -> torch.Tensor:
            return inputs + 0.01

    estimate = run(Liar(), _Half(), INPUTS, LABELS, norm="l2", context=_Context())
    assert estimate.radius.isinf().all()


def test_ranges_that_differ_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="one range for all coordinates"):
        FastMinimumNorm()(_Half(low=-1.0), INPUTS, LABELS, norm="l2", context=_Context())
