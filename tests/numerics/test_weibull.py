"""The constrained reverse Weibull fit: never below a maximum, close to the truth, honest where it fails."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from falsefloor.numerics.weibull import REASONS, SHAPE_RANGE, fit, may_exceed


def drawn(rows: int, count: int, *, shape: float, location: float = 10.0, seed: int = 0) -> torch.Tensor:
    made = torch.Generator().manual_seed(seed)
    return location - (-torch.rand(rows, count, generator=made, dtype=torch.float64).log()) ** (1 / shape)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e4, width=32), min_size=1, max_size=60))
def test_no_location_lies_below_an_observed_maximum(values: list[float]) -> None:
    found = fit(torch.tensor([values]))
    assert found.location.item() >= max(values)
    assert math.isfinite(found.location.item())


@pytest.mark.parametrize("shape", [1.5, 2.0, 3.0])
def test_the_location_is_found_from_fifty_maxima(shape: float) -> None:
    values = drawn(300, 50, shape=shape)
    error = fit(values).location - 10
    missed = values.amax(dim=1) - 10
    assert error.median().abs() < 0.07
    assert error.abs().median() < missed.abs().median()


def test_shape_and_scale_are_found_from_many_maxima() -> None:
    found = fit(10 + 3 * (drawn(1, 5000, shape=2.5) - 10))
    assert found.shape.item() == pytest.approx(2.5, rel=0.1)
    assert found.scale.item() == pytest.approx(3, rel=0.1)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(-100, 100), st.integers(0, 100))
def test_the_fit_moves_with_scale_and_shift(scale: float, shift: float, seed: int) -> None:
    values = drawn(1, 50, shape=2.0, seed=seed)
    base, moved = fit(values).location.item(), fit(values * scale + shift * scale).location.item()
    assert moved == pytest.approx((base + shift) * scale, rel=1e-5)


def test_the_likelihood_is_not_lower_than_on_a_dense_search() -> None:
    values = drawn(1, 50, shape=2.0, seed=3)
    found = fit(values)

    def height(location: float, shape: float) -> float:
        gaps = location - values[0]
        return float(
            50 * (math.log(shape) - gaps.pow(shape).mean().log()) + (shape - 1) * gaps.log().sum() - 50
        )

    top, spread = values.amax().item(), (values.amax() - values.mean()).item()
    best = max(
        height(top + spread * 10**exponent, shape)
        for exponent in torch.linspace(-3, 1.5, 90).tolist()
        for shape in torch.linspace(*SHAPE_RANGE, 81).tolist()
    )
    assert height(found.location.item(), found.shape.item()) >= best - 1e-3


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    values = drawn(7, 40, shape=2.0)
    together = fit(values).location
    alone = torch.cat([fit(row.unsqueeze(0)).location for row in values])
    assert torch.allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0] * 50, "no spread"),
        ([1.0, 2.0] * 25, "too few distinct maxima"),
        ([math.inf, *range(40)], "non-finite maxima"),
        ([3.0], "no spread"),
    ],
)
def test_where_there_is_nothing_to_fit_the_maximum_is_taken_and_said(
    values: list[float], reason: str
) -> None:
    found = fit(torch.tensor([values]))
    assert not found.fitted.item() and REASONS[found.reason.item()] == reason
    assert found.location.item() == max(values)


def test_at_the_shapes_lower_bound_the_maximum_is_taken() -> None:
    found = fit(drawn(100, 50, shape=0.7))
    at_bound = found.reason == 1
    assert at_bound.double().mean() > 0.9
    assert torch.equal(found.location[at_bound], drawn(100, 50, shape=0.7).amax(dim=1)[at_bound])


def test_the_interval_holds_the_location_and_needs_twenty_distinct_maxima() -> None:
    found = fit(drawn(50, 50, shape=2.0))
    kept = found.fitted
    assert (found.low[kept] <= found.location[kept]).all() and (
        found.location[kept] <= found.high[kept]
    ).all()
    assert ((found.low <= 10) & (found.high >= 10))[kept].double().mean() > 0.75
    assert fit(drawn(5, 15, shape=2.0)).low.isnan().all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1e4, width=32), min_size=2, max_size=60),
    st.floats(0.01, 6),
    st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    st.integers(0, 1000),
)
def test_a_fit_that_is_left_out_would_not_have_reached_the_value(
    values: list[float], ranges: float, shape: float, seed: int
) -> None:
    rows = torch.stack(
        [torch.tensor(values).double(), drawn(1, len(values), shape=shape, seed=seed)[0].double()]
    )
    top = rows.amax(dim=1)
    value = top + ranges * (top - rows.amin(dim=1))
    left_out = ~may_exceed(rows, value)
    assert (fit(rows).location <= value)[left_out].all()


def test_most_far_values_need_no_fit_and_near_ones_do() -> None:
    rows = drawn(200, 50, shape=2.0)
    top, width = rows.amax(dim=1), rows.amax(dim=1) - rows.amin(dim=1)
    assert not may_exceed(rows, top + 4.5 * width).any()
    assert may_exceed(rows, top + 0.05 * width).all()
    assert may_exceed(rows, top).all()
