"""A point that any call met refutes every claim about its input: whoever met it, early or late."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor

POINTS = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.45, 0.5, 0.5, 0.55, 0.5, 0.5]])
CLEVER = "clever:radius=0.2,batches=4,samples=20"
SIBLING = "clever:radius=0.2,batches=1,samples=2,directed=false"
"""Which hardly looks."""


class Pocked(nn.Module):
    """Class 0 leads by 3 plus a slope; one cell in fifty, nowhere near an input, answers something else."""

    def __init__(self, other: float = -1.0, nearest: float = 0.06) -> None:
        super().__init__()
        self.other, self.nearest = other, nearest

    def forward(self, x: Tensor) -> Tensor:
        slope = 3.0 + 0.1 * x.sum(1)
        cell = ((x.detach() * 37).floor() * torch.tensor([1, 7, 3, 11, 5, 13])).sum(1).remainder(50) == 17
        away = torch.stack([(x - one).abs().amax(1) for one in POINTS]).amin(0)
        lead = torch.where(cell & (away > self.nearest), self.other, slope)
        return torch.stack([lead, torch.zeros_like(lead)], 1)


def judged(model: nn.Module, *estimators: str) -> list[dict[str, Any]]:
    results = falsefloor.evaluate(
        model, POINTS, [0, 0], estimators=estimators, ceiling=False, recover="off", progress=False
    )
    return list(results.estimates)


def codes(row: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in row["warnings"]}


@pytest.mark.parametrize("estimators", [(CLEVER, SIBLING), (SIBLING, CLEVER)])
def test_a_region_of_another_class_that_a_sampler_meets_refutes_every_sibling(
    estimators: tuple[str, ...],
) -> None:
    rows = judged(Pocked(), *estimators)
    assert len(rows) == 4
    for row in rows:
        assert row["radius"] > 0.1
        assert row["verdict"] == "refuted", (row["name"], row["reason"])
        assert "FF203" in codes(row)


def test_a_region_without_an_answer_refutes_them_too() -> None:
    for row in judged(Pocked(other=float("nan")), CLEVER, SIBLING):
        assert row["verdict"] == "refuted", (row["name"], row["reason"])
        assert "FF403" in codes(row)


def test_a_region_beyond_the_claim_refutes_nothing() -> None:
    for row in judged(Pocked(nearest=0.21), CLEVER):
        assert row["verdict"] != "refuted"
        assert not {"FF203", "FF403"} & codes(row)


class InCompany(nn.Module):
    """Two classes by the first coordinate; whoever is asked alone beyond 0.6 gets the class of 0.6."""

    def __init__(self, alone: float) -> None:
        super().__init__()
        self.alone = alone

    def forward(self, x: Tensor) -> Tensor:
        lead = 0.7 - (x if len(x) > 1 else x.clamp(max=self.alone))[:, 0]
        return torch.stack([lead, torch.zeros_like(lead)], 1)


@pytest.mark.parametrize(("alone", "verdict"), [(0.6, "suspect"), (1.0, "held")])
def test_a_ceiling_that_holds_in_a_batch_only_checks_no_floor(alone: float, verdict: str) -> None:
    rows = judged(InCompany(alone), "clever:batches=4,samples=20", "attack:steps=8,restarts=2,rounds=1")
    floors = [row for row in rows if row["estimator"] == "clever"]
    ceilings = [row for row in rows if row["estimator"] == "attack"]
    assert [row["verdict"] for row in floors] == [verdict] * 2, floors
    if verdict == "suspect":
        assert all("FF105" in codes(row) for row in floors), "a point of that bound answers in two ways"
        said = [w["message"] for row in ceilings for w in row["warnings"] if w["code"] == "FF504"]
        assert len(said) == 2 and all("in a batch and not alone" in words for words in said)
