"""Casts: torch's own rounding, integers by their formula, and what autograd makes of each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from falsefloor.errors import UsageError
from falsefloor.maskers.dtype import FLOATS, INTEGERS, Dtype

RANGES = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}


@pytest.mark.parametrize("to", FLOATS)
def test_a_floating_point_cast_rounds_and_hides_it_from_autograd(to: str) -> None:
    t = torch.rand(1000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = Dtype(to=to)(nn.Identity())(t)
    assert torch.equal(out, t.to(FLOATS[to]).to(torch.float32))
    assert not torch.equal(out, t)
    (slope,) = torch.autograd.grad(out.sum(), t)
    assert torch.equal(slope, torch.ones_like(t))


@pytest.mark.parametrize("to", INTEGERS)
@given(t=st.floats(-300, 300), scale=st.sampled_from([1.0, 16.0, 255.0]))
@settings(max_examples=50, deadline=None)
def test_an_integer_cast_is_the_clamped_rounded_multiple(to: str, t: float, scale: float) -> None:
    low, high = RANGES[to]
    out = Dtype(to=to, scale=scale)(nn.Identity())(torch.tensor([t], dtype=torch.float64))
    assert out.tolist() == [max(low, min(high, round(scale * t))) / scale]


@pytest.mark.parametrize("to", INTEGERS)
def test_an_integer_cast_cuts_the_graph(to: str) -> None:
    assert not Dtype(to=to)(nn.Identity())(torch.rand(3, requires_grad=True)).requires_grad


def test_a_value_beyond_the_largest_integer_is_clamped_not_wrapped() -> None:
    t = torch.tensor([-1.0, 2.0, 1e9, -1e9])
    assert Dtype(to="uint8")(nn.Identity())(t).tolist() == [0, 1, 1, 0]
    assert Dtype(to="int32", scale=1e6)(nn.Identity())(t.double())[2].item() == (2**31 - 1) / 1e6


def test_pixels_of_eight_bits_survive_an_eight_bit_cast() -> None:
    pixels = torch.arange(256) / 255
    assert torch.equal(Dtype(to="uint8")(nn.Identity())(pixels), pixels)


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_elsewhere_the_part_itself_runs_in_that_type(to: str) -> None:
    part = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()).eval()
    x = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    wrapped = Dtype(to=to)(part)
    seen: list[torch.dtype] = []
    wrapped.get_submodule("part.0").register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    out = wrapped(x)
    assert seen == [FLOATS[to]]
    assert out.dtype == torch.float32
    assert not torch.equal(out, part(x))
    torch.testing.assert_close(out, part(x), atol=0.03, rtol=0.03)


def test_a_float16_part_overflows_as_float16_does() -> None:
    part = nn.Linear(1, 1, bias=False)
    nn.init.constant_(part.weight, 300.0)
    assert Dtype()(part)(torch.tensor([[300.0]])).item() == float("inf")


def test_a_part_stays_in_its_type_when_the_model_around_it_changes_its_own() -> None:
    wrapped = Dtype()(nn.Linear(8, 8))
    x = torch.rand(4, 8, generator=torch.Generator().manual_seed(0)).half().float()
    expected = wrapped(x)
    out = nn.Sequential(wrapped).double()(x.double())
    assert out.dtype == torch.float64
    assert torch.equal(out.float(), expected)
    assert Dtype(to="bfloat16")(wrapped)(x).dtype == torch.float32


def test_a_part_without_floating_point_arguments_returns_to_its_own_type() -> None:
    assert Dtype()(nn.Embedding(3, 2).double())(torch.tensor([0, 2])).dtype == torch.float64


@pytest.mark.parametrize("to", ["float8_e4m3fn", "float8_e5m2", *INTEGERS])
def test_a_type_that_cannot_run_a_part_is_refused_with_the_places_that_work(to: str) -> None:
    with pytest.raises(UsageError, match=rf"{to} was asked for at Linear.*float16 and bfloat16.*at=input"):
        Dtype(to=to)(nn.Linear(2, 2))
