"""What hides a gradient, as a fact of the observation: stored where it says something, and only there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.engine.observe import as_fact, located_facts
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.subject import ModelSubject


def observed(module: nn.Module, stack: list[dict[str, Any]]) -> dict[str, Any]:
    images, labels = load_split(held_out=True)
    session = Session()
    loaded = LoadedModel(module, classes=10, input_shape=(1, 8, 8))
    session.live["live:m"] = (loaded, LabelledInputs(images[:1], labels[:1]))
    spec = {
        "format": 1,
        "kind": "observe",
        "model": {"use": "live:m"},
        "stack": stack,
        "norm": "linf",
        "inputs": "live:inputs",
        "chunk": [0, 1],
        "seed": 0,
    }
    (found,) = run_unit(spec, session, lambda *_: None).observations
    return dict(found.facts)


def test_a_hidden_gradient_is_located_by_its_observation() -> None:
    stack = [{"use": "staircase", "at": "3", "params": {"c": 64}}]
    fact = observed(DigitsModel()("mlp").module, stack)["located"]
    assert (fact["operation"], fact["submodule"], fact["certain"]) == ("ceil", "model.3.quantise", True)
    assert fact["words"].startswith("`model.3.quantise`: ceil, derivative zero")


def test_a_cast_is_located_though_its_gradient_agrees() -> None:
    stack = [{"use": "dtype", "at": "input", "params": {"to": "float16"}}]
    fact = observed(DigitsModel()("mlp").module, stack)["located"]
    assert (fact["operation"], fact["kind"], fact["lost"]) == ("cast to float16", "cast", 0.0)


def test_nothing_is_said_of_an_unmasked_model() -> None:
    assert "located" not in observed(DigitsModel()("mlp").module, [])


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("only on this input")


def test_a_model_that_raises_while_it_is_watched_costs_the_fact_and_not_the_observation() -> None:
    facts = {"gradients": {"autograd": []}, "diameter": 1.0, "connected": False}
    subject = ModelSubject(Raises(), classes=2)
    assert located_facts(subject, torch.rand(4), 0, facts, norm="linf", seed=0) == {}


def test_an_input_that_was_not_measured_is_not_looked_at() -> None:
    subject = ModelSubject(Raises(), classes=2)
    assert located_facts(subject, torch.rand(4), 0, {"misclassified": True}, norm="linf", seed=0) == {}


def test_what_was_looked_for_and_not_found_is_said_in_words() -> None:
    assert as_fact([])["words"] == "not located"
