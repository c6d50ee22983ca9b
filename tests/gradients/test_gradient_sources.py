"""Straight-through: 22 forms of rounding, casting and detaching, each with the bits it had and a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import Subject
from falsefloor.gradients.autograd import Autograd
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.subjects.subject import ModelSubject

LEVELS = 16


class Quantised(nn.Module):
    """A linear layer behind a function of its input."""

    def __init__(self, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.form = form
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.linspace(-1, 1, 18).reshape(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.form(x).to(x.dtype))
        return logits


def subject_of(form: Callable[[Tensor], Tensor]) -> Subject:
    return ModelSubject(Quantised(form), classes=3)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(function(leaf)[:, 1].sum(), leaf)[0]


def _in_place(name: str) -> Callable[[Tensor], Tensor]:
    def form(x: Tensor) -> Tensor:
        y = x * LEVELS
        getattr(y, name)()
        return y / LEVELS

    return form


def _floor_in_place(x: Tensor) -> Tensor:
    y = x * 1
    y //= 1 / LEVELS
    return y / LEVELS


def _remainder_in_place(x: Tensor) -> Tensor:
    y = x * 1
    y %= 1 / LEVELS
    return x - y


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch.ceil": lambda x: torch.ceil(x * LEVELS) / LEVELS,
    "Tensor.ceil": lambda x: (x * LEVELS).ceil() / LEVELS,
    "ceil_": _in_place("ceil_"),
    "torch.ceil_": lambda x: torch.ceil_(x * LEVELS) / LEVELS,
    "floor": lambda x: (x * LEVELS).floor() / LEVELS,
    "floor_": _in_place("floor_"),
    "round": lambda x: torch.round(x * LEVELS) / LEVELS,
    "round_": _in_place("round_"),
    "round with decimals": lambda x: torch.round(x, decimals=1),
    "trunc": lambda x: (x * LEVELS).trunc() / LEVELS,
    "fix": lambda x: torch.fix(x * LEVELS) / LEVELS,
    "frac": lambda x: x - torch.frac(x * LEVELS) / LEVELS,
    "remainder": lambda x: x - torch.remainder(x, 1 / LEVELS),
    "%": lambda x: x - x % (1 / LEVELS),
    "%=": _remainder_in_place,
    "fmod": lambda x: x - torch.fmod(x, 1 / LEVELS),
    "//": lambda x: (x // (1 / LEVELS)) / LEVELS,
    "//=": _floor_in_place,
    "floor_divide": lambda x: torch.floor_divide(x, 1 / LEVELS) / LEVELS,
    "div with rounding_mode": lambda x: torch.div(x, 1 / LEVELS, rounding_mode="floor") / LEVELS,
    "Tensor.div with trunc": lambda x: x.div(1 / LEVELS, rounding_mode="trunc") / LEVELS,
    "detach": lambda x: x.detach() * 1,
    "data": lambda x: x.data * 1,
    "detach of an activation": lambda x: (x * 2).detach() / 2,
    "to int32": lambda x: (x * LEVELS).to(torch.int32).float() / LEVELS,
    "to with dtype=": lambda x: (x * LEVELS).to(dtype=torch.int64) / LEVELS,
    "int": lambda x: (x * LEVELS).int() / LEVELS,
    "long": lambda x: (x * LEVELS).long() / LEVELS,
    "short": lambda x: (x * LEVELS).short().double() / LEVELS,
    "byte": lambda x: (x * LEVELS).byte().float() / LEVELS,
    "char": lambda x: (x * LEVELS).char().float() / LEVELS,
    "type": lambda x: (x * LEVELS).type(torch.uint8).float() / LEVELS,
    "type by name": lambda x: (x * LEVELS).type("torch.IntTensor").float() / LEVELS,
    "type_as": lambda x: (x * LEVELS).type_as(torch.zeros(1, dtype=torch.int16)).float() / LEVELS,
    "integer arithmetic": lambda x: ((x * LEVELS).byte() * 2 + 4 - 4).float() / (2 * LEVELS),
    "aten.ceil": lambda x: torch.ops.aten.ceil.default(x * LEVELS) / LEVELS,
    "aten.to": lambda x: torch.ops.aten._to_copy.default(x * LEVELS, dtype=torch.uint8).float() / LEVELS,
    "aten.floor_divide": lambda x: torch.ops.aten.floor_divide.default(x, torch.tensor(1 / LEVELS)) / LEVELS,
    "aten.div": lambda x: (
        torch.ops.aten.div.Tensor_mode(x, torch.tensor(1 / 16), rounding_mode="floor") / LEVELS
    ),
}


@pytest.fixture
def points() -> Tensor:
    return 0.03 + 0.9 * torch.rand(5, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", FORMS)
def test_every_form_keeps_its_bits_and_gets_the_gradient_of_the_unquantised_model(
    name: str, points: Tensor
) -> None:
    subject = subject_of(FORMS[name])
    repaired = StraightThrough()(subject)
    leaf = points.clone().requires_grad_()
    assert torch.equal(repaired(leaf), subject(points))
    torch.testing.assert_close(gradient(repaired, points), gradient(subject_of(lambda x: x), points))


@pytest.mark.parametrize("name", ["torch.ceil", "round_", "to int32", "detach"])
def test_autograd_sees_no_gradient_there(name: str, points: Tensor) -> None:
    assert not gradient(Autograd()(subject_of(FORMS[name])), points).any()


@pytest.mark.parametrize("form", [torch.sign, torch.sgn, Tensor.sign, lambda x: (x * 1).sign_()])
def test_sign_passes_the_gradient_and_keeps_its_bits_above_2_to_the_24(
    form: Callable[[Tensor], Tensor],
) -> None:
    subject = subject_of(lambda x: form((x - 0.5) * 1e9))
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    repaired = StraightThrough()(subject)
    assert torch.equal(repaired(leaf), subject(x))
    assert bool((gradient(repaired, x).abs() > 1e6).any())


def test_an_integer_that_wraps_keeps_its_bits(points: Tensor) -> None:
    subject = subject_of(lambda x: ((x * 255).byte() + 200).float())
    leaf = points.clone().requires_grad_()
    assert torch.equal(StraightThrough()(subject)(leaf), subject(points))
    assert gradient(StraightThrough()(subject), points).any()


@pytest.mark.parametrize(
    "form",
    [
        lambda x: ((x * 255).int() >> 2).float(),
        lambda x: torch.nn.functional.embedding((x * 9).long(), torch.arange(10.0)[:, None]).squeeze(-1),
        lambda x: torch.arange(10.0)[(x * 9).long()],
        lambda x: torch.bucketize(x, torch.linspace(0, 1, 10)).float(),
        lambda x: torch.from_numpy(np.floor(x.detach().numpy() * LEVELS) / LEVELS),
        lambda x: torch.tensor(x.detach().tolist()),
        lambda x: x * float(x.detach().max() > 2) + x.sum().item(),
    ],
)
def test_what_cannot_be_repaired_still_has_its_bits(form: Callable[[Tensor], Tensor], points: Tensor) -> None:
    subject = subject_of(form)
    leaf = points.clone().requires_grad_()
    repaired = StraightThrough()(subject)
    assert torch.equal(repaired(leaf), subject(points))
    assert bool(gradient(repaired, points).isfinite().all())


class _HalfOfAnInteger(torch.autograd.Function):
    """Out of the mode's sight; its answer depends on being handed integers."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        return torch.div(whole, 2).to(whole.dtype).float()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None]:
        return (None,)


def test_bits_go_before_gradients_where_code_out_of_sight_needs_integers(points: Tensor) -> None:
    half: Callable[[Tensor], Tensor] = _HalfOfAnInteger.apply
    subject = subject_of(lambda x: half((x * 255).int()))
    assert torch.equal(StraightThrough()(subject)(points.clone().requires_grad_()), subject(points))


def test_out_is_written_as_it_would_be(points: Tensor) -> None:
    def form(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        torch.ceil(x.detach() * LEVELS, out=y)
        return y

    def direct(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        with torch.no_grad():
            torch.ceil(x * LEVELS, out=y)
        return y

    for each in (form, direct):
        subject = subject_of(each)
        assert torch.equal(StraightThrough()(subject)(points.clone().requires_grad_()), subject(points))


def test_a_clamp_keeps_its_true_zero(points: Tensor) -> None:
    subject = subject_of(lambda x: x.clamp(max=0.4))
    repaired = gradient(StraightThrough()(subject), points)
    assert torch.equal(repaired, gradient(subject, points))
    assert not repaired[points > 0.4].any()


def test_an_untouched_model_has_the_gradient_it_had(points: Tensor) -> None:
    subject = subject_of(lambda x: torch.tanh(3 * x) * x)
    assert torch.equal(gradient(StraightThrough()(subject), points), gradient(subject, points))


def test_an_exported_model_is_repaired_by_its_leaf_names(points: Tensor) -> None:
    exported = torch.export.export(Quantised(FORMS["torch.ceil"]).eval(), (torch.rand(16, 6),)).module()
    with torch.no_grad():
        plain = exported(points.repeat(4, 1)[:16])
    leaf = points.repeat(4, 1)[:16].clone().requires_grad_()

    class Bare:
        bounds = (torch.tensor(0.0), torch.tensor(1.0))

        def __call__(self, x: Tensor) -> Tensor:
            logits: Tensor = exported(x)
            return logits

    logits = StraightThrough()(Bare())(leaf)  # type: ignore[arg-type]
    assert torch.equal(logits, plain)
    assert torch.autograd.grad(logits[:, 1].sum(), leaf)[0].any()


def test_no_gradient_is_asked_for_and_none_is_made(points: Tensor) -> None:
    subject = subject_of(FORMS["ceil_"])
    assert not StraightThrough()(subject)(points).requires_grad
    with torch.no_grad():
        assert torch.equal(StraightThrough()(subject)(points.clone().requires_grad_()), subject(points))


def test_an_error_of_the_model_is_the_models_own(points: Tensor) -> None:
    def form(x: Tensor) -> Tensor:
        raise RuntimeError("the model's own words")

    with pytest.raises(RuntimeError, match="own words"):
        StraightThrough()(subject_of(form))(points.clone().requires_grad_())
