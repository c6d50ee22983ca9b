"""Balls, duals and folding: the geometry every estimator stands on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from falsefloor.numerics.balls import diameter, directions, dual, fold, sample, vector_norm

NORMS = ("l1", "l2", "linf")
LO, HI = torch.tensor(0.0), torch.tensor(1.0)
numbers = st.floats(-50, 50, width=32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("norm", NORMS)
def test_the_dual_of_the_dual_is_the_norm(norm: str) -> None:
    assert dual(dual(norm)) == norm


def test_an_unknown_norm_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="l1, l2, linf"):
        dual("l3")


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=6), st.sampled_from(NORMS))
def test_hoelders_inequality_holds_and_norms_agree_with_their_definition(row: list[float], norm: str) -> None:
    x = torch.tensor([row], dtype=torch.float64)
    other = x.flip(1)
    assert (x * other).sum() <= vector_norm(x, norm) * vector_norm(other, dual(norm)) * (1 + 1e-12) + 1e-12
    size = [abs(value) for value in row]
    expected = {"l1": sum(size), "l2": math.hypot(*size), "linf": max(size)}[norm]
    assert float(vector_norm(x, norm)) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("value", [1e30, 1e-30])
def test_the_l2_norm_survives_squares_that_leave_float32(value: float) -> None:
    assert float(vector_norm(torch.full((1, 4), value), "l2")) == pytest.approx(2 * value, rel=1e-6)


def test_the_l2_norm_of_float16_does_not_overflow() -> None:
    assert float(vector_norm(torch.full((1, 4), 6e4, dtype=torch.float16), "l2")) == pytest.approx(
        1.2e5, rel=1e-3
    )


def test_norms_of_infinite_and_nan_rows_say_so() -> None:
    rows = torch.tensor([[math.inf, 1.0], [math.nan, 1.0], [0.0, 0.0]])
    found = vector_norm(rows, "l2").tolist()
    assert found[0] == math.inf and math.isnan(found[1]) and found[2] == 0


@settings(max_examples=60, deadline=None)
@given(numbers, st.floats(0, 1, width=32), st.floats(-3, 3, width=32), st.floats(0, 4, width=32))
def test_folding_stays_inside_and_never_moves_away_from_a_point_inside(
    x: float, share: float, low: float, width: float
) -> None:
    lo, hi = torch.tensor(low), torch.tensor(low) + torch.tensor(width)
    inside = lo + share * (hi - lo)
    folded = fold(torch.tensor([x]), lo, hi)
    assert lo <= folded <= hi
    assert abs(folded - inside) <= abs(torch.tensor(x) - inside) * (1 + 1e-5) + 1e-5


def test_folding_leaves_points_inside_bit_for_bit_and_reflects_many_times() -> None:
    x = torch.rand(100, generator=generator())
    assert torch.equal(fold(x, LO, HI), x)
    many = fold(torch.tensor([-0.25, 1.25, 2.25, -3.75, 7.5]), LO, HI)
    assert many.tolist() == pytest.approx([0.25, 0.75, 0.25, 0.25, 0.5])
    assert fold(torch.tensor([math.nan]), LO, HI).isnan().all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.01, 0.3, 20.0])
def test_samples_lie_in_ball_and_box(norm: str, radius: float) -> None:
    centre = torch.rand(2, 3, 4, generator=generator())
    points = sample(
        centre, norm=norm, radius=radius, count=200, generators=[generator(1), generator(2)], lo=LO, hi=HI
    )
    assert points.shape == (2, 200, 3, 4)
    assert points.min() >= 0 and points.max() <= 1
    for index in range(2):
        assert vector_norm(points[index] - centre[index], norm).max() <= radius * (1 + 1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_samples_have_no_atoms_on_the_faces(norm: str) -> None:
    centre = torch.zeros(1, 8)
    points = sample(centre, norm=norm, radius=2.0, count=500, generators=[generator()], lo=LO, hi=HI)
    assert ((points == 0) | (points == 1)).double().mean() < 1e-3


@pytest.mark.parametrize(("norm", "expected"), [("l1", 3 / 4), ("l2", 3 / 4), ("linf", 3 / 4)])
def test_samples_are_uniform_in_volume(norm: str, expected: float) -> None:
    # in d = 3 the mean of ‖x‖/r over a uniform ball is d/(d + 1) in its own norm
    far = torch.tensor(100.0)
    points = sample(
        torch.zeros(1, 3), norm=norm, radius=1.0, count=20_000, generators=[generator()], lo=-far, hi=far
    )
    assert float(vector_norm(points[0], norm).mean()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_an_inputs_points_depend_on_its_generator_alone(norm: str) -> None:
    centre = torch.rand(3, 5, generator=generator())
    radii = torch.tensor([0.1, 0.2, 0.3])
    seeds = [generator(seed) for seed in range(3)]
    together = sample(centre, norm=norm, radius=radii, count=7, generators=seeds, lo=LO, hi=HI)
    for index in range(3):
        alone = sample(
            centre[index : index + 1],
            norm=norm,
            radius=float(radii[index]),
            count=7,
            generators=[generator(index)],
            lo=LO,
            hi=HI,
        )
        assert torch.equal(alone[0], together[index])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_precision_changes_the_points_by_rounding_only(dtype: torch.dtype) -> None:
    centre = torch.full((1, 5), 0.5)
    wide, other = (
        sample(centre.to(kind), norm="l2", radius=0.3, count=9, generators=[generator()], lo=LO, hi=HI)
        for kind in (torch.float32, dtype)
    )
    assert other.dtype == dtype
    assert (wide.double() - other.double()).abs().max() < 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_directions_have_unit_length_and_both_signs(norm: str) -> None:
    units = directions((2, 3), norm=norm, count=50, generator=generator())
    assert torch.allclose(vector_norm(units, norm), torch.ones(50), atol=1e-5)
    assert (units > 0).any() and (units < 0).any()


def test_the_diameter_counts_every_coordinate() -> None:
    assert [diameter(LO, 2 * HI, (2, 8), norm) for norm in NORMS] == pytest.approx([32, 8, 2])
