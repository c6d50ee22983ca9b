"""Subjects that no estimate can be trusted on: the warning names the cause, and other inputs go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff

POINTS = 0.2 + 0.6 * torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
CHEAP = ["clever:batches=2,samples=8", "attack:steps=10,restarts=1,rounds=0"]


class Linear(nn.Module):
    """Three classes, linear in six numbers."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor] = lambda inputs, logits: logits) -> None:
        super().__init__()
        self.change = change

    def forward(self, inputs: Tensor) -> Tensor:
        logits = ((inputs - 0.5)[:, None, :] * WEIGHT.to(inputs)).sum(2)
        return self.change(inputs, logits)


class Stateful(Linear):
    """Every call moves the first logit a little."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(inputs) + torch.tensor([1e-4 * self.calls, 0.0, 0.0])


class Stochastic(Linear):
    """Noise at every call, from the module's own stream."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        logits = super().forward(inputs)
        return logits + 1e-3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(self.calls))


def judged(model: nn.Module) -> list[dict[str, Any]]:
    """CLEVER's estimates with their warnings."""
    results = ff.evaluate(model, POINTS, estimators=CHEAP, recover="off", progress=False)
    return [e for e in results.estimates if e["estimator"] == "clever"]


def codes(estimate: dict[str, Any]) -> dict[str, str]:
    return {w["code"]: w["message"] for w in estimate["warnings"]}


def test_a_sound_model_is_held() -> None:
    assert [e["verdict"] for e in judged(Linear())] == ["held"] * 3


def test_a_stochastic_subject_is_named() -> None:
    for estimate in judged(Stochastic()):
        assert estimate["verdict"] in ("suspect", "refuted")
        assert "asked again" in codes(estimate)["FF105"]


def test_a_subject_that_changes_state_between_calls_is_named() -> None:
    for estimate in judged(Stateful()):
        assert estimate["verdict"] in ("suspect", "refuted")
        assert "asked again" in codes(estimate)["FF105"]


class Turning(Linear):
    """Answers with other classes after so many calls, for good."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, inputs: Tensor) -> Tensor:
        self.left -= 1
        return super().forward(inputs).roll(int(self.left < 0), 1)


@pytest.mark.parametrize("calls", [10, 60, 200])
def test_a_subject_that_turns_later_on_is_named(calls: int) -> None:
    model = Turning(calls)
    for estimate in judged(model):
        assert estimate["verdict"] in ("suspect", "refuted")
        assert "answer" in codes(estimate)["FF105"]


def test_a_subject_that_uses_the_batch_is_named() -> None:
    mixed = Linear(
        lambda inputs, logits: logits + 0.05 * inputs.mean(0).sum() * torch.tensor([1.0, 0.0, 0.0])
    )
    for estimate in judged(mixed):
        assert estimate["verdict"] in ("suspect", "refuted")
        assert "in a batch" in codes(estimate)["FF105"]


def test_probabilities_are_noted() -> None:
    for estimate in judged(Linear(lambda inputs, logits: logits.softmax(1))):
        assert "probabilities" in codes(estimate)["FF402"]


def test_a_gradient_of_none_is_a_cut_graph_and_not_a_failure() -> None:
    for estimate in judged(Linear(lambda inputs, logits: logits.detach())):
        assert estimate["status"] == "ok"
        assert estimate["verdict"] in ("suspect", "refuted")
        assert "no gradient path" in codes(estimate)["FF103"]


def test_a_subject_that_raises_on_one_input_fails_there_and_the_others_go_on() -> None:
    bad = POINTS[1]

    def moody(inputs: Tensor, logits: Tensor) -> Tensor:
        if (inputs == bad).all(1).any():
            raise ValueError("no such token")
        return logits

    estimates = judged(Linear(moody))
    assert [e["status"] for e in estimates] == ["ok", "failed", "ok"]
    assert "no such token" in estimates[1]["error"]
    assert [estimates[0]["verdict"], estimates[2]["verdict"]] == ["held", "held"]


def test_a_subject_that_raises_near_an_input_never_ends_as_held() -> None:
    edge = float(POINTS[0, 0]) + 0.01

    def moody(inputs: Tensor, logits: Tensor) -> Tensor:
        if (inputs[:, 0] > edge).any():
            raise ValueError("no such token")
        return logits

    first = judged(Linear(moody))[0]
    assert first["status"] == "failed" or first["verdict"] not in ("held", None)
    assert "no such token" in (first["error"] or str(codes(first)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_near_an_input_refute_the_claim(value: float) -> None:
    edge = float(POINTS[0, 0]) + 0.01

    def broken(inputs: Tensor, logits: Tensor) -> Tensor:
        return torch.where((inputs[:, :1] > edge), value, logits)

    first = judged(Linear(broken))[0]
    assert first["status"] == "failed" or first["verdict"] in ("refuted", "suspect")
    assert "FF403" in (first["error"] or "") or "FF403" in codes(first) or first["status"] == "failed"
