"""Certified bounds: never beaten by any point of the region, exact where nothing is relaxed."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from falsefloor.numerics.balls import sample
from falsefloor.numerics.crown import Affine, forward, hidden_bounds, lower_bound, region


def _network(seed: int, widths: tuple[int, ...]) -> list[Affine]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(out, size, generator=generator, dtype=torch.float64),
            torch.randn(out, generator=generator, dtype=torch.float64),
        )
        for size, out in itertools.pairwise(widths)
    ]


def _points(centre: Tensor, norm: str, radius: float, seed: int) -> Tensor:
    lo, hi = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    found = sample(
        centre.unsqueeze(0), norm=norm, radius=radius, count=200, generators=[generator], lo=lo, hi=hi
    )
    return found[0]


@given(seed=st.integers(0, 10_000), radius=st.floats(0.01, 1.0), norm=st.sampled_from(["linf", "l1"]))
@settings(max_examples=40, deadline=None)
def test_no_point_of_the_ball_leaves_the_bounds(seed: int, radius: float, norm: str) -> None:
    layers = _network(seed, (6, 8, 7, 3))
    centre = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    zeros, ones = torch.zeros_like(centre), torch.ones_like(centre)
    inside = region(centre, zeros, ones, norm=norm, radius=radius)
    bounds = hidden_bounds(layers, inside)
    weight, bias = layers[-1]
    floor = lower_bound(layers[:-1], bounds, weight, bias, inside)
    points = _points(centre, norm, radius, seed)
    for depth, (low, high) in enumerate(bounds):
        values = forward(layers[: depth + 1], points)
        assert bool((values >= low - 1e-9).all() and (values <= high + 1e-9).all())
    assert bool((forward(layers, points) >= floor - 1e-9).all())


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_linear_network_is_bounded_exactly(norm: str) -> None:
    layers = _network(1, (5, 2))
    centre = torch.full((5,), 0.5, dtype=torch.float64)
    inside = region(centre, torch.zeros(5).double(), torch.ones(5).double(), norm=norm, radius=0.2)
    weight, bias = layers[0]
    floor = lower_bound([], [], weight, bias, inside)
    length = weight.abs().sum(dim=1) if norm == "linf" else weight.abs().amax(dim=1)
    assert torch.allclose(floor, weight @ centre + bias - 0.2 * length)


def test_a_ball_of_no_radius_is_the_point_itself() -> None:
    layers = _network(2, (4, 6, 2))
    centre = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inside = region(centre, torch.zeros(4).double(), torch.ones(4).double(), norm="linf", radius=0.0)
    weight, bias = layers[-1]
    floor = lower_bound(layers[:-1], hidden_bounds(layers, inside), weight, bias, inside)
    assert torch.allclose(floor, forward(layers, centre.unsqueeze(0))[0])


def test_the_euclidean_ball_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="linf or l1"):
        region(torch.zeros(2), torch.zeros(2), torch.ones(2), norm="l2", radius=0.1)
