"""Regions that no gradient at the input points to, found by the observation and the attack all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.numerics.support import vertex

SIZE, HIDDEN = 256, 24
FAINT = {"linf": 0.02, "l2": 0.25}
"""How far along the pattern the hidden unit of `backdoored` switches."""


def backdoored(norm: str, *, seed: int) -> tuple[nn.Module, Tensor, Tensor, float]:
    """A plain ReLU network whose one more hidden unit answers class 3 to a faint pattern; input and label."""
    drawn = torch.Generator().manual_seed(seed)
    x = 0.2 + 0.6 * torch.rand(1, SIZE, generator=drawn)
    first, last = nn.Linear(SIZE, HIDDEN), nn.Linear(HIDDEN, 4)
    way = torch.randint(0, 2, (SIZE,), generator=drawn).float() * 2 - 1
    dual = SIZE if norm == "linf" else SIZE**0.5
    with torch.no_grad():
        first.weight.copy_(0.05 * torch.randn(HIDDEN, SIZE, generator=drawn))
        first.bias.copy_(0.3 - first.weight @ x[0])
        last.weight.copy_(0.1 * torch.randn(4, HIDDEN, generator=drawn))
        last.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))
        first.weight[0] = way
        first.bias[0] = -float(way @ x[0]) - FAINT[norm] * dual
        last.weight[:, 0] = torch.tensor([0.0, 0.0, 0.0, 400.0 / dual])
    net = nn.Sequential(first, nn.ReLU(), last).eval()
    label = net(x).argmax(1)
    assert int(label) == 0
    at = x + vertex(-way[None], x, torch.zeros(()), torch.ones(()), norm=norm, rho=1.5 * FAINT[norm])
    assert int(net(at).argmax()) == 3, "the pattern is there, at one and a half times the unit's distance"
    return net, x, label, 1.5 * FAINT[norm]


def judged(model: nn.Module, x: Tensor, label: Tensor, norm: str, *estimators: str) -> list[dict[str, Any]]:
    results = falsefloor.evaluate(
        model, x, label, norm=norm, estimators=estimators, ceiling=False, recover="off", progress=False
    )
    return list(results.estimates)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_backdoor_behind_one_hidden_unit_refutes_the_floor_and_lowers_the_ceiling(norm: str) -> None:
    model, x, label, distance = backdoored(norm, seed=4)
    short = "attack:steps=8,restarts=2,rounds=1"
    floor, ceiling = judged(model, x, label, norm, "clever:batches=4,samples=20,directed=false", short)
    assert floor["radius"] > 1.2 * distance, "the claim is false"
    assert floor["verdict"] == "refuted", floor["reason"]
    assert ceiling["radius"] <= distance
    if norm == "linf":
        assert ceiling["evidence"]["found_by"] == "units"


class HalfSpace(nn.Module):
    """Digits, but beyond a plane across every gradient the answer is another, or none."""

    def __init__(self, way: Tensor, edge: float, kind: str) -> None:
        super().__init__()
        self.body = DigitsModel()("mlp").module
        self.way, self.edge, self.kind = way, edge, kind

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        seen = x.detach() if self.kind == "detached" else x
        beyond = (seen.flatten(1) @ self.way > self.edge)[:, None]
        top = logits.topk(2, dim=1)
        other = logits.scatter(1, top.indices, top.values.flip(1))
        return torch.where(beyond, torch.nan if self.kind == "nan" else other, logits)


@pytest.mark.parametrize("kind", ["compared", "detached", "nan"])
@pytest.mark.parametrize(("norm", "seed", "claim"), [("linf", 3, 0.06), ("l2", 8, 0.3)])
def test_a_half_space_within_the_claim_refutes_it(kind: str, norm: str, seed: int, claim: float) -> None:
    images, labels = load_split(held_out=True)
    x, label = images[:1], labels[:1]
    way = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    step = vertex(-way.reshape(x.shape), x, torch.zeros(()), torch.ones(()), norm=norm, rho=0.9 * claim)
    model = HalfSpace(way, float((x + step).flatten() @ way), kind)
    few = f"clever:radius={claim},batches=1,samples=2,directed=false"
    (floor,) = judged(model, x, label, norm, few)
    assert floor["radius"] == pytest.approx(claim)
    assert floor["verdict"] == "refuted", floor["reason"]


def test_a_plain_network_is_not_accused() -> None:
    images, labels = load_split(held_out=True)
    for floor in judged(DigitsModel()("mlp").module, images[:2], labels[:2], "linf", "clever:radius=0.06"):
        assert not any(w["severity"] == "refuted" for w in floor["warnings"])
