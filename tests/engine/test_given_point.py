"""Distances are measured from the input as it was given, whatever number types the model works in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.engine.arrays import unpack_tensor

DRAWS = torch.Generator().manual_seed(5)
WEIGHT = torch.randn(3, 12, generator=DRAWS, dtype=torch.float64)
POINTS = 0.35 + 0.3 * torch.rand(2, 12, generator=DRAWS, dtype=torch.float64)
KINDS = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}
CHEAP = [
    "clever:batches=4,samples=16",
    "finite-difference:batches=2,samples=2",
    "attack:steps=8,restarts=1,rounds=0",
]


class Casting(nn.Module):
    """Takes any input, casts it itself and returns float32: the usual deployment."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.layer = layer(kind)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layer((inputs - 0.5).to(self.layer.weight.dtype)).float()
        return logits


class Autocast(nn.Module):
    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.layer, self.kind = layer(torch.float32), kind

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.kind):
            logits: Tensor = self.layer(inputs)
        return logits


class HalfBody(nn.Module):
    """Half precision inside, a head in float32."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(12, 12, bias=False).to(kind), layer(torch.float32)
        self.body.weight.data = torch.eye(12, dtype=kind)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(inputs.to(self.body.weight.dtype)).float())
        return logits


def layer(kind: torch.dtype) -> nn.Linear:
    made = nn.Linear(12, 3, bias=False).to(kind)
    made.weight.data = WEIGHT.to(kind)
    return made


def exact(points: Tensor, weight: Tensor) -> Tensor:
    logits = points.double() @ weight.double().T
    top = logits.argmax(1)
    gaps = logits.gather(1, top[:, None]) - logits
    return (gaps / (weight[top][:, None] - weight).double().abs().sum(2)).nan_to_num(torch.inf).amin(1)


def judged(model: nn.Module, points: Any, **options: Any) -> ff.Results:
    options = {"estimators": CHEAP} | options
    return ff.evaluate(model, points, recover="off", progress=False, **options)


def ceilings(results: ff.Results, points: Any) -> list[tuple[float, float]]:
    """What was claimed, and how far the witness lies from the given input."""
    given, pairs = torch.as_tensor(points).double(), []
    with results.reader() as reader:
        for one in results.estimates:
            if one["estimator"] == "attack":
                stored = reader.array(one["witness"])
                assert stored is not None
                away = float((unpack_tensor(stored).double() - given[one["input"]]).abs().max())
                pairs.append((one["radius"], away))
    return pairs


MODELS = {
    **{f"{name} model": (lambda kind=kind: layer(kind)) for name, kind in KINDS.items()},
    "casts to bfloat16": lambda: Casting(torch.bfloat16),
    "casts to float16": lambda: Casting(torch.float16),
    "autocast": lambda: Autocast(torch.bfloat16),
    "half body": lambda: HalfBody(torch.bfloat16),
}


@pytest.mark.parametrize(
    ("model", "given"),
    [
        pytest.param(model, given, marks=() if given == kind else pytest.mark.slow)
        for model, kind in zip(MODELS, 2 * list(KINDS), strict=True)
        for given in KINDS
    ],
)
def test_a_ceiling_is_as_far_as_its_witness_from_the_input_as_given(model: str, given: str) -> None:
    points = POINTS[:1].to(KINDS[given])
    results = judged(MODELS[model](), points)
    claimed, away = zip(*ceilings(results, points), strict=True)
    assert claimed == pytest.approx(away, rel=1e-6)
    assert {one["verdict"] for one in results.estimates} == {"held"}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("given", KINDS)
def test_floors_are_those_of_the_given_point(kind: str, given: str) -> None:
    points = POINTS.to(KINDS[given])
    results = judged(layer(KINDS[kind]), points, estimators=CHEAP[:1], ceiling=False)
    assert [one["radius"] for one in results.estimates] == pytest.approx(
        exact(points, WEIGHT.to(KINDS[kind])).tolist(), rel=2e-5
    )


@pytest.mark.parametrize("values", [POINTS.numpy(), POINTS.tolist(), (POINTS * 255).round().byte().numpy()])
def test_arrays_lists_and_whole_numbers_are_inputs(values: Any) -> None:
    whole = isinstance(values, np.ndarray) and values.dtype == np.uint8
    results = judged(layer(torch.float32), values, bounds=(0, 255 if whole else 1))
    assert {one["status"] for one in results.estimates} == {"ok"}


def test_a_cast_is_said() -> None:
    results = judged(layer(torch.float16), POINTS.float(), estimators=CHEAP[:1], ceiling=False)
    (said,) = results.document["run"]["said"]
    assert "inputs are float32 and the model float16" in said
