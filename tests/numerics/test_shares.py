"""Shares of balls: uniform points inside the box, a bound that covers, and splitting on known volumes."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Generator

from falsefloor.numerics.shares import Ball, largest_share, split

KINDS = ("cap l2", "cap l1", "slab l2", "corner linf", "needle linf")


def _benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "share.py"
    spec = importlib.util.spec_from_file_location("share_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_are_uniform_in_the_ball(norm: str) -> None:
    ball = Ball(torch.zeros(3), -2 * torch.ones(3), 2 * torch.ones(3), norm, 1.0)
    points = ball.points(ball.uniform(20_000, Generator().manual_seed(0)))
    order = {"linf": math.inf, "l2": 2, "l1": 1}[norm]
    length = torch.linalg.vector_norm(points, order, dim=1)
    assert float(length.max()) <= 1 + 1e-6
    # the share of a uniform ball within t of its radius is t^d
    assert float((length < 0.5).double().mean()) == pytest.approx(0.125, abs=0.01)
    assert float(points.mean(0).abs().max()) < 0.02


def test_a_face_of_the_box_leaves_one_side_and_a_corner_may_leave_nothing() -> None:
    centre = torch.tensor([0.0, 1.0, 0.5])
    ball = Ball(centre, torch.zeros(3), torch.ones(3), "l2", 0.4)
    points = ball.points(ball.uniform(500, Generator().manual_seed(0)))
    assert len(points) == 500
    assert bool(((points >= 0) & (points <= 1)).all())
    # a pixel beside the face is not on it: of 400 of them some step leaves the box, always
    beside = Ball(torch.full((400,), 1e-3), torch.zeros(400), torch.ones(400), "l2", 1.0)
    assert len(beside.uniform(100, Generator().manual_seed(0))) == 0
    assert largest_share(0, 0) == 1.0


def test_nothing_among_n_bounds_the_share_by_three_over_n() -> None:
    assert largest_share(0, 1000) == pytest.approx(3 / 1000, rel=4e-3)
    assert largest_share(0, 1000) < 3 / 1000
    assert largest_share(1, 100) == pytest.approx(0.0466, abs=1e-4)  # the table of Clopper & Pearson
    assert largest_share(5, 100) == pytest.approx(0.102253, abs=1e-6)  # the quantile of a beta distribution
    assert largest_share(7, 7) == 1.0


def test_splitting_finds_a_millionth_of_the_ball_and_says_how_much() -> None:
    benchmark = _benchmark()
    found, near, queries = benchmark.splitting(64, 1e-6, repeats=3, particles=500, moves=10)
    assert (found, near) == (3, 3)
    assert queries < 100_000


def test_splitting_reaches_a_slab_as_thin_as_float32_has_room_for() -> None:
    found, near, _ = _benchmark().splitting(64, 1e-6, repeats=3, particles=500, moves=10, kind="slab l2")
    assert (found, near) == (3, 3)


def test_splitting_that_finds_nothing_claims_no_point() -> None:
    ball = Ball(torch.zeros(4), -torch.ones(4), torch.ones(4), "linf", 0.5)
    told = split(
        lambda points: -points.abs().sum(1) - 1,
        ball,
        particles=100,
        moves=2,
        levels=3,
        generator=Generator().manual_seed(0),
    )
    assert told.point is None
    assert told.low == 0.0 < told.high


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("share", [0.0005, 0.003, 0.02])
def test_the_bound_covers_the_true_share_of_caps_slabs_and_salt(norm: str, share: float) -> None:
    told = _benchmark().coverage(8, norm, share, draws=1000, points=1000)
    assert set(told) == {"cap", "slab", "salt"}
    assert min(told.values()) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("volume", [1e-3, 1e-5, 1e-7, 1e-9])
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (784, "cap l2"),
        *((64, kind) for kind in ("cap l2", "cap l1", "slab l2", "corner linf", "needle linf")),
    ],
)
def test_splitting_is_within_a_factor_of_three(size: int, volume: float, kind: str) -> None:
    benchmark = _benchmark()
    if volume < benchmark.KINDS[kind]:
        pytest.skip("points in float32 have no room for it")
    _, near, _ = benchmark.splitting(size, volume, repeats=20, particles=500, moves=10, kind=kind)
    assert near >= 18
