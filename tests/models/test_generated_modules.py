"""Modules that nobody thought of: whatever they do, nothing leaves `evaluate` but a refusal in words."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.errors import FalsefloorError

FAST, ALL = 25, 200
WRONG = 0.08
EASY = ["relu", "in place", "batch norm", "dropout", "softmax", "linear", "norm", "spectral"]
ESTIMATORS = [
    "clever:batches=1,samples=2",
    "finite-difference:batches=1,samples=1",
    "attack:steps=4,restarts=1,rounds=0",
]
LAYERS = {
    "relu": lambda width: nn.ReLU(),
    "in place": lambda width: nn.ReLU(inplace=True),
    "batch norm": lambda width: nn.BatchNorm1d(width),
    "dropout": lambda width: nn.Dropout(0.5),
    "softmax": lambda width: nn.Softmax(1),
    "linear": lambda width: nn.Linear(width, width),
    "bilinear": lambda width: nn.Bilinear(width, width, width),
    "half": lambda width: nn.Linear(width, width).half(),
    "double": lambda width: nn.Linear(width, width).double(),
    "lazy": lambda width: nn.LazyLinear(width),
    "norm": lambda width: nn.LayerNorm(width),
    "spectral": lambda width: nn.utils.parametrizations.spectral_norm(nn.Linear(width, width)),
}
QUIRKS = {
    "plain": lambda y, x: y,
    "tuple": lambda y, x: (y, x),
    "mapping": lambda y, x: {"logits": y, "x": x},
    "empty": lambda y, x: {},
    "none": lambda y, x: None,
    "one": lambda y, x: y[:, :1],
    "flat": lambda y, x: y[:, 0],
    "sum": lambda y, x: y.sum(),
    "numpy": lambda y, x: y.detach().numpy(),
    "integers": lambda y, x: y.argmax(1),
    "complex": lambda y, x: y * 1j,
    "nan": lambda y, x: y / 0.0 * 0.0,
    "infinite": lambda y, x: y * 1e38 * 1e38,
    "constant": lambda y, x: torch.zeros_like(y),
    "tied": lambda y, x: y[:, :1].expand(-1, 3),
    "detached": lambda y, x: y.detach(),
    "changing": lambda y, x: y[:, : 2 + int(x.sum() * 7) % 2],
    "shorter": lambda y, x: y[:-1],
    "map": lambda y, x: y[:, :, None].expand(-1, -1, 2),
    "random": lambda y, x: y + torch.rand_like(y),
    "raises at times": lambda y, x: y if float(x.sum()) % 1 > 0.1 else _fail(),
    "rounds": lambda y, x: (y * 3).round() / 3,
    "half out": lambda y, x: y.half(),
    "sparse": lambda y, x: y.to_sparse(),
    "numbers": lambda y, x: y.tolist(),
    "one batch": lambda y, x: y.reshape(1, -1, 3)[0] if len(x) == 1 else _fail(),
    "shares": lambda y, x: y.sigmoid(),
}


def _fail() -> Tensor:
    raise ValueError("a bad day")


class Generated(nn.Module):
    def __init__(self, layers: list[nn.Module], quirk: str) -> None:
        super().__init__()
        self.layers, self.quirk = nn.ModuleList(layers), quirk

    def forward(self, x: Tensor) -> Any:
        y = x
        for layer in self.layers:
            y = layer(y)
        return QUIRKS[self.quirk](y, x)


def generated(seed: int) -> tuple[nn.Module, Any, Any, dict[str, Any]]:
    """Mostly right, and often wrong in one way: where all is wrong, the first refusal hides the rest."""
    draw = random.Random(seed)
    torch.manual_seed(seed)

    def mostly(right: Any, *wrong: Any) -> Any:
        return draw.choice(wrong) if draw.random() < WRONG else right

    width = draw.choice([1, 2, 5])
    kinds = [mostly(draw.choice(EASY), *LAYERS) for _ in range(draw.randint(0, 3))]
    layers = [LAYERS[kind](width) for kind in kinds]
    model = Generated([*layers, nn.Linear(width, 3)], draw.choice(["plain", draw.choice([*QUIRKS])]))
    if draw.random() < 0.5:
        model.train(draw.random() < 0.5)
    points = torch.rand(draw.choice([1, 1, 2]), width)
    right = {"as it is": points, "array": points.numpy(), "list": points.tolist(), "double": points.double()}
    wrong = {
        "half": points.half(),
        "whole": (points * 9).long(),
        "empty": points[:0],
        "wide": points * 300,
        "below": points - 0.5,
        "deeper": points[:, None],
        "flat": points[0],
        "bool": points > 0.5,
        "half array": np.asarray(points, np.float16),
    }
    inputs = mostly(right[draw.choice([*right])], *wrong.values())
    count = len(points)
    labels = [[3] * count, ["a"] * count, torch.rand(count, 3), [0.5] * count, [True] * count]
    tower = ["none", "staircase:c=16", "dtype:to=float16,at=model", "ramp:c=8,at=layers.0"]
    options = {
        "bounds": mostly((0, 1), (0, 255), (1, 0), (-1, [1] * width), None, "ab"),
        "output": mostly(None, 0, "logits", 9),
        "norm": draw.choice(["linf", "l2", "l1"]),
        "maskers": [draw.choice(tower)],
        "scale": mostly(None, 2.0, 0, "s"),
        "step": mostly(None, 0.1, [1] * width),
        "immutable": mostly(None, [0], [7]),
        "at": mostly(None, "layers.0", "embedding"),
        "multilabel": mostly(False, True),
    }
    return model, inputs, mostly(draw.choice([None, [0] * count]), *labels), options


def judge(seed: int) -> None:
    model, inputs, labels, options = generated(seed)
    try:
        results = ff.evaluate(
            model, inputs, labels, estimators=ESTIMATORS, recover="off", progress=False, **options
        )
    except FalsefloorError as error:
        assert str(error).strip()
    else:
        assert {one["status"] for one in results.estimates} <= {"ok", "failed", "skipped"}
        str(results)


@pytest.mark.filterwarnings("ignore")  # what a model itself warns of
@pytest.mark.parametrize("seed", range(FAST))
def test_no_traceback_leaves_evaluate(seed: int) -> None:
    judge(seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(FAST, ALL))
def test_no_traceback_leaves_evaluate_for_any_of_two_hundred(seed: int) -> None:
    judge(seed)
