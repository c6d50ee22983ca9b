"""Units that a small step could switch: found whoever calls the kink, and said where nothing can be found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.secants import Boxed
from falsefloor.numerics.units import LAYER, Switches, switches

SIZE = 20
X = torch.full((2, SIZE), 0.5) + 0.1 * torch.rand(2, SIZE, generator=torch.Generator().manual_seed(1))
W = torch.randint(0, 2, (SIZE,), generator=torch.Generator().manual_seed(2)).float() * 2 - 1
GAP = 0.4
"""W·x stays below its threshold by so much at the first input."""
EDGE = float(X[0] @ W) + GAP
LO, HI = torch.tensor(0.0), torch.tensor(1.0)


def found(function: Any, *, norm: str = "linf", count: int = 16, **options: Any) -> Switches:
    return switches(Boxed(function, LO, HI, 4096), X, norm=norm, count=count, **options)


def reached(function: Any, norm: str = "linf") -> Tensor:
    """The way to points just past each unit of the first input, nearest first."""
    switch = found(function, norm=norm)
    assert switch.reason == ""
    points, known = switch.points(X, (1.001,), norm=norm, lo=LO, hi=HI)
    return vector_norm(points[0] - X[0], norm)[known[0]].sort().values


def value(x: Tensor) -> Tensor:
    return x @ W - EDGE


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.relu(value(x)),
        lambda x: nn.ReLU()(value(x)),
        lambda x: torch.relu(value(x)),
        lambda x: value(x).relu_(),
        lambda x: value(x).clamp(min=0),
        lambda x: torch.maximum(value(x), torch.zeros(len(x))),
        lambda x: (x @ W > EDGE).float(),
        lambda x: torch.where(value(x) > 0, 1.0, 0.0),
        lambda x: torch.log(-value(x)),
        lambda x: (x.detach() @ W > EDGE).float(),
    ],
)
def test_the_other_side_of_a_kink_is_reached_by_the_least_step(function: Any) -> None:
    assert reached(function)[0] == pytest.approx(GAP / SIZE, rel=2e-3)


def test_a_saturated_sigmoid_is_brought_to_its_knee() -> None:
    assert reached(lambda x: torch.sigmoid(20 * value(x)))[0] == pytest.approx(
        (GAP - 3 / 20) / SIZE, rel=2e-3
    )


@pytest.mark.parametrize(("norm", "away"), [("l1", GAP), ("l2", GAP / SIZE**0.5), ("linf", GAP / SIZE)])
def test_its_distance_is_the_gap_over_the_dual_norm(norm: str, away: float) -> None:
    assert reached(lambda x: torch.relu(value(x)), norm)[0] == pytest.approx(away, rel=2e-3)


def test_a_unit_that_is_on_is_not_looked_for_and_one_that_inputs_use_comes_later() -> None:
    ways = torch.stack([W, -W, torch.ones(SIZE)])
    edges = ways @ X[0] + torch.tensor([GAP, -GAP, GAP / 2])

    def net(x: Tensor) -> Tensor:
        return torch.relu(x @ ways.T - edges)

    switch = found(net)
    assert switch.seen == switch.looked == 3
    assert sorted(switch.gap[0][switch.gap[0] < torch.inf].tolist()) == pytest.approx(
        [GAP / 2, GAP], rel=1e-3
    )


def test_code_that_torch_does_not_dispatch_is_said() -> None:
    for function in (lambda x: x.sum(1), lambda x: torch.from_numpy((x.numpy() > 0.5) * 1.0)):
        assert found(function).gap.shape == (2, 0)
    assert "no call of a function with a kink" in found(lambda x: x.sum(1)).reason

    def fails(x: Tensor) -> Tensor:
        raise RuntimeError("no hooks, please")

    assert "no hooks, please" in found(fails).reason


def test_many_units_are_looked_at_in_part() -> None:
    def wide(x: Tensor) -> Tensor:
        return torch.relu(value(x)[:, None].expand(-1, 3 * LAYER) - torch.arange(3 * LAYER))

    switch = found(wide, count=8)
    assert (switch.seen, switch.looked) == (3 * LAYER, LAYER)
    assert bool((switch.gap[0] < torch.inf).any())


def test_an_input_does_not_depend_on_its_neighbours() -> None:
    net = nn.Sequential(nn.Linear(SIZE, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
    both = found(net)
    alone = switches(Boxed(net, LO, HI, 4096), X[1:], norm="linf", count=16)
    assert torch.equal(alone.gap[0], both.gap[1])
    assert torch.equal(alone.slope[0], both.slope[1])
