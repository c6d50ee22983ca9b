"""The attack asked again: it separates a floor from the ceiling above it, and tightens loose ceilings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor
from falsefloor.api import Norm
from falsefloor.checks.ceiling import LOOSE
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import again
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.subject import ModelSubject

IMAGES, LABELS = load_split(held_out=True)


class Ledge(nn.Module):
    """Two classes by a sum, and the other one beyond a slab that no gradient leads to; its edge is bent."""

    def forward(self, x: Tensor) -> Tensor:
        lead = 2.4 - x.sum(1) + 0.4
        away = (x.detach()[:, 0] - 0.5) + 0.3 * (x.detach()[:, 1] - 0.5).abs()
        lead = torch.where((away * 1000).round() > 100, -lead.abs() - 0.1, lead)
        return torch.stack([lead, torch.zeros_like(lead)], 1)


def ceilings(results: Any) -> list[dict[str, Any]]:
    return [one for one in results.estimates if one["claim"] == "upper_bound"]


def nearest(results: Any, one: dict[str, Any]) -> float:
    """The nearest point of another class that the run knows at an estimate's input."""
    (facts,) = (o["facts"] for o in results.observations if o["input"] == one["input"])
    found = [point["distance"] for point in (facts["counterexample"], facts["met"].get("changed")) if point]
    return min(found, default=math.inf)


def test_a_floor_inside_the_slack_of_its_ceiling_is_refuted_behind_soft_steps() -> None:
    """The attack stops 4 % above what it then meets, finite differences 0.6 %."""
    results = falsefloor.evaluate(
        DigitsModel()("mlp").module,
        IMAGES[5:6],
        LABELS[5:6],
        norm="l2",
        maskers=["sigmoid-staircase:c=12,gain=12"],
        estimators=["finite-difference", "attack"],
        recover="off",
        progress=False,
    )
    floor, ceiling = results.estimates
    assert 0.95 * ceiling["radius"] < floor["radius"] < ceiling["radius"]
    assert floor["verdict"] == "refuted"
    (told,) = [one for one in floor["warnings"] if one["code"] == "FF203"]
    assert "asked again" in told["message"]
    (facts,) = (one["facts"]["closer"]["attack"] for one in results.observations)
    assert facts["radius"] < floor["radius"] and facts["forward"] > 0


def test_a_loose_ceiling_is_asked_again_from_the_known_point_and_is_not_held() -> None:
    results = falsefloor.evaluate(
        Ledge(),
        torch.full((1, 4), 0.5),
        [0],
        estimators=["clever:radius=0.19,batches=1,samples=4", "attack:steps=4,restarts=1,rounds=0,samples=4"],
        recover="off",
        progress=False,
    )
    (one,) = ceilings(results)
    known = nearest(results, one)
    assert known == pytest.approx(0.1005 / 1.3, rel=0.01)
    assert one["verdict"] == ("held" if one["radius"] <= LOOSE * known else "vacuous")


def test_a_ceiling_is_no_looser_than_what_its_own_attack_met() -> None:
    """In half precision the attack asks for eight roundings of lead, settling for four."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 4)).bfloat16()
    results = falsefloor.evaluate(net, IMAGES[:2], estimators=["attack:restarts=2"], progress=False)
    for one in ceilings(results):
        assert one["radius"] <= LOOSE * nearest(results, one) and one["verdict"] == "held"
        away = torch.tensor(results.array(one["witness"])).reshape(IMAGES[:1].shape) - IMAGES[one["input"]]
        assert one["radius"] == pytest.approx(float(away.abs().max()), rel=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_walks_inside_a_ball_find_the_boundary_of_a_linear_model_in_it_and_nothing_outside(
    norm: Norm,
) -> None:
    weight = torch.tensor([[1.0, 2.0, -1.0]])

    class Plane(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            lead = ((x - 0.5) * weight).sum(1) - 0.4
            return torch.stack([-lead, lead], 1)

    subject, x, y = ModelSubject(Plane(), classes=2), torch.full((2, 3), 0.5), torch.tensor([0, 0])
    exact = {"linf": 0.1, "l2": 0.4 / math.sqrt(6), "l1": 0.2}[norm]
    context = RunContext(generators(x, seed=0, norm=norm))
    balls = torch.tensor([[1.05 * exact], [0.95 * exact]]).expand(2, 4)
    found = again(subject, x, y, x[:, None].expand(2, 4, 3), balls, steps=40, norm=norm, context=context)
    assert float(found[0]) == pytest.approx(exact, rel=1e-3)
    assert float(found[1]) == math.inf
