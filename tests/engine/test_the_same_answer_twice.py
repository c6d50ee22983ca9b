"""A model that answers one point in two ways is said to, wherever claims are and not at the input alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor

POINTS = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.4, 0.5, 0.5, 0.5, 0.5, 0.5]])
CLEVER = "clever:radius=0.2,batches=2,samples=20"


class TwoFaced(nn.Module):
    """Class 0 up to 0.8 in the first coordinate; ``moved`` says where else the answer is another."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def moved(self, x: Tensor, away: Tensor) -> Tensor:
        return torch.zeros(len(x), dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        away = torch.stack([(x - one).abs().amax(1) for one in POINTS]).amin(0)
        lead = torch.where(self.moved(x, away), -1.0, 4 * (0.8 - x[:, 0]))
        return torch.stack([lead, torch.zeros_like(lead)], 1)


class Alone(TwoFaced):
    """Another class for whoever is asked alone, farther than 0.05 from an input."""

    def moved(self, x: Tensor, away: Tensor) -> Tensor:
        return (away > 0.05) & (len(x) == 1)


class First(TwoFaced):
    """Another class for the first row of a batch, farther than 0.05 from an input."""

    def moved(self, x: Tensor, away: Tensor) -> Tensor:
        return (away > 0.05) & (torch.arange(len(x)) == 0)


class Tired(TwoFaced):
    """Answers every other call another way, farther than 0.05 from an input."""

    def moved(self, x: Tensor, away: Tensor) -> Tensor:
        return (away > 0.05) & (self.calls % 2 == 0)


def floors(model: nn.Module) -> list[dict[str, Any]]:
    results = falsefloor.evaluate(
        model, POINTS, [0, 0], estimators=[CLEVER, "attack:steps=8,restarts=1,rounds=0"], recover="off",
        progress=False,
    )  # fmt: skip
    return [row for row in results.estimates if row["estimator"] == "clever"]


@pytest.mark.parametrize("kind", [Alone, First, Tired])
def test_two_answers_to_one_point_near_the_claim_are_suspect(kind: type[TwoFaced]) -> None:
    for row in floors(kind()):
        assert row["radius"] > 0.1
        assert row["verdict"] in ("suspect", "refuted"), row["reason"]
        assert "FF105" in {warning["code"] for warning in row["warnings"]}, row["warnings"]


def test_one_that_answers_the_same_is_not() -> None:
    for row in floors(TwoFaced()):
        assert row["verdict"] == "held", row["reason"]
        assert "batch_shift" not in row["evidence"] and "repeat_shift" not in row["evidence"]
