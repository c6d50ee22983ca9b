"""Projections: the least norm that crosses a plane in a box, and shrinking that never leaves it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.projections import shrink, to_plane

NORMS = ("l1", "l2", "linf")


def case(seed: int, size: int, rows: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    gradient[:, 0] = 0
    below = torch.rand(rows, size, generator=generator, dtype=torch.float64)
    above = torch.rand(rows, size, generator=generator, dtype=torch.float64)
    below[:, -1] = 0
    most = torch.where(gradient > 0, below, above).mul(gradient.abs()).sum(1)
    share = torch.rand(rows, generator=generator, dtype=torch.float64)
    return gradient, share * most, below, above


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_the_plane_is_reached_inside_the_box(norm: str, seed: int, size: int) -> None:
    gradient, fall, below, above = case(seed, size)
    step = to_plane(gradient, fall, below, above, norm=norm)
    torch.testing.assert_close(-(gradient * step).sum(1), fall, rtol=1e-9, atol=1e-12)
    assert bool((step >= -below).all())
    assert bool((step <= above).all())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_l1_and_linf_are_as_short_as_a_linear_program_finds(seed: int, size: int) -> None:
    gradient, fall, below, above = case(seed, size, rows=1)
    g, lo, hi = gradient[0].numpy(), -below[0].numpy(), above[0].numpy()
    # l1: delta = p - n; linf: one more variable that bounds every |delta_i|
    l1 = linprog(
        [1.0] * (2 * size),
        A_ub=[[*g, *-g]],
        b_ub=[-float(fall)],
        bounds=[(0, b) for b in hi] + [(0, -b) for b in lo],
    )
    rows = [[*(s * (i == j) for j in range(size)), -1.0] for i in range(size) for s in (1.0, -1.0)]
    linf = linprog(
        [0.0] * size + [1.0],
        A_ub=[[*g, 0.0], *rows],
        b_ub=[-float(fall)] + [0.0] * len(rows),
        bounds=[*zip(lo, hi, strict=True), (0, None)],
    )
    for norm, best in (("l1", l1.fun), ("linf", linf.fun)):
        got = float(vector_norm(to_plane(gradient, fall, below, above, norm=norm), norm))
        assert got == pytest.approx(best, rel=1e-6, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_l2_is_as_short_as_a_solver_finds(seed: int) -> None:
    gradient, fall, below, above = case(seed, 5, rows=1)
    g = gradient[0].numpy()
    solved = minimize(  # type: ignore[call-overload]
        lambda d: float(d @ d),
        to_plane(gradient, fall, below, above, norm="linf")[0].numpy(),
        jac=lambda d: 2 * d,
        bounds=list(zip(-below[0].numpy(), above[0].numpy(), strict=True)),
        constraints=[{"type": "ineq", "fun": lambda d: -(g @ d) - float(fall), "jac": lambda d: -g}],
        method="SLSQP",
    )
    got = float(vector_norm(to_plane(gradient, fall, below, above, norm="l2"), "l2"))
    assert got <= solved.fun**0.5 * (1 + 1e-6) + 1e-7


@pytest.mark.parametrize("norm", NORMS)
def test_too_far_a_plane_gives_the_largest_fall_and_none_is_no_step(norm: str) -> None:
    gradient, fall, below, above = case(0, 6)
    room = torch.where(gradient > 0, below, above)
    step = to_plane(gradient, fall * 0 + 1e9, below, above, norm=norm)
    torch.testing.assert_close(step, torch.where(gradient == 0, 0.0, -gradient.sign() * room))
    assert not to_plane(gradient, -fall, below, above, norm=norm).any()
    assert not to_plane(torch.zeros_like(gradient), fall, below, above, norm=norm).any()


@pytest.mark.parametrize("norm", NORMS)
def test_a_row_does_not_depend_on_its_neighbours(norm: str) -> None:
    gradient, fall, below, above = case(3, 33, rows=20)
    whole = to_plane(gradient, fall, below, above, norm=norm)
    alone = torch.cat(
        [
            to_plane(gradient[i : i + 1], fall[i : i + 1], below[i : i + 1], above[i : i + 1], norm=norm)
            for i in range(20)
        ]
    )
    assert torch.equal(whole, alone)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_shrinking_hits_the_norm_and_moves_every_coordinate_towards_zero(
    norm: str, seed: int, share: float
) -> None:
    displacement = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    small = shrink(displacement, torch.full((4,), share, dtype=torch.float64), norm=norm)
    torch.testing.assert_close(
        vector_norm(small, norm), share * vector_norm(displacement, norm), rtol=1e-9, atol=1e-12
    )
    assert bool((small * displacement >= 0).all())
    assert bool((small.abs() <= displacement.abs() + 1e-15).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_box_without_bounds_is_no_obstacle(norm: str) -> None:
    gradient, fall, below, _ = case(3, 6)
    free = torch.full_like(below, torch.inf)
    step = to_plane(gradient, fall, free, free, norm=norm)
    dual = {"linf": 1.0, "l2": 2.0, "l1": torch.inf}[norm]
    torch.testing.assert_close(
        vector_norm(step, norm), fall / torch.linalg.vector_norm(gradient, dual, dim=1), rtol=1e-9, atol=0
    )
    single = to_plane(gradient[:, 1:2], fall, free[:, :1], free[:, :1], norm=norm)
    torch.testing.assert_close(vector_norm(single, norm), fall / gradient[:, 1].abs(), rtol=1e-9, atol=0)
    half = to_plane(gradient, fall, below, free, norm=norm)
    torch.testing.assert_close(-(gradient * half).sum(1), fall, rtol=1e-9, atol=1e-12)
