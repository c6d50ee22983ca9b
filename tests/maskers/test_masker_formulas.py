"""Each masker against its formula in plain Python floats, and its derivative against the paper."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from falsefloor.api import Masker
from falsefloor.errors import DomainError
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.none import NoMask
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import Sigmoid, SigmoidStaircase
from falsefloor.maskers.staircase import Staircase

LEVELS = st.sampled_from([1, 2, 16, 100, 255, 12.75])
POINTS = st.floats(-3, 3, allow_nan=False)
quickly = settings(max_examples=60, deadline=None)


def values(masker: Masker, *points: float, dtype: torch.dtype = torch.float64) -> list[float]:
    out: list[float] = masker(nn.Identity())(torch.tensor(points, dtype=dtype)).tolist()
    return out


def slopes(masker: Masker, t: Tensor) -> Tensor:
    point = t.clone().requires_grad_()
    (slope,) = torch.autograd.grad(masker(nn.Identity())(point).sum(), point)
    return slope


def riser(r: float, gain: float) -> float:
    """(σ(gain(r - ½)) - s₀)/(1 - 2s₀)"""
    lowest = 1 / (1 + math.exp(gain / 2))
    return (1 / (1 + math.exp(-gain * (r - 0.5))) - lowest) / (1 - 2 * lowest)


@pytest.mark.parametrize("mode,rounding", [("ceil", math.ceil), ("floor", math.floor), ("round", round)])
@given(t=POINTS, c=LEVELS)
@quickly
def test_staircase_is_the_rounded_multiple_of_a_step(
    mode: str, rounding: Callable[[float], int], t: float, c: float
) -> None:
    assert values(Staircase(c=c, mode=mode), t) == [rounding(c * t) / c]


@given(t=POINTS, c=LEVELS, delta=st.floats(1e-6, 1))
@quickly
def test_ramp_is_the_notes_formula(t: float, c: float, delta: float) -> None:
    k = math.floor(c * t)
    assert values(Ramp(c=c, delta=delta), t) == pytest.approx(
        [(k + min((c * t - k) / delta, 1)) / c], abs=1e-12
    )


@given(t=POINTS, c=LEVELS)
@quickly
def test_a_ramp_with_delta_one_is_the_identity(t: float, c: float) -> None:
    assert values(Ramp(c=c, delta=1.0), t) == pytest.approx([t], abs=1e-12)


@given(t=POINTS, c=LEVELS)
@quickly
def test_a_ramp_tends_to_the_ceil_staircase(t: float, c: float) -> None:
    r = c * t - math.floor(c * t)
    if r == 0 or r > 1e-9:  # on the riser itself the two differ, however narrow it is
        assert values(Ramp(c=c, delta=1e-9), t) == pytest.approx(values(Staircase(c=c), t), abs=1e-12)


@given(t=POINTS, gain=st.floats(0.01, 50))
@quickly
def test_sigmoid_is_the_saturated_logistic_function(t: float, gain: float) -> None:
    expected = 1 / (1 + math.exp(-gain * t))
    assert values(Sigmoid(gain=gain), t) == pytest.approx([expected], rel=1e-12)


@given(t=POINTS, c=LEVELS, gain=st.floats(0.1, 1000))
@quickly
def test_sigmoid_staircase_is_the_formula(t: float, c: float, gain: float) -> None:
    k = math.floor(c * t)
    assert values(SigmoidStaircase(c=c, gain=gain), t) == pytest.approx(
        [(k + riser(c * t - k, gain)) / c], abs=1e-12
    )


@given(k=st.integers(-5, 5), gain=st.floats(0.1, 20))
@quickly
def test_sigmoid_staircase_has_equal_slopes_on_both_sides_of_an_edge(k: int, gain: float) -> None:
    edge = torch.tensor([k - 1e-9, k + 1e-9], dtype=torch.float64)
    left, right = slopes(SigmoidStaircase(c=1, gain=gain), edge).tolist()
    assert left == pytest.approx(right, rel=1e-5)
    assert left > 0


@pytest.mark.parametrize("mode", ["ceil", "round", "floor"])
def test_a_staircase_has_no_slope_anywhere(mode: str) -> None:
    assert torch.count_nonzero(slopes(Staircase(c=255, mode=mode), torch.rand(1000))) == 0


@given(delta=st.sampled_from([0.01, 0.2, 0.5, 0.9]), c=st.sampled_from([16, 255]))
@quickly
def test_a_ramp_has_slope_one_over_delta_on_a_delta_share_and_none_elsewhere(delta: float, c: int) -> None:
    generator = torch.Generator().manual_seed(0)
    slope = slopes(Ramp(c=c, delta=delta), torch.rand(20_000, generator=generator, dtype=torch.float64))
    steep = slope != 0
    torch.testing.assert_close(slope[steep], torch.full_like(slope[steep], 1 / delta))
    assert (~steep).double().mean().item() == pytest.approx(1 - delta, abs=0.015)  # four standard errors


def test_a_ramp_below_float32_spacing_still_has_its_risers() -> None:
    riser_ends = (torch.arange(1, 200, dtype=torch.float64) + 0.5e-6) / 255
    assert torch.all(slopes(Ramp(c=255, delta=1e-6), riser_ends) > 9e5)
    spread = torch.rand(200_000, generator=torch.Generator().manual_seed(1))
    out = Ramp(c=255, delta=1e-6)(nn.Identity())(spread)
    assert torch.all(out >= spread - 1e-7)
    assert out.dtype == torch.float32


def test_a_sigmoids_slope_underflows_in_float32_and_not_in_float64() -> None:
    t = torch.linspace(0.6, 1, 100, dtype=torch.float64)
    assert torch.count_nonzero(slopes(Sigmoid(gain=30.0), t.float())) == 0
    assert torch.all(slopes(Sigmoid(gain=30.0), t) > 0)


@pytest.mark.parametrize("gain,share", [(40.0, 0.08), (400.0, 0.74), (4000.0, 0.97)])
def test_a_sharp_sigmoid_staircase_has_exact_zero_slopes_in_float32(gain: float, share: float) -> None:
    t = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    zero = (slopes(SigmoidStaircase(c=255, gain=gain), t) == 0).double().mean().item()
    assert zero == pytest.approx(share, abs=0.01)


def test_a_sharp_sigmoid_staircase_keeps_its_slope_in_float64() -> None:
    t = torch.rand(50_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.all(slopes(SigmoidStaircase(c=255, gain=40.0), t) > 0)


@given(
    masker=st.one_of(
        st.builds(Staircase, c=LEVELS, mode=st.sampled_from(["ceil", "round", "floor"])),
        st.builds(Ramp, c=LEVELS, delta=st.floats(0.01, 1)),
        st.builds(SigmoidStaircase, c=LEVELS, gain=st.floats(0.01, 5000)),
        st.just(NoMask()),
    )
)
@quickly
def test_displacement_is_the_supremum_of_what_is_seen(
    masker: Staircase | Ramp | SigmoidStaircase | NoMask,
) -> None:
    c = getattr(masker, "c", 1)
    t = torch.linspace(0, 3 / c, 60_001, dtype=torch.float64)
    seen = (masker(nn.Identity())(t) - t).abs().max().item()
    # a supremum is not always attained: the grid has 20,000 points a step, and a ramp of 0.01 rises 100-fold
    assert masker.displacement() * c == pytest.approx(seen * c, abs=6e-3)
    assert seen <= masker.displacement() + 1e-9


def test_a_sigmoid_has_no_displacement() -> None:
    for masker in (Sigmoid(), Dtype()):
        assert masker.displacement() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("c", [16, 255, 256])
def test_pixels_on_the_grid_of_a_staircase_stay_where_they_are(c: int) -> None:
    pixels = torch.arange(c + 1) / c
    assert torch.equal(Staircase(c=c)(nn.Identity())(pixels), pixels)


@pytest.mark.parametrize(
    "masker",
    [Staircase(), Ramp(), Sigmoid(), SigmoidStaircase(), Dtype(), Dtype(to="uint8"), NoMask()],
    ids=lambda masker: type(masker).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_output_keeps_the_parts_dtype(masker: Masker, dtype: torch.dtype) -> None:
    assert masker(nn.Identity())(torch.rand(5, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    "masker",
    [Staircase(), Ramp(), Sigmoid(), SigmoidStaircase(), Dtype(), Dtype(to="bfloat16")],
    ids=lambda masker: type(masker).__name__,
)
def test_wrapping_leaves_the_part_and_its_weights_alone(masker: Masker) -> None:
    part = nn.Linear(4, 3)
    before = copy.deepcopy(part.state_dict())
    wrapped = masker(part)
    assert wrapped is not part
    assert torch.isfinite(copy.deepcopy(wrapped)(torch.rand(2, 4))).all()
    assert part.weight.dtype == torch.float32
    for key, value in part.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_mask_is_found_by_its_name_and_a_solver_can_read_its_steps() -> None:
    wrapped = Staircase(c=16, mode="floor")(nn.Linear(2, 2))
    names = dict(wrapped.named_modules())
    assert set(names) == {"", "part", "quantise"}
    assert (names["quantise"].levels, names["quantise"].mode) == (16, "floor")


def test_a_mask_works_on_a_part_with_several_arguments() -> None:
    bilinear = nn.Bilinear(2, 3, 4)
    a, b = torch.rand(5, 2), torch.rand(5, 3)
    assert torch.equal(Staircase(c=8)(bilinear)(a, input2=b), torch.ceil(bilinear(a, b) * 8) / 8)


def test_a_part_that_returns_no_tensor_is_a_clear_error() -> None:
    with pytest.raises(DomainError, match="LSTM, which returns tuple"):
        Staircase()(nn.LSTM(2, 2))(torch.rand(1, 3, 2))
    with pytest.raises(DomainError, match=r"torch\.int64"):
        Ramp()(nn.Identity())(torch.arange(3))
