"""Settling: no witness is believed before it held alone and in its batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import ModelSubject


class Halfplane(nn.Module):
    """Class 1 where the first coordinate is at least one half, by 20 logits a unit."""

    def forward(self, inputs: Tensor) -> Tensor:
        score = 20.0 * (inputs.flatten(1)[:, :1] - 0.5)
        return torch.cat([-score, score], 1)


INPUTS = torch.tensor([[0.2, 0.5], [0.3, 0.5], [0.4, 0.5]])
LABELS = torch.zeros(3, dtype=torch.int64)


def subject(module: nn.Module | None = None, classes: int = 2) -> ModelSubject:
    return ModelSubject(Halfplane() if module is None else module, classes=classes)


def settled(witness: Tensor, module: nn.Module | None = None, norm: str = "linf"):  # type: ignore[no-untyped-def]
    return settle(subject(module), INPUTS[: len(witness)], LABELS[: len(witness)], witness, norm=norm)


def test_a_witness_that_holds_is_kept_bit_for_bit() -> None:
    witness = torch.tensor([[0.6, 0.5], [0.7, 0.1], [0.51, 0.5]])
    found = settled(witness)
    assert found.ok.all()
    assert torch.equal(found.points, witness)
    assert found.moved.eq(0).all()
    assert found.predicted.eq(1).all()
    torch.testing.assert_close(found.radius, torch.tensor([0.4, 0.4, 0.11]).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("norm", "distance"), [("l1", 0.8), ("l2", math.sqrt(0.32)), ("linf", 0.4)])
def test_the_radius_is_measured_at_the_settled_point_in_the_norm(norm: str, distance: float) -> None:
    found = settled(torch.tensor([[0.6, 0.9]]), norm=norm)
    assert float(found.radius[0]) == pytest.approx(distance, rel=1e-6)


def test_a_point_on_the_boundary_is_walked_outwards_and_measured_there() -> None:
    found = settled(torch.tensor([[0.5, 0.5]]))
    assert bool(found.ok[0])
    assert 0 < float(found.moved[0]) <= 1e-3
    assert 0.3 < float(found.radius[0]) <= 0.3 * 1.001
    assert float(found.radius[0]) == pytest.approx(float(found.points[0, 0]) - 0.2, rel=1e-6)


def test_a_point_short_of_the_boundary_by_more_than_a_thousandth_is_dropped() -> None:
    assert not settled(torch.tensor([[0.4994, 0.5]])).ok.any()
    assert settled(torch.tensor([[0.4999, 0.5]])).ok.all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.5, -0.2])
def test_what_is_no_point_of_the_domain_is_dropped_and_the_others_are_not(bad: float) -> None:
    witness = torch.tensor([[0.6, 0.5], [0.9, bad], [0.7, 0.5]])
    found = settled(witness)
    assert found.ok.tolist() == [True, False, True]
    assert math.isinf(float(found.radius[1]))
    assert torch.equal(found.points[1], INPUTS[1])
    assert int(found.predicted[1]) == 0


def test_rounding_outside_the_domain_is_clamped_into_it() -> None:
    found = settled(torch.tensor([[1.0 + 1.2e-7, 0.5]]))
    assert bool(found.ok[0])
    assert float(found.points[0, 0]) == 1.0


def test_a_point_of_the_same_class_and_the_input_itself_are_dropped() -> None:
    found = settled(torch.stack([torch.tensor([0.45, 0.5]), INPUTS[1]]))
    assert not found.ok.any()


class Tied(nn.Module):
    """Beyond one half both classes have the same logit."""

    def forward(self, inputs: Tensor) -> Tensor:
        score = (0.5 - inputs.flatten(1)[:, :1]).clamp(min=0)
        return torch.cat([score + 1.0, torch.ones_like(score)], 1)


def test_a_tie_is_no_witness() -> None:
    assert not settled(torch.tensor([[0.8, 0.5]]), Tied()).ok.any()


class AloneOnly(nn.Module):
    """Changes class only in a batch of one, or only in company."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        self.alone = alone

    def forward(self, inputs: Tensor) -> Tensor:
        flips = (len(inputs) == 1) == self.alone
        logits: Tensor = Halfplane()(inputs)
        return logits if flips else torch.tensor([5.0, 0.0]).expand(len(inputs), 2)


@pytest.mark.parametrize("alone", [True, False])
def test_a_witness_must_hold_alone_and_in_its_batch(alone: bool) -> None:
    assert not settled(torch.tensor([[0.6, 0.5]]), AloneOnly(alone=alone)).ok.any()


class Alternating(nn.Module):
    """Answers every other call with another class."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        sign = 1.0 if self.calls % 2 else -1.0
        return torch.tensor([sign, -sign]).expand(len(inputs), 2) * 3


def test_a_subject_that_changes_its_mind_settles_nothing() -> None:
    assert not settled(torch.tensor([[0.6, 0.5]]), Alternating()).ok.any()


class Moody(nn.Module):
    """Raises, or answers NaN, left of a tenth in the second coordinate."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises = raises

    def forward(self, inputs: Tensor) -> Tensor:
        bad = inputs[:, 1] < 0.1
        if self.raises and bool(bad.any()):
            raise ValueError("no such place")
        logits: Tensor = Halfplane()(inputs)
        return torch.where(bad[:, None], torch.nan, logits)


@pytest.mark.parametrize("raises", [True, False])
def test_a_place_where_the_subject_has_no_answer_is_dropped_and_the_others_are_not(raises: bool) -> None:
    witness = torch.tensor([[0.6, 0.5], [0.6, 0.05], [0.7, 0.5]])
    assert settled(witness, Moody(raises=raises)).ok.tolist() == [True, False, True]


class Lifted(nn.Module):
    """A half plane whose logits lie near 100; in float64 it raises, or answers another by ``off``."""

    def __init__(self, *, raises: bool = False, off: float = 0.0) -> None:
        super().__init__()
        self.raises, self.off = raises, off

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.float64 and self.raises:
            raise TypeError("float32 only")
        lift = 100.0 + (self.off if inputs.dtype == torch.float64 else 0.0)
        logits: Tensor = Halfplane()(inputs) + lift
        return logits


@pytest.mark.parametrize(
    ("module", "moves"), [(Lifted(), False), (Lifted(raises=True), True), (Lifted(off=0.5), True)]
)
def test_a_thin_lead_is_enough_where_float64_shows_that_it_is_no_rounding(
    module: nn.Module, moves: bool
) -> None:
    # a lead of 2e-4: 17 roundings of 100, so more than 4 and less than 64
    found = settled(torch.tensor([[0.500005, 0.5]]), module)
    assert bool(found.ok[0])
    assert (float(found.moved[0]) > 0) == moves


def test_even_then_a_lead_of_four_roundings_is_needed() -> None:
    # 2.4e-5 at logits of 100 is two roundings
    found = settled(torch.tensor([[0.5 + 6e-7, 0.5]]), Lifted())
    assert bool(found.ok[0])
    assert float(found.moved[0]) > 0


class Half(nn.Module):
    """Half precision only, near logits of 8."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises = raises
        self.layer = nn.Linear(2, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
            self.layer.bias.copy_(torch.tensor([8.5, 7.5]))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.float64 and self.raises:
            raise TypeError("half precision only")
        logits: Tensor = self.layer(inputs)
        return logits


@pytest.mark.parametrize("raises", [True, False])
def test_half_precision_needs_a_margin_of_half_precision(raises: bool) -> None:
    inputs = torch.tensor([[0.2, 0.5], [0.2, 0.5]]).half()
    witness = torch.tensor([[0.55, 0.5], [1.0, 0.5]]).half()
    judged = ModelSubject(Half(raises=raises).half(), classes=2)
    found = settle(judged, inputs, torch.zeros(2, dtype=torch.int64), witness, norm="l2")
    # 64 units of rounding at logits of 8 are half a logit: 0.55 wins by a tenth, 1.0 by a whole one, and
    # 6 % further out the first wins by too little still; 4 units, a thirtieth, are enough beside float64
    assert found.ok.tolist() == [not raises, True]
    assert found.points.dtype == torch.float16


def test_queries_are_counted_by_input() -> None:
    found = settled(torch.stack([torch.tensor([0.6, 0.5]), INPUTS[1], torch.tensor([0.35, 0.5])]))
    assert found.queries.tolist() == [3, 0, 12]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(["l1", "l2", "linf"]))
def test_what_settled_replays_alone_inside_the_domain_at_its_radius(seed: int, norm: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    judged = ModelSubject(module, classes=3)
    inputs = torch.rand(5, 6, generator=generator)
    labels = judged(inputs).argmax(1)
    witness = torch.rand(5, 6, generator=generator) * 1.02 - 0.01
    found = settle(judged, inputs, labels, witness, norm=norm)
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
    for i in found.ok.nonzero().flatten().tolist():
        logits = judged.unfilled(found.points[i : i + 1])
        assert int(logits.argmax()) == int(found.predicted[i]) != int(labels[i])
        assert float(found.points[i].min()) >= 0 and float(found.points[i].max()) <= 1
        offset = found.points[i].double() - inputs[i].double()
        assert float(found.radius[i]) == pytest.approx(
            float(torch.linalg.vector_norm(offset, order)), rel=1e-12
        )
    for i in (~found.ok).nonzero().flatten().tolist():
        assert float(found.radius[i]) == math.inf


def test_neighbours_do_not_change_what_settles() -> None:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(9, 2, generator=generator) * torch.tensor([0.45, 1.0])
    labels = torch.zeros(9, dtype=torch.int64)
    witness = inputs.clone()
    witness[:, 0] = torch.linspace(0.4995, 0.501, 9)
    whole = settle(subject(), inputs, labels, witness, norm="l2")
    for i in range(9):
        one = settle(subject(), inputs[i : i + 1], labels[:1], witness[i : i + 1], norm="l2")
        assert torch.equal(one.points[0], whole.points[i])
        assert float(one.radius[0]) == float(whole.radius[i])
    assert 0 < int(whole.ok.sum()) < 9
