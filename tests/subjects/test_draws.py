"""A random model as the mean over its draws: near its expectation, one function for every row and call."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from falsefloor.subjects.draws import Averaged, ceiling_interval

WEIGHT = torch.linspace(-1, 1, 80).reshape(4, 20).sin() * 3
POINTS = torch.rand(4, 20, generator=torch.Generator().manual_seed(0))
Forward = Callable[[Tensor], Tensor]


class Random(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.by = forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self.by(inputs) @ WEIGHT.T


def resized(inputs: Tensor, size: int | None = None) -> Tensor:
    size = int(torch.randint(12, 21, (1,))) if size is None else size
    small = F.interpolate(inputs[:, None], size=size, mode="linear", align_corners=True)
    return F.interpolate(small, size=20, mode="linear", align_corners=True)[:, 0]


KINDS: dict[str, tuple[Forward, float]] = {
    # the forward, and how far the mean over 32 draws may be from the expectation, as a share of one draw's
    "noise": (lambda x: x + 0.3 * torch.randn_like(x), 1e-5),
    "uniform": (lambda x: x + torch.empty_like(x).uniform_(-0.3, 0.3), 1e-5),
    "normal": (lambda x: x + torch.normal(torch.zeros_like(x), 0.3) + torch.normal(0.0, 0.1, x.shape), 1e-5),
    "dropout": (lambda x: F.dropout(x, 0.3, training=True), 0.1),
    "coins of each": (lambda x: x * torch.bernoulli(torch.full_like(x, 0.7)) / 0.7, 0.1),
    "resizing": (resized, 0.25),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_mean_is_near_the_expectation_and_the_same_for_every_row(name: str) -> None:
    forward, share = KINDS[name]
    expected = POINTS @ WEIGHT.T
    if name == "resizing":
        expected = torch.stack([resized(POINTS, size) for size in range(12, 21)]).mean(0) @ WEIGHT.T
    one = (Averaged(Random(forward), 1)(POINTS) - expected).abs().max()
    mean = Averaged(Random(forward), 32)
    answers = mean(POINTS)
    assert (answers - expected).abs().max() <= share * one
    for rows in (slice(0, 1), slice(2, 4)):
        torch.testing.assert_close(mean(POINTS[rows]), answers[rows], rtol=1e-5, atol=1e-5)
    assert torch.equal(mean(POINTS), answers), "asked again"


def test_its_gradient_is_that_of_the_mean() -> None:
    points = POINTS.clone().requires_grad_(True)
    mean = Averaged(Random(lambda x: (x + 0.1 * torch.randn_like(x)).square()), 32)
    (grad,) = torch.autograd.grad(mean(points).sum(), points)
    torch.testing.assert_close(grad, 2 * POINTS * WEIGHT.sum(0), rtol=1e-4, atol=1e-4)


def test_a_weight_drawn_for_all_rows_is_no_row_of_a_batch() -> None:
    """A batch of as many rows as the weight has is not drawn row by row."""

    def forward(x: Tensor) -> Tensor:
        return x @ (torch.eye(20) + 0.1 * torch.randn(20, 20))

    mean, batch = Averaged(Random(forward), 8), POINTS[:1].expand(20, 20)
    torch.testing.assert_close(mean(batch)[:1], mean(POINTS[:1]), rtol=1e-4, atol=1e-4)


def test_python_and_numpy_draw_alike_too_and_everybodys_state_is_as_before() -> None:
    def forward(x: Tensor) -> Tensor:
        return x * (1 + 0.1 * random.gauss(0, 1)) + float(np.random.normal())

    mean = Averaged(Random(forward), 16)
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = (torch.rand(1), random.random(), np.random.rand())
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    assert torch.equal(mean(POINTS), mean(POINTS))
    assert (torch.rand(1), random.random(), np.random.rand()) == expected


def test_a_generator_of_the_models_own_stays_as_it_is() -> None:
    own = torch.Generator().manual_seed(5)
    mean = Averaged(Random(lambda x: x + torch.randn(x.shape, generator=own)), 4)
    before = own.get_state()
    assert torch.equal(mean(POINTS), mean(POINTS)) and torch.equal(own.get_state(), before)


def test_the_interval_of_a_ceiling_holds_that_of_the_expectation() -> None:
    forward, _ = KINDS["dropout"]
    held = 0
    for draws in (8, 16, 32, 64):
        mean = Averaged(Random(forward), draws)
        for point in POINTS:
            logits = point @ WEIGHT.T
            label, other = logits.topk(2).indices.tolist()
            normal = WEIGHT[label] - WEIGHT[other]
            exact = float((logits[label] - logits[other]) / normal.norm())
            # the witness of the mean, on the way to the expectation's nearest: the first of another class
            steps = 0.5 * exact * 1.01 ** torch.arange(1.0, 200.0)
            way = point - steps[:, None] * normal / normal.norm()
            first = int((mean(way).argmax(1) != label).int().argmax())
            assert first > 0
            step, witness = float(steps[first]), way[first]
            ends = ceiling_interval(mean, point, witness, label=label, distance=step)
            assert ends is not None and ends[0] <= step <= ends[1]
            held += ends[0] <= exact * 1.001 and exact <= ends[1] * 1.001
    assert held >= 15
