"""The scale spectrum, its plateau, and the levels read off it, on functions whose steps are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from falsefloor.numerics.balls import dual, sample, vector_norm
from falsefloor.numerics.levels import Levels, count_levels
from falsefloor.numerics.secants import Boxed
from falsefloor.numerics.spectrum import SCALES, Plateau, Spectrum, enlarge, measure, plateau

SIZE = 24
LO, HI = torch.tensor(0.0), torch.tensor(1.0)
EPS = torch.finfo(torch.float32).eps
Mask = Callable[[Tensor], Tensor]


def _plain(t: Tensor) -> Tensor:
    return t


def _ceil(levels: float) -> Mask:
    return lambda t: torch.ceil(t * levels) / levels


def _ramp(levels: float, delta: float) -> Mask:
    def masked(t: Tensor) -> Tensor:
        wide = t.double() * levels
        low = wide.floor()
        return ((low + ((wide - low) / delta).clamp(max=1)) / levels).to(t.dtype)

    return masked


def _look(
    mask: Mask,
    *,
    norm: str = "linf",
    radius: float = 0.3,
    after: Mask = _plain,
    seed: int = 0,
    rows: int = 512,
) -> tuple[Spectrum, Plateau, Levels, Tensor]:
    """Spectrum, plateau, levels and the true dual norm of a linear function behind a mask."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, SIZE, generator=generator)
    centre = torch.rand(1, SIZE, generator=generator)

    def function(x: Tensor) -> Tensor:
        return after((mask(x).unsqueeze(1) * weight).sum(dim=2))

    points = sample(centre, norm=norm, radius=radius, count=6, generators=[generator], lo=LO, hi=HI)
    own, other = torch.tensor([0]), torch.tensor([1])
    asked = Boxed(function, LO, HI, rows)
    spectrum = measure(asked, points, own, other, norm=norm, width=1.0)
    flat = plateau(spectrum, limit=torch.tensor([radius / 2]), eps=EPS)
    wide = torch.tensor([radius])
    levels = count_levels(asked, points, spectrum, flat, radius=wide, eps=EPS, generators=[generator])
    return spectrum, flat, levels, vector_norm((weight[0] - weight[1]).unsqueeze(0), dual(norm))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_linear_function_is_flat_over_all_resolved_scales(norm: str) -> None:
    spectrum, flat, levels, truth = _look(_plain, norm=norm)
    assert bool(flat.found[0])
    assert float(flat.slope[0]) == pytest.approx(float(truth), rel=1e-3)
    assert torch.allclose(spectrum.median[0, 12:], truth.expand(len(SCALES) - 12), rtol=1e-2)
    assert levels.reason == ["no steps"] and float(levels.levels[0]) == 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_staircase_is_flat_through_fine_steps_and_honest_through_coarse_ones(norm: str) -> None:
    spectrum, flat, _, truth = _look(_ceil(255), norm=norm)
    assert float(spectrum.median[0, 0]) == 0
    assert float(flat.slope[0]) == pytest.approx(float(truth), rel=0.1)
    assert float(spectrum.scales[0, flat.index[0]]) > 1 / 255


@given(levels=st.integers(16, 1024), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_levels_of_a_staircase_are_within_15_percent(levels: int, seed: int) -> None:
    _, _, found, _ = _look(_ceil(levels), seed=seed)
    refused = found.reason[0] != "steps"
    assert refused or float(found.levels[0]) == pytest.approx(levels, rel=0.15)


def test_levels_of_common_staircases_are_given_not_refused() -> None:
    for levels in (16, 64, 255, 1024):
        found = _look(_ceil(levels))[2]
        assert found.reason == ["steps"]
        assert float(found.levels[0]) == pytest.approx(levels, rel=0.02)


@pytest.mark.parametrize("levels", [16, 64, 512, 1024])
@pytest.mark.parametrize("delta", [0.5, 0.2, 0.05, 0.01])
def test_a_ramp_shows_its_levels_and_its_share(levels: int, delta: float) -> None:
    _, flat, found, truth = _look(_ramp(levels, delta))
    assert found.reason == ["steps"]
    assert float(found.levels[0]) == pytest.approx(levels, rel=0.02)
    assert float(found.ramp_share[0]) == pytest.approx(delta, rel=0.05)
    assert float(flat.slope[0]) == pytest.approx(float(truth), rel=0.15)


@given(levels=st.integers(16, 1024), share=st.floats(0.01, 0.6), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_ramp_never_shows_a_wrong_number(levels: int, share: float, seed: int) -> None:
    found = _look(_ramp(levels, share), seed=seed)[2]
    assert math.isnan(float(found.levels[0])) == found.reason[0].startswith("refused")
    if found.reason == ["steps"]:
        assert float(found.levels[0]) == pytest.approx(levels, rel=0.15)
        assert float(found.ramp_share[0]) == pytest.approx(share, rel=0.15)


def test_a_jump_is_not_taken_for_a_narrow_ramp() -> None:
    jump, narrow = _look(_ceil(64))[2], _look(_ramp(64, 1e-3))[2]
    assert float(jump.ramp_share[0]) == 0
    assert float(narrow.ramp_share[0]) == pytest.approx(1e-3, rel=0.15)


@pytest.mark.parametrize("gain", [20.0, 400.0])
def test_smooth_risers_are_told_by_their_slope_at_half_height(gain: float) -> None:
    def masked(t: Tensor) -> Tensor:
        wide = t.double() * 64
        return ((wide.floor() + torch.sigmoid(gain * (wide - wide.floor() - 0.5))) / 64).to(t.dtype)

    found = _look(masked)[2]
    assert float(found.levels[0]) == pytest.approx(64, rel=0.02)
    # a sigmoid's slope at 1/2 is gain/4, and the interval that is looked at is a little less steep
    assert 4 / gain <= float(found.ramp_share[0]) <= 1.25 * 4 / gain


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seed", range(4))
def test_the_steps_of_a_float_have_no_one_width(dtype: torch.dtype, seed: int) -> None:
    found = _look(lambda t: t.to(dtype).to(t.dtype), seed=seed)[2]
    assert math.isnan(float(found.levels[0])) and found.reason == ["refused: steps of uneven width"]


def test_levels_do_not_depend_on_how_many_points_a_forward_takes() -> None:
    narrow, wide = (_look(_ramp(64, 0.2), rows=rows)[2] for rows in (48, 4096))
    assert torch.equal(narrow.levels, wide.levels) and torch.equal(narrow.ramp_share, wide.ramp_share)


def test_levels_are_refused_where_the_ball_holds_fewer_than_three_steps() -> None:
    found = _look(_ceil(8), radius=0.3)[2]
    assert math.isnan(float(found.levels[0])) and found.reason[0].startswith("refused")


def test_levels_are_refused_where_the_steps_are_in_the_output() -> None:
    found = _look(_plain, after=lambda logits: torch.ceil(4 * logits) / 4)[2]
    assert math.isnan(float(found.levels[0]))
    assert found.reason == ["refused: the steps are not in the input"]


def test_a_constant_function_has_no_plateau() -> None:
    _, flat, found, _ = _look(torch.zeros_like)
    assert not bool(flat.found[0])
    assert found.reason == ["refused: no plateau"]


def test_a_subset_of_coordinates_stands_for_all_on_average() -> None:
    generator = torch.Generator().manual_seed(3)
    gradient = torch.randn(400, generator=generator)
    for norm, power in (("linf", 1), ("l2", 2)):
        parts = torch.stack([gradient[torch.randperm(400, generator=generator)[:40]] for _ in range(2000)])
        lengths = enlarge(vector_norm(parts, dual(norm)), norm=norm, size=400, count=40)
        whole = float(vector_norm(gradient.unsqueeze(0), dual(norm)))
        assert float((lengths**power).mean()) == pytest.approx(whole**power, rel=0.02)
