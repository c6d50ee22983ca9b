"""Repaired gradients: taken where the function confirms them, refused where it does not, in any batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.engine.recover import IDLE, REFUSED, Choice, choose, disagreement
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.gradients.auto import Auto
from falsefloor.gradients.secant import Secant
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import Sigmoid, SigmoidStaircase
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.store.records import UnitResult
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject
from falsefloor.testing.gradients import check_gradient_source


class Hidden(nn.Module):
    """A quantiser without an operation that could be repaired, before a model."""

    def __init__(self, body: nn.Module, levels: int = 400) -> None:
        super().__init__()
        self.body, self.levels = body, levels

    def forward(self, x: Tensor) -> Tensor:
        edges = torch.linspace(0, 1, self.levels + 1)
        with torch.no_grad():
            steps = torch.bucketize(x, edges).to(x.dtype) / self.levels
        logits: Tensor = self.body(steps)
        return logits


def digits(count: int = 2) -> tuple[Tensor, Tensor]:
    images, labels = load_split(held_out=True)
    return images[:count], labels[:count]


def masked(*stack: Any) -> ModelSubject:
    return ModelSubject(compose(DigitsModel()("mlp").module, [(mask, "input") for mask in stack]), classes=10)


def chosen(subject: ModelSubject, inputs: Tensor, labels: Tensor, gradient: str = "auto") -> list[Choice]:
    return choose(subject, gradient, inputs, labels, norm="linf", seed=0, rows=4096)


@pytest.mark.parametrize(
    "mask", [Staircase(c=400), Ramp(c=400, delta=0.1), SigmoidStaircase(c=400, gain=4000)], ids=str
)
def test_rounding_is_undone_by_straight_through(mask: Any) -> None:
    inputs, labels = digits()
    for one in chosen(masked(mask), inputs, labels):
        assert isinstance(one.source, StraightThrough)
        assert one.evidence["gradient_source"] == "straight-through"
        assert 0.75 <= float(one.evidence["gradient_ratio"]) <= 1.33
        assert float(one.evidence["gradient_correlation"]) > 0.9
        assert float(one.evidence["levels"]) == pytest.approx(400, rel=0.15)


def test_where_no_operation_can_be_repaired_secants_step_over_the_mask() -> None:
    inputs, labels = digits(1)
    subject = ModelSubject(Hidden(DigitsModel()("mlp").module), classes=10)
    (one,) = chosen(subject, inputs, labels)
    assert isinstance(one.source, Secant)
    assert one.source.h > 1 / 400
    assert one.evidence["gradient_source"] == "secant"
    assert one.evidence["gradient_step"] == one.source.h


def test_where_nothing_agrees_the_refusal_says_how_each_guess_failed() -> None:
    inputs, labels = digits()
    subject = ModelSubject(compose(DigitsModel()("mlp").module, [(Sigmoid(gain=10), "logits")]), classes=10)
    with torch.no_grad():
        right = subject(inputs).argmax(1) == labels
    found = chosen(subject, inputs[right], labels[right])
    assert found
    for one in found:
        assert one.source is None
        assert one.why.startswith(REFUSED)
        assert "straight-through: " in one.why
        assert "secant: " in one.why


def test_a_choice_does_not_depend_on_the_inputs_beside_it() -> None:
    inputs, labels = digits()
    subject = masked(Ramp(c=255, delta=0.2))
    together = chosen(subject, inputs, labels)
    alone = [chosen(subject, inputs[i : i + 1], labels[i : i + 1])[0] for i in range(2)]
    assert together == alone


def test_a_named_source_is_taken_as_asked_with_how_it_agrees() -> None:
    inputs, labels = digits(1)
    subject = masked(Staircase(c=255))
    (good,) = chosen(subject, inputs, labels, "straight-through")
    (bad,) = chosen(subject, inputs, labels, "autograd")
    assert disagreement(good.rows) is None
    assert disagreement(bad.rows) is not None


def test_nothing_measured_is_no_agreement() -> None:
    assert disagreement([]) == "nothing could be measured"
    silent = {"radius": 0.1, "steps": [{"h": 0.1, "ratio": None, "correlation": None}]}
    assert disagreement([silent]) == "nothing could be measured"


def run(
    module: nn.Module, *, gradient: str, stack: list[dict[str, Any]], count: int = 2, **more: str
) -> UnitResult:
    inputs, labels = digits(count)
    session = Session()
    loaded = LoadedModel(module, classes=10, input_shape=(1, 8, 8))
    session.live["live:m"] = (loaded, LabelledInputs(inputs, labels))
    spec = {
        "format": 1,
        "kind": "estimate",
        "model": {"use": "live:m"},
        "stack": stack,
        "norm": "linf",
        "inputs": "live:inputs",
        "chunk": [0, count],
        "seed": 0,
        "estimator": {
            "use": "clever",
            "params": {"radius": 0.3, "batches": 5, "samples": 8},
            "gradient": gradient,
        },
        **more,
    }
    return run_unit(spec, session, lambda *_: None)


STAIRS = [{"use": "staircase", "at": "input", "params": {"c": 400}}]


def test_the_recovered_floor_is_the_unmasked_models_floor() -> None:
    module = DigitsModel()("mlp").module
    raw = run(module, gradient="autograd", stack=STAIRS)
    again = run(module, gradient="auto", stack=STAIRS)
    bare = run(module, gradient="autograd", stack=[])
    for hidden, repaired, clean in zip(raw.estimates, again.estimates, bare.estimates, strict=True):
        assert hidden.radius == pytest.approx(0.3)
        assert repaired.radius == pytest.approx(clean.radius, rel=0.05)
        assert repaired.evidence["gradient_source"] == "straight-through"
        assert "gradient_source" not in hidden.evidence


def test_a_recovery_that_would_repeat_its_estimate_is_not_made() -> None:
    """Nothing hides this gradient: through `auto`, as a user may ask for it, the numbers are autograd's."""
    module = DigitsModel()("mlp").module
    asked = run(module, gradient="auto", stack=[])
    assert [one.radius for one in asked.estimates] == [
        one.radius for one in run(module, gradient="autograd", stack=[]).estimates
    ]
    recovered = run(module, gradient="auto", stack=[], recovers="clever")
    assert [(one.status, one.error) for one in recovered.estimates] == [("skipped", IDLE)] * 2
    behind = run(module, gradient="auto", stack=STAIRS, recovers="clever")
    assert [one.status for one in behind.estimates] == ["ok"] * 2


def test_a_repaired_estimate_brings_how_its_gradient_agreed_for_the_checks() -> None:
    found = run(DigitsModel()("mlp").module, gradient="auto", stack=STAIRS)
    assert [seen.input for seen in found.observations] == [0, 1]
    for seen in found.observations:
        rows = seen.facts["gradients"]["auto"]
        assert {step["h"] for row in rows for step in row["steps"]} == {0.1, 0.5}


def test_a_refused_input_is_skipped_with_the_reason() -> None:
    found = run(
        DigitsModel()("mlp").module,
        gradient="auto",
        stack=[{"use": "sigmoid", "at": "logits", "params": {"gain": 10.0}}],
        count=4,
    )
    refused = [one for one in found.estimates if one.status == "skipped"]
    assert refused
    assert all(one.radius is None and str(one.error).startswith(REFUSED) for one in refused)


def test_the_source_auto_keeps_the_contract_of_gradient_sources() -> None:
    assert not [one for one in check_gradient_source(Auto()) if one.outcome == "failed"]


def test_the_source_auto_repairs_rounding_and_steps_over_what_it_cannot_repair() -> None:
    inputs, _ = digits(2)
    body = DigitsModel()("linear").module
    clean = _gradient(ModelSubject(body, classes=10), inputs)
    for subject in (
        ModelSubject(compose(body, [(Staircase(c=100), "input")]), classes=10),
        ModelSubject(Hidden(body, levels=100), classes=10),
    ):
        found = _gradient(Auto()(subject), inputs)
        torch.testing.assert_close(found, clean, rtol=0.2, atol=0.05 * float(clean.abs().amax()))


def _gradient(function: Any, inputs: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_(True)
    return torch.autograd.grad(function(leaf)[:, 3].sum(), leaf)[0]


class FloorDivided(nn.Module):
    """Quantised by an operation for which autograd has no derivative at all: its backward raises."""

    def __init__(self) -> None:
        super().__init__()
        self.body = DigitsModel()("mlp").module

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body((x // (1 / 400)) / 400)
        return logits


def test_an_operation_without_a_derivative_is_recovered_like_any_other() -> None:
    raw, again = (run(FloorDivided(), gradient=gradient, stack=[]) for gradient in ("autograd", "auto"))
    assert [one.status for one in (*raw.estimates, *again.estimates)] == ["ok"] * 4
    assert all(one.radius == pytest.approx(0.3) for one in raw.estimates)
    assert all(one.radius < 0.2 for one in again.estimates)


class Moody(nn.Module):
    """Answers at one input, and raises wherever else it is asked."""

    def __init__(self, home: Tensor) -> None:
        super().__init__()
        self.body, self.home = DigitsModel()("mlp").module, home

    def forward(self, x: Tensor) -> Tensor:
        if not torch.equal(x, self.home.expand_as(x)):
            raise ValueError("never seen")
        logits: Tensor = self.body(x)
        return logits


def test_a_subject_that_raises_nearby_costs_that_input_only() -> None:
    inputs, labels = digits(1)
    (one,) = chosen(ModelSubject(Moody(inputs), classes=10), inputs, labels)
    assert one.source is None
    assert one.why.startswith(REFUSED)
    assert "never seen" in one.why or "nothing could be measured" in one.why
