"""How fast a model is: measured on it, without a trace."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from falsefloor.engine.pace import pace
from falsefloor.subjects.subject import ModelSubject


class Cut(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.detach().flatten(1)[:, :3]


class Rounding(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs * 4).round()[:, :3] * (inputs.sum(1, keepdim=True) + 1)


class Raising(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        raise ValueError("no")


def subject(module: nn.Module) -> ModelSubject:
    return ModelSubject(module.eval(), classes=3)


def test_a_pace_is_of_positive_seconds_and_leaves_the_generator_alone() -> None:
    modules = (nn.Linear(8, 3), Rounding(), Cut())
    before = torch.random.get_rng_state()
    for module, masked in zip(modules, (0, 1, 1), strict=True):
        found = pace(subject(module), torch.rand(1, 8, generator=torch.Generator()), rows=64)
        assert set(found) == {"call", "forward", "backward", "op", "element", "busy", "masked"}
        assert found.pop("busy") >= 1 and found.pop("masked") == masked
        assert all(0 < seconds < 1 for seconds in found.values())
    assert torch.equal(before, torch.random.get_rng_state())


def test_no_pace_is_measured_of_a_model_that_raises() -> None:
    assert pace(subject(Raising()), torch.zeros(1, 8), rows=64) == {}


def test_waiting_for_a_core_that_others_had_is_no_work_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(nn.Module):
        """Two thirds of its time it stands in the queue, if the kernel is to be believed."""

        def forward(self, inputs: Tensor) -> Tensor:
            nonlocal queued
            time.sleep(0.015)
            queued += 0.01
            return inputs[:, :3]

    queued = 0.0
    alone = pace(subject(Waiting()), torch.rand(1, 8), rows=64)
    assert alone["call"] > 0.01, "a model that itself waits takes as long as it takes"
    monkeypatch.setattr("falsefloor.engine.pace._queued", lambda: queued)
    found = pace(subject(Waiting()), torch.rand(1, 8), rows=64)
    assert found["call"] < 0.7 * alone["call"] and found["busy"] > 2
