from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from falsefloor.errors import DomainError
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.observed import LARGE
from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import FILL, ModelSubject


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 5))


POINTS = torch.rand(64, 12, generator=torch.Generator().manual_seed(1))


@given(st.integers(1, 64), st.integers(0, 63))
@settings(deadline=None, max_examples=40)
def test_an_inputs_logits_and_gradient_do_not_depend_on_its_neighbours(count: int, start: int) -> None:
    subject = ModelSubject(net(), classes=5)
    points = POINTS[start : start + count]
    whole = POINTS.clone().requires_grad_()
    part = points.clone().requires_grad_()
    assert torch.equal(subject(part), subject(whole)[start : start + count])
    (one,) = torch.autograd.grad(subject(part)[:, 2].sum(), part)
    (all_,) = torch.autograd.grad(subject(whole)[:, 2].sum(), whole)
    assert torch.equal(one, all_[start : start + count])


class Detached(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.detach().flatten(1)[:, :5]


class OwnLeaf(nn.Module):
    """Has a graph, but none that reaches the inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        leaf = torch.ones(5, requires_grad=True)
        return inputs.detach().flatten(1)[:, :5] * leaf


class FloorDivision(nn.Module):
    """torch 2.13 has no derivative for it, not even zero."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, :5] // 0.1


class Numpy(nn.Module):
    """Raises on inputs that require a gradient."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(inputs.numpy().reshape(len(inputs), -1)[:, :5] * 2)


class Inference(nn.Module):
    """Its outputs are tensors that autograd refuses to save."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return inputs.flatten(1)[:, :5] * 2


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.view_as(inputs)

    @staticmethod
    def backward(_ctx: Any, *_grads: Tensor) -> Tensor:
        raise RuntimeError("no backward here")


class NoBackward(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = _NoBackward.apply(inputs)  # type: ignore[no-untyped-call]
        return outputs.flatten(1)[:, :5]


CUT = [Detached(), OwnLeaf(), FloorDivision(), Numpy(), Inference(), NoBackward()]


@pytest.mark.parametrize("module", CUT, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("count", [3, 16])
def test_a_cut_graph_gives_zero_gradients_and_no_exception(module: nn.Module, count: int) -> None:
    subject = ModelSubject(module, classes=5)
    points = POINTS[:count].clone().requires_grad_()
    logits = subject(points)
    assert torch.equal(logits, module(points.detach()))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), points)
    assert torch.equal(gradient, torch.zeros_like(points))


@pytest.mark.parametrize("module", CUT[3:], ids=lambda module: type(module).__name__)
def test_what_no_repair_reaches_gives_zero_gradients_under_a_repair_too(module: nn.Module) -> None:
    subject = ModelSubject(module, classes=5)
    points = POINTS[:16].clone().requires_grad_()
    logits = StraightThrough()(subject)(points)
    assert not logits.is_inference()
    (gradient,) = torch.autograd.grad((logits * logits).sum(), points, allow_unused=True)
    assert gradient is None or torch.equal(gradient, torch.zeros_like(points))


class InPlace(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mul_(2).flatten(1)[:, :5]


@pytest.mark.parametrize("count", [3, 16])
@pytest.mark.parametrize("graph", [False, True])
def test_a_module_that_works_in_place_does_not_move_the_points(count: int, graph: bool) -> None:
    subject = ModelSubject(InPlace(), classes=5)
    points = POINTS[:count].clone().requires_grad_(graph)
    for ask in (subject, subject.unfilled):
        assert torch.equal(ask(points), 2 * POINTS[:count, :5])
        assert torch.equal(points, POINTS[:count])


def test_many_rows_are_asked_in_calls_that_a_cache_holds_with_the_same_bits() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 5)).requires_grad_(
        False
    )
    points = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    whole = module(torch.cat([points, points[-1:].expand(8, -1, -1, -1)]))[:200]
    subject = ModelSubject(module, classes=5)
    logits = subject(points)

    assert subject.calls == 3
    assert subject.forward_queries == 200
    assert torch.equal(logits, whole)
    (found,), (expected,) = (torch.autograd.grad(one[:, 0].sum(), points) for one in (logits, whole))
    assert torch.equal(found, expected)


def test_queries_are_counted_without_the_filling() -> None:
    subject = ModelSubject(net(), classes=5)
    points = POINTS[:3].clone().requires_grad_()
    logits = subject(points)
    for klass in range(5):
        torch.autograd.grad(logits[:, klass].sum(), points, retain_graph=True)
    assert (subject.forward_queries, subject.backward_queries) == (3, 15)


def test_the_module_is_put_in_eval_mode_and_frozen() -> None:
    subject = ModelSubject(nn.Sequential(net(), nn.Dropout(0.5)).train(), classes=5)
    assert not subject.module.training
    assert not any(p.requires_grad for p in subject.module.parameters())
    assert torch.equal(subject(POINTS), subject(POINTS))


@pytest.mark.parametrize(
    "module", [nn.Linear(12, 4), nn.Linear(12, 5).requires_grad_(False).__class__(12, 6), nn.LSTM(12, 5)]
)
def test_anything_else_than_logits_is_refused_with_the_shape(module: nn.Module) -> None:
    with pytest.raises(DomainError, match="expected one tensor of logits"):
        ModelSubject(module, classes=5)(POINTS)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_answers_that_are_no_logits_are_refused_with_their_type(dtype: torch.dtype) -> None:
    class Answers(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs[:, :5].to(dtype)

    with pytest.raises(DomainError, match=str(dtype).removeprefix("torch.")):
        ModelSubject(Answers(), classes=5)(POINTS)


def test_bounds_are_tensors_in_the_models_own_type() -> None:
    subject = ModelSubject(net().double(), classes=5, bounds=(-1, torch.full((12,), 2.0)))
    low, high = subject.bounds
    assert low.dtype == high.dtype == torch.float64
    assert high.shape == (12,)


class Counted(nn.Module):
    """Remembers how many rows each call took; answers otherwise in company where it is ``sociable``."""

    def __init__(self, *, sociable: bool = False, least: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 3 * LARGE).reshape(3, LARGE))
        self.sociable, self.least = sociable, least
        self.rows: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) < self.least:
            raise ValueError("too few")
        self.rows.append(len(inputs))
        logits = inputs.flatten(1) @ self.weight.T / 100
        return logits.flip(1) if self.sociable and len(inputs) > 1 else logits


def test_large_inputs_are_asked_one_by_one_and_answer_the_same_in_any_company() -> None:
    module = Counted()
    subject = ModelSubject(module, classes=3)
    points = torch.rand(3, LARGE).requires_grad_()
    logits = subject(points)
    assert set(module.rows) == {1} and subject.forward_queries == 3
    assert torch.equal(logits[1:2], subject(points[1:2]))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), points)
    assert torch.allclose(gradient, module.weight[0].expand(3, -1) / 100)
    assert subject.backward_queries == 3


def test_what_large_inputs_answer_in_company_is_asked_all_the_same() -> None:
    subject = ModelSubject(Counted(sociable=True), classes=3)
    x, moved = torch.zeros(1, LARGE), torch.ones(1, LARGE)
    label = subject(moved).argmin(1)
    found = settle(subject, x, label, moved, norm="linf", rows=64)
    assert not found.ok[0] and found.batch_only[0], "alone another class leads, in a batch it does not"


def test_a_model_that_takes_no_single_row_is_asked_in_filled_batches() -> None:
    module = Counted(least=FILL)
    assert ModelSubject(module, classes=3)(torch.rand(2, LARGE)).shape == (2, 3)
    assert module.rows == [FILL]
