"""Supports of ball and box against linear programs, and their vertices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.numerics.support import common_support, cube_weights, support, vertex

NORMS = ("l1", "l2", "linf")
LO, HI = torch.tensor(0.0), torch.tensor(1.0)


def case(seed: int, size: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    g = torch.randn(4, size, generator=made, dtype=torch.float64)
    centre = torch.rand(4, size, generator=made, dtype=torch.float64)
    centre[0, :3] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    g[1, 2] = 0
    return g, centre


def programmed(g: np.ndarray, centre: np.ndarray, norm: str, rho: float) -> float:
    """The largest fall by a linear program (l1, linf), δ = up - down."""
    size = len(g)
    cost = np.concatenate([g, -g])
    bounds = [(0, 1 - c) for c in centre] + [(0, c) for c in centre]
    if norm == "linf":
        bounds = [(0, min(high, rho)) for _, high in bounds]
        found = linprog(cost, bounds=bounds)
    else:
        found = linprog(cost, A_ub=np.ones((1, 2 * size)), b_ub=[rho], bounds=bounds)
    return -found.fun / rho


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["l1", "linf"]), st.floats(0.01, 4))
def test_the_support_equals_a_linear_program(seed: int, norm: str, rho: float) -> None:
    g, centre = case(seed)
    found = support(g, centre, LO, HI, norm=norm, rho=rho)
    expected = [programmed(g[i].numpy(), centre[i].numpy(), norm, rho) for i in range(len(g))]
    assert found.tolist() == pytest.approx(expected, rel=1e-7, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(NORMS), st.floats(0.01, 4))
def test_the_vertex_is_feasible_and_attains_the_support(seed: int, norm: str, rho: float) -> None:
    g, centre = case(seed)
    delta = vertex(g, centre, LO, HI, norm=norm, rho=rho)
    assert (centre + delta).min() >= -1e-9 and (centre + delta).max() <= 1 + 1e-9
    assert vector_norm(delta, norm).max() <= rho * (1 + 1e-9)
    fall = -(g * delta).sum(dim=1) / rho
    # weak duality: the support is computed as an upper bound, so equality proves both optimal
    assert fall.tolist() == pytest.approx(support(g, centre, LO, HI, norm=norm, rho=rho).tolist(), rel=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(NORMS))
def test_the_support_falls_with_the_radius_and_starts_at_the_dual_norm(seed: int, norm: str) -> None:
    g, centre = case(seed)
    rho = torch.tensor([1e-6, 0.1, 0.5, 1.0, 3.0], dtype=torch.float64)
    table = support(g, centre, LO, HI, norm=norm, rho=rho)
    assert table.shape == (4, 5)
    assert (table.diff(dim=1) <= 1e-9).all()
    plain = vector_norm(g, dual(norm))
    assert (table[:, 0] <= plain * (1 + 1e-9)).all()
    # the first row sits on faces, the others inside: there no cap binds a tiny ball
    assert torch.allclose(table[1:, 0], plain[1:], rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["l1", "l2"]), st.floats(0.05, 3))
def test_a_shared_multiplier_never_gives_less_than_the_support(seed: int, norm: str, rho: float) -> None:
    g, centre = case(seed, size=12)
    middle = centre[0]
    caps = middle, 1 - middle
    radii = torch.tensor([rho], dtype=torch.float64)
    exact = support(g, middle.unsqueeze(0), LO, HI, norm=norm, rho=radii)
    shared = common_support(g, *caps, norm=norm, rho=radii, guide=g[0])
    assert (shared >= exact * (1 - 1e-9)).all()
    assert shared[0].item() == pytest.approx(exact[0].item(), rel=1e-9)
    doubled = common_support(2 * g, *caps, norm=norm, rho=radii, guide=g[0])
    assert doubled[0].item() == pytest.approx(2 * exact[0].item(), rel=1e-9)
    assert torch.equal(common_support(g, *caps, norm=norm, rho=radii), exact)


def test_the_cubes_weights_give_its_support_at_all_radii_at_once() -> None:
    g, centre = case(3)
    rho = torch.tensor([0.05, 0.4, 2.0], dtype=torch.float64)
    both, difference = cube_weights(centre[0] - LO, HI - centre[0], rho=rho)
    found = (both @ g.abs().T + difference @ g.T).T
    assert torch.allclose(found[:, :-1], support(g, centre[:1], LO, HI, norm="linf", rho=rho))
    assert torch.allclose(found[:, -1], vector_norm(g, "l1"))


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_has_no_support_and_no_vertex(norm: str) -> None:
    g, centre = torch.zeros(1, 5), torch.rand(1, 5, generator=torch.Generator().manual_seed(0))
    assert support(g, centre, LO, HI, norm=norm, rho=0.3).item() == 0
    assert vertex(g, centre, LO, HI, norm=norm, rho=0.3).abs().sum() == 0


@pytest.mark.parametrize("norm", NORMS)
def test_huge_float32_gradients_do_not_overflow(norm: str) -> None:
    centre = torch.full((1, 4), 0.5)
    small = support(torch.ones(1, 4), centre, LO, HI, norm=norm, rho=0.8).item()
    large = support(torch.full((1, 4), 1e30), centre, LO, HI, norm=norm, rho=0.8).item()
    assert large == pytest.approx(small * 1e30, rel=1e-5)
