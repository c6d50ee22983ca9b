"""Secant slopes: inside the box, honest about the step they took, blind to no function."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from falsefloor.numerics.secants import WIDEST, Boxed, ends, fan, jacobian, some_coordinates

LO, HI = torch.tensor(0.0), torch.tensor(1.0)


@given(seed=st.integers(0, 10_000), exponent=st.floats(-7, 0), face=st.sampled_from([0.0, 1.0, None]))
@settings(max_examples=60, deadline=None)
def test_a_step_stays_in_the_box_and_keeps_its_length(seed: int, exponent: float, face: float | None) -> None:
    points = torch.rand(3, 17, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if face is not None:
        points[:, ::2] = face
    scale = torch.tensor(10**exponent, dtype=torch.float64)
    low, high = ends(points, scale, LO.double(), HI.double())
    assert bool((low >= 0).all() and (high <= 1).all())
    expected = 2 * min(float(scale), WIDEST)
    assert torch.allclose(high - low, torch.full_like(low, expected), rtol=1e-6, atol=1e-12)


def test_no_end_lies_on_a_face_that_the_point_lies_on() -> None:
    points = torch.cat([torch.zeros(1, 9), torch.ones(1, 9)])
    low, high = ends(points, torch.tensor(0.01), LO, HI)
    assert bool((low[0] > 0).all()) and bool((high[1] < 1).all())


def test_coordinates_on_one_grid_meet_the_steps_in_different_phases() -> None:
    low, _ = ends(torch.full((1, 20), 0.5), torch.tensor(0.1), LO, HI)
    assert len(set(low[0].tolist())) == 20


@given(seed=st.integers(0, 10_000), exponent=st.floats(-6, -0.5))
@settings(max_examples=40, deadline=None)
def test_an_affine_function_has_its_own_slopes_at_every_scale(seed: int, exponent: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    points = torch.rand(4, 5, generator=generator, dtype=torch.float64)

    found = jacobian(
        Boxed(lambda x: x @ weight.T + 1, LO, HI, 7), points, scale=torch.full((4,), 10**exponent)
    )

    assert torch.allclose(found, weight.expand(4, 3, 5), rtol=1e-6, atol=1e-7)


@given(seed=st.integers(0, 10_000), exponent=st.floats(-6, -0.5), face=st.sampled_from([0.0, 1.0, None]))
@settings(max_examples=40, deadline=None)
def test_a_fan_has_an_affine_function_s_slopes_inside_the_box(
    seed: int, exponent: float, face: float | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    points = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    if face is not None:
        points[:, ::2] = face
    asked = 0

    def function(x: Tensor) -> Tensor:
        nonlocal asked
        asked += len(x)
        assert bool((x >= 0).all() and (x <= 1).all())
        assert face is None or not bool((x == face).any())
        return x @ weight.T + 1

    found = fan(Boxed(function, LO, HI, 7), points, scale=torch.full((4,), 10**exponent))

    assert torch.allclose(found, weight.expand(4, 3, 5), rtol=1e-6, atol=1e-7)
    assert asked == 4 * 6


def test_a_fan_sees_a_staircase_beneath_a_grid_of_pixels_as_steep_as_it_is() -> None:
    points = (torch.rand(2, 400, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    asked = Boxed(lambda x: torch.ceil(255 * x).sum(1, keepdim=True) / 255, LO, HI, 100)
    found = fan(asked, points, scale=torch.full((2,), 0.01))
    assert abs(float(found.mean()) - 1) < 0.02


@pytest.mark.parametrize("rows", [2, 3, 16, 1000])
def test_the_number_of_rows_changes_no_slope(rows: int) -> None:
    points = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0))
    scale = torch.logspace(-3, -1, 5)

    def function(x: Tensor) -> Tensor:
        return torch.stack([(x**2).sum(dim=(1, 2)), x.sin().sum(dim=(1, 2))], dim=1)

    whole = jacobian(Boxed(function, LO, HI, 10_000), points, scale=scale)
    assert torch.equal(jacobian(Boxed(function, LO, HI, rows), points, scale=scale), whole)


def test_chosen_coordinates_are_columns_of_all() -> None:
    points = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    scale = torch.full((2,), 0.01)
    chosen = torch.tensor([[0, 4], [5, 1]])

    def function(x: Tensor) -> Tensor:
        return (x**2).cumsum(dim=1)

    whole = jacobian(Boxed(function, LO, HI, 64), points, scale=scale)
    part = jacobian(Boxed(function, LO, HI, 64), points, scale=scale, coordinates=chosen)
    assert torch.equal(part, whole.gather(2, chosen.unsqueeze(1).expand(-1, 6, -1)))


def test_a_coordinate_without_width_has_slope_zero() -> None:
    lo, hi = torch.tensor([0.0, 0.3]), torch.tensor([1.0, 0.3])
    asked = Boxed(lambda x: 5 * x, lo, hi, 4)
    found = jacobian(asked, torch.tensor([[0.5, 0.3]]), scale=torch.full((1,), 0.1))
    assert found[0, 0, 0] == pytest.approx(5) and found[0, 1, 1] == 0


def test_half_precision_outputs_are_differenced_in_float32() -> None:
    points = torch.full((1, 2), 0.5, dtype=torch.float16)
    found = jacobian(Boxed(lambda x: 2 * x, LO, HI, 4), points, scale=torch.full((1,), 0.1))
    assert found.dtype == torch.float32
    assert torch.allclose(found[0].diagonal(), torch.tensor([2.0, 2.0]), rtol=1e-2)


def test_few_coordinates_are_all_taken_and_many_are_drawn_once_each() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    assert some_coordinates(8, count=8, generators=generators) is None
    drawn = some_coordinates(100, count=30, generators=generators)
    assert drawn is not None and drawn.shape == (2, 30)
    assert all(len(set(row.tolist())) == 30 for row in drawn) and not torch.equal(drawn[0], drawn[1])
