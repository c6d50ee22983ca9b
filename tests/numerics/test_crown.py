"""Certified bounds: never beaten by any point of the region, exact where nothing is relaxed."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from falsefloor.numerics.balls import sample
from falsefloor.numerics.crown import relax
from falsefloor.numerics.nodes import Affine, chain, evaluate, forward
from falsefloor.numerics.support import region


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


@given(seed=st.integers(0, 10_000), radius=st.floats(0.01, 1.0), norm=st.sampled_from(["linf", "l2", "l1"]))
@settings(max_examples=40, deadline=None)
def test_no_point_of_the_ball_leaves_the_bounds(seed: int, radius: float, norm: str) -> None:
    layers = _network(seed, (6, 8, 7, 3))
    nodes = chain(layers)
    centre = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inside = region(centre, torch.zeros_like(centre), torch.ones_like(centre), norm=norm, radius=radius)
    relaxed = relax(nodes, inside)
    points = _points(centre, norm, radius, seed)
    for at, (low, high) in enumerate(relaxed.intervals):
        values = evaluate(nodes[: at + 1], points)
        assert bool((values >= low - 1e-9).all() and (values <= high + 1e-9).all())
    floor = relaxed.below(len(nodes) - 1, torch.eye(3, dtype=torch.float64))
    assert bool((forward(layers, points) >= floor - 1e-9).all())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_linear_network_is_bounded_exactly(norm: str) -> None:
    layers = _network(1, (5, 2))
    centre = torch.full((5,), 0.5, dtype=torch.float64)
    inside = region(centre, torch.zeros(5).double(), torch.ones(5).double(), norm=norm, radius=0.2)
    weight, bias = layers[0]
    floor = relax(chain(layers), inside).below(1, torch.eye(2, dtype=torch.float64))
    length = torch.linalg.vector_norm(weight, {"linf": 1, "l2": 2, "l1": torch.inf}[norm], dim=1)
    assert torch.allclose(floor, weight @ centre + bias - 0.2 * length)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_ball_of_no_radius_is_the_point_itself(norm: str) -> None:
    layers = _network(2, (4, 6, 2))
    nodes = chain(layers)
    centre = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inside = region(centre, torch.zeros(4).double(), torch.ones(4).double(), norm=norm, radius=0.0)
    floor = relax(nodes, inside).below(len(nodes) - 1, torch.eye(2, dtype=torch.float64))
    assert torch.allclose(floor, forward(layers, centre.unsqueeze(0))[0])


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_function_that_depends_on_nothing_has_the_value_0_as_its_least(norm: str) -> None:
    centre = torch.full((6,), 0.5, dtype=torch.float64)
    inside = region(centre, torch.zeros_like(centre), torch.ones_like(centre), norm=norm, radius=0.2)
    assert inside.minimum(torch.zeros(3, 6, dtype=torch.float64)).tolist() == [0.0, 0.0, 0.0]
