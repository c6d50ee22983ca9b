"""Which ball's floor stands: what is steep in a ball is as steep in every ball around it."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from falsefloor.api import Estimator
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference import FiniteDifference
from falsefloor.estimators.slopes.search import CLOSE, MOST_BALLS, Bracket
from falsefloor.subjects.subject import ModelSubject


def closed(margin: float, slope: Callable[[float], float], *, near: float = math.inf) -> Bracket:
    """A bracket that was asked to its end; a ball of radius r holds a largest slope of slope(r)."""
    bracket = Bracket(1.0, auto=True, near=near)
    for ball in bracket:
        bracket.note(ball, min(ball, margin / slope(ball)), slope(ball))
    return bracket


@given(st.floats(0.01, 0.9), st.floats(0.1, 10.0), st.floats(1e-4, 10.0))
def test_it_closes_on_the_largest_ball_that_passes_from_wherever_it_begins(
    distance: float, growth: float, near: float
) -> None:
    def slope(ball: float) -> float:
        return (1 + growth * ball) / (1 + growth * distance)

    bracket = closed(distance, slope, near=near)
    assert bracket.low == pytest.approx(distance, rel=CLOSE - 1) and bracket.low <= distance * (1 + 1e-9)
    assert len(bracket.tried) < MOST_BALLS


def test_a_larger_ball_that_failed_allows_no_larger_floor() -> None:
    bracket = Bracket(1.0, auto=True)
    bracket.note(1.0, 0.3, 1.0)
    assert bracket.low == 0.3
    bracket.note(0.4, 0.2, 1.5)
    assert (bracket.low, bracket.high) == (0.2, 0.4), "the ball around it holds that steep point too"
    bracket.note(0.25, 0.25, 1.0)
    assert bracket.low == 0.25, "a ball that passed is a floor"
    bracket.note(0.25, 0.22, 1.2)
    assert bracket.low == 0.22, "looked at again, it did not"


def test_a_fixed_radius_is_one_ball() -> None:
    assert list(Bracket(0.3, auto=False, near=0.1)) == [0.3]


class Ridge(nn.Module):
    """Steep at an eighth of the way only, which the points of the largest ball step over."""

    def forward(self, x: Tensor) -> Tensor:
        way = (x - 0.5).mean(dim=1)
        rise = way + 0.053 * (torch.erf((way - 0.125) / 0.012) + 1) / 2
        return torch.stack([0.2 - rise, torch.zeros_like(rise)], dim=1)


@pytest.mark.parametrize("estimator", [Clever(batches=10, samples=5), FiniteDifference()])
def test_flat_surroundings_hide_no_steep_middle(estimator: Estimator) -> None:
    subject, x = ModelSubject(Ridge(), classes=2), torch.full((1, 1024), 0.5)
    crosses = 0.2 - 0.053
    assert int(subject(x - 1.01 * -crosses).argmax()) == 1 != int(subject(x + 0.99 * crosses).argmax())
    context = RunContext(generators(x, seed=0, norm="linf"))
    found = estimator(subject, x, torch.zeros(1, dtype=torch.long), norm="linf", context=context)
    assert 0.05 < float(found.radius[0]) <= crosses
