"""What a model returns: one of several values, one logit, one probability, or something that is declined."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.cli.studies import build_study
from falsefloor.errors import UsageError
from falsefloor.study.file import study_from, write_study
from falsefloor.study.study import ModelSpec
from falsefloor.study.units import model_json

SEEDED = torch.Generator().manual_seed(5)
WEIGHT = torch.randn(3, 5, generator=SEEDED)
POINTS = 0.35 + 0.3 * torch.rand(2, 5, generator=SEEDED)
CHEAP = ["clever:batches=4,samples=16", "attack:steps=20,restarts=1,rounds=0"]


class Returns(nn.Module):
    """Whatever is made of the logits of a linear layer and its input."""

    def __init__(self, made: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.made = made
        self.layer = nn.Linear(5, 3, bias=False)
        self.layer.weight.data = WEIGHT.clone()

    def forward(self, inputs: Tensor) -> Any:
        return self.made(self.layer(inputs), inputs)


class Named(NamedTuple):
    features: Tensor
    logits: Tensor


@dataclass
class Output:
    logits: Tensor
    features: Tensor
    loss: Tensor | None = None


def judged(model: nn.Module, labels: Tensor | None = None, **options: Any) -> ff.Results:
    options = {"estimators": CHEAP, "recover": "off", "progress": False} | options
    return ff.evaluate(model, POINTS, labels, **options)


def radii(results: ff.Results, estimator: str = "clever") -> list[float]:
    return [one["radius"] for one in results.estimates if one["estimator"] == estimator]


ALONE: dict[str, Any] = {"estimators": CHEAP[:1], "ceiling": False}
PLAIN = radii(judged(Returns(lambda logits, _: logits), **ALONE))


@pytest.mark.parametrize(
    "made,output",
    [
        (lambda logits, inputs: (logits, inputs), 0),
        (lambda logits, inputs: [inputs, logits], -1),
        (lambda logits, inputs: {"features": inputs, "logits": logits}, "logits"),
        (lambda logits, inputs: {"features": inputs, "logits": logits}, 1),
        (lambda logits, inputs: Named(inputs, logits), "logits"),
        (lambda logits, inputs: Output(logits, inputs), "logits"),
        (lambda logits, inputs: (inputs, {"logits": logits, "aux": inputs}), "1.logits"),
        (lambda logits, _: (logits,), None),
        (lambda logits, _: {"anything": logits}, None),
    ],
)
def test_the_chosen_output_is_judged_as_a_model_that_returns_it_alone(made: Any, output: Any) -> None:
    results = judged(Returns(made), output=output, **ALONE)
    assert radii(results) == PLAIN


@pytest.mark.parametrize(
    "made,output,said",
    [
        (
            lambda logits, inputs: (logits, inputs),
            None,
            [r"0: float32 \(1, 3\), 1: float32 \(1, 5\)", "output=0 in Python", "--output 0"],
        ),
        (lambda logits, inputs: {"loss": inputs.sum(), "logits": logits}, None, ["output='logits'"]),
        (lambda logits, inputs: {"a": logits, "b": inputs}, "c", ["no output 'c'.*a: .*b: "]),
        (lambda logits, inputs: (logits, inputs), 2, ["no output '2'"]),
        (lambda logits, _: logits, "logits", ["one tensor .*leave output out"]),
        (lambda logits, _: {}, None, ["nothing"]),
        (lambda logits, _: logits[:, :, None, None].expand(-1, -1, 4, 4), None, ["segmentation"]),
        (lambda logits, _: logits[:, None].expand(-1, 7, -1), None, ["every position"]),
        (lambda logits, _: logits.argmax(1), None, ["int64 values; logits are floating-point"]),
        (lambda logits, _: logits.detach().numpy(), None, ["ndarray.*as a torch tensor"]),
        (lambda logits, _: None, None, ["NoneType"]),
        (lambda logits, _: logits.sum(), None, [r"returned \(\)"]),
    ],
)
def test_what_is_not_logits_is_refused_with_what_there_is(made: Any, output: Any, said: list[str]) -> None:
    for words in said:
        with pytest.raises(UsageError, match=words):
            judged(Returns(made), output=output)


def binary() -> tuple[Tensor, Tensor, Tensor]:
    """The weight of f = w x, its classes at the points and their exact distances to f = 0."""
    w = WEIGHT[0] - WEIGHT[1]
    f = POINTS @ w
    return w, (f > 0).long(), f.abs() / w.abs().sum()


@pytest.mark.parametrize("column", [True, False])
def test_one_logit_is_the_two_classes_0_and_f(column: bool) -> None:
    _, classes, exact = binary()
    one = Returns(
        lambda logits, _: (logits[:, :1] - logits[:, 1:2]) if column else logits[:, 0] - logits[:, 1]
    )
    results = judged(one, classes)
    assert {e["predicted"] == e["label"] for e in results.estimates} == {True}
    assert radii(results) == pytest.approx(exact.tolist(), rel=1e-4)
    assert radii(results, "attack") == pytest.approx(exact.tolist(), rel=1e-3)
    assert "one logit" in json.dumps(results.document["run"]["said"])


def test_a_linear_model_of_one_logit_is_solved_exactly() -> None:
    w, _, exact = binary()
    layer = nn.Linear(5, 1, bias=False)
    layer.weight.data = w[None].clone()
    assert radii(judged(layer, estimators=["milp"], ceiling=False), "milp") == pytest.approx(
        exact.tolist(), abs=5e-6
    )


def test_one_probability_is_the_two_classes_1_minus_p_and_p() -> None:
    _, classes, exact = binary()
    results = judged(Returns(lambda logits, _: torch.sigmoid(logits[:, :1] - logits[:, 1:2])), classes)
    assert {e["predicted"] == e["label"] for e in results.estimates} == {True}
    assert radii(results, "attack") == pytest.approx(exact.tolist(), rel=1e-3)
    assert "one probability" in json.dumps(results.document["run"]["said"])


def test_places_are_the_models_own_names_whatever_stands_around_it() -> None:
    model = Returns(lambda logits, inputs: (logits, inputs))
    results = judged(model, output=0, maskers=["staircase:c=255,at=layer"], **ALONE)
    assert [e["status"] for e in results.estimates if e["estimator"] == "clever"] == ["ok"] * 2
    with pytest.raises(UsageError, match="Did you mean 'layer'"):
        judged(model, output=0, maskers=["staircase:c=255,at=laier"])


def test_output_is_a_key_a_flag_and_part_of_the_models_identity() -> None:
    study = study_from({"models": [{"use": "python:a.py", "output": 0}]})
    assert study.models[0].output == "0"
    assert study_from({"models": study.to_json()["models"]}) == study
    assert "--output 0" in study.command_line()
    assert 'output = "0"' in write_study(study)
    assert build_study(None, models=["python:a.py"], output="0").models == study.models
    assert model_json(study.models[0]) == {"use": "python:a.py", "output": "0"}
    assert model_json(ModelSpec("python:a.py")) == {"use": "python:a.py"}
