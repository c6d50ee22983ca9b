"""The planted trap: verified, nearer than the subject's own boundary, behind the maskers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.maskers.sigmoid import Sigmoid
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsInputs, DigitsModel
from falsefloor.numerics.balls import vector_norm
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject
from falsefloor.subjects.trap import NEARER, Trap, plant

MODEL = DigitsModel()("mlp")
GIVEN = DigitsInputs()("0-2", MODEL)
INPUTS, LABELS = GIVEN.inputs, torch.as_tensor(GIVEN.labels)
CLEVER = Clever(batches=10, samples=10)
STACKS: dict[str, list[Any]] = {
    "none": [],
    "input": [(Staircase(c=255), "input")],
    "logits": [(Sigmoid(gain=0.5), "logits")],
    "model": [(Staircase(c=1000), "model")],
    "submodule": [(Staircase(c=16), "2")],
}


def trap_for(stack: list[Any], at: int = 0, *, norm: str = "linf") -> Trap | None:
    subject = ModelSubject(compose(MODEL.module, stack), classes=10)
    x, y = INPUTS[at : at + 1], LABELS[at : at + 1]
    (drawn,) = generators(x, seed=0, norm=f"trap {norm}")
    return plant(MODEL.module, stack, subject, x, y, norm=norm, generator=drawn)


def planted(stack: list[Any], at: int = 0, *, norm: str = "linf") -> Trap:
    found = trap_for(stack, at, norm=norm)
    assert found is not None
    return found


def claim(trap: Trap, at: int = 0) -> float:
    x: Tensor = INPUTS[at : at + 1]
    context = RunContext(generators(x, seed=0, norm="linf"))
    estimate = CLEVER(trap.subject, x, LABELS[at : at + 1], norm="linf", context=context)
    return float(estimate.radius[0])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("place", STACKS)
def test_the_planted_point_is_of_another_class_at_its_distance(place: str, norm: str) -> None:
    trap = planted(STACKS[place], norm=norm)
    with torch.no_grad():
        assert int(trap.subject(INPUTS[:1]).argmax()) == int(LABELS[0]), "the input keeps its class"
        assert int(trap.subject.unfilled(trap.point[None]).argmax()) == trap.predicted != int(LABELS[0])
    distance = float(vector_norm((trap.point[None] - INPUTS[:1]).double(), norm))
    assert distance == pytest.approx(trap.distance, rel=1e-9)
    assert float(trap.point.min()) >= 0
    assert float(trap.point.max()) <= 1
    assert trap.distance <= NEARER * trap.natural


@pytest.mark.parametrize("at", range(3))
def test_an_estimator_that_sees_gradients_stays_below_the_trap(at: int) -> None:
    trap = planted([], at)
    assert claim(trap, at) <= 1.01 * trap.distance
    assert claim(trap, at) >= 0.8 * trap.distance, "the planted slope is easy: no honest estimate is far off"


@pytest.mark.parametrize("place", ["input", "model", "submodule"])
def test_an_estimator_that_a_staircase_blinds_claims_more(place: str) -> None:
    trap = planted(STACKS[place])
    assert claim(trap) > 2 * trap.distance


def test_the_subject_itself_is_left_alone() -> None:
    before = {name: value.clone() for name, value in MODEL.module.state_dict().items()}
    planted([])
    after = MODEL.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_same_trap_is_planted_every_time() -> None:
    first, second = planted(STACKS["input"], 1), planted(STACKS["input"], 1)
    assert first.distance == second.distance
    assert torch.equal(first.point, second.point)


def test_a_quantiser_with_wide_steps_leaves_no_room_for_a_trap() -> None:
    # the digits are multiples of 1/16, so that any step upwards is a whole step of this staircase
    assert trap_for([(Staircase(c=16), "input")]) is None


def test_a_constant_model_has_nothing_to_plant_from() -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    with torch.no_grad():
        flat[1].weight.zero_()
        flat[1].bias.copy_(torch.arange(10.0))
    subject = ModelSubject(flat, classes=10)
    (drawn,) = generators(INPUTS[:1], seed=0, norm="trap linf")
    label = torch.tensor([9])
    assert plant(flat, [], subject, INPUTS[:1], label, norm="linf", generator=drawn) is None
