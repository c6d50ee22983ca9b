"""Secant gradients: exact on linear functions, alive on steps, inside the box, independent of the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from falsefloor.gradients.secant import Secant
from falsefloor.subjects.subject import ModelSubject


class Watching(nn.Module):
    """A linear layer on k/levels steps that remembers the range it was asked about."""

    def __init__(self, size: int, *, levels: float | None = None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(size)
        self.weight = nn.Parameter(torch.randn(3, size, generator=generator).to(dtype))
        self.levels = levels
        self.least, self.most = torch.inf, -torch.inf

    def forward(self, x: Tensor) -> Tensor:
        seen = x.detach()
        self.least, self.most = min(self.least, float(seen.min())), max(self.most, float(seen.max()))
        flat = x.flatten(1)
        flat = flat if self.levels is None else (flat * self.levels).round() / self.levels
        return flat @ self.weight.T


def weight_of(subject: ModelSubject) -> Tensor:
    module = subject.module
    assert isinstance(module, Watching)
    return module.weight.detach().T


def jacobian(source: Secant, subject: ModelSubject, x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    logits = source(subject)(leaf)
    assert torch.equal(logits, subject(x))
    return torch.stack(
        [torch.autograd.grad(logits[:, j].sum(), leaf, retain_graph=True)[0] for j in range(subject.classes)],
        -1,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.sampled_from([0.01, 0.05, 0.3, 0.5]), st.integers(0, 1000))
def test_a_linear_function_has_its_own_gradient_at_faces_too(size: int, h: float, seed: int) -> None:
    subject = ModelSubject(Watching(size, dtype=torch.float64), classes=3)
    x = torch.rand(4, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round(
        decimals=1
    )
    got = jacobian(Secant(h=h), subject, x)
    expected = weight_of(subject).expand(4, -1, -1)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    module = subject.module
    assert isinstance(module, Watching)
    assert module.least >= 0
    assert module.most <= 1


def test_steps_narrower_than_the_secant_do_not_hide_the_slope() -> None:
    clean = ModelSubject(Watching(8), classes=3)
    stepped = ModelSubject(Watching(8, levels=100), classes=3)
    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    leaf = x.clone().requires_grad_()
    assert not torch.autograd.grad(stepped(leaf)[:, 0].sum(), leaf)[0].any()
    difference = jacobian(Secant(h=0.1), stepped, x) - jacobian(Secant(h=0.1), clean, x)
    # one step of 1/100 more or less on a secant of 0.2: at most a twentieth of the weight
    assert float((difference.abs() / weight_of(clean).abs()).max()) <= 0.051


def test_random_groups_are_unbiased_over_points() -> None:
    size = 40
    subject = ModelSubject(Watching(size), classes=3)
    x = 0.3 + 0.4 * torch.rand(800, size, generator=torch.Generator().manual_seed(0))
    mean = jacobian(Secant(h=0.05, directions=10), subject, x).mean(0)
    weight = weight_of(subject)
    # each estimate carries three other coordinates' weights with random signs: sd about 1.7, 0.06 for the
    # mean
    assert float((mean - weight).abs().max()) < 0.3
    assert float((mean * weight).sum() / (mean.norm() * weight.norm())) > 0.99


@pytest.mark.parametrize("directions", [6, 512])
def test_a_points_gradient_does_not_depend_on_its_neighbours(directions: int) -> None:
    subject = ModelSubject(Watching(30, levels=16), classes=3)
    x = torch.rand(9, 2, 15, generator=torch.Generator().manual_seed(0))
    together = jacobian(Secant(directions=directions), subject, x)
    alone = torch.cat([jacobian(Secant(directions=directions), subject, row[None]) for row in x])
    assert torch.equal(together, alone)


def test_several_classes_cost_one_differencing() -> None:
    subject = ModelSubject(Watching(5), classes=3)
    x = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    leaf = x.clone().requires_grad_()
    logits = Secant()(subject)(leaf)
    before = subject.forward_queries
    for j in range(3):
        torch.autograd.grad(logits[:, j].sum(), leaf, retain_graph=True)
    assert subject.forward_queries - before == 2 * 2 * 5


def test_an_axis_without_width_has_slope_zero() -> None:
    high = torch.tensor([1.0, 0.5, 1.0])
    low = torch.tensor([0.0, 0.5, 0.0])
    subject = ModelSubject(Watching(3), classes=3, bounds=(low, high))
    got = jacobian(Secant(), subject, torch.tensor([[0.2, 0.5, 0.9]]))
    assert not got[0, 1].any()
    assert bool(got.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions_keep_their_type(dtype: torch.dtype) -> None:
    subject = ModelSubject(Watching(4, dtype=dtype), classes=3)
    got = jacobian(Secant(h=0.1), subject, torch.full((2, 4), 0.5, dtype=dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got[0], weight_of(subject), rtol=0.05, atol=0.05)
