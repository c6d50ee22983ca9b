"""How many rows fit: measured on the model itself, before memory runs out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.engine import fitting
from falsefloor.engine.context import ROWS
from falsefloor.engine.fitting import BUDGET, bytes_a_row, rows_that_fit
from falsefloor.engine.session import Session


class Wide(nn.Module):
    """Keeps ``megabytes`` for the backward of every row, in float32."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.ones(megabytes * 2**18))

    def forward(self, x: Tensor) -> Tensor:
        spread = torch.sigmoid(x.sum(1, keepdim=True) * self.share)
        return spread[:, :2] + spread.mean(1, keepdim=True)


def test_what_autograd_keeps_is_counted_once_and_weights_are_not() -> None:
    layers = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 2))
    kept = bytes_a_row(layers, torch.rand(1, 10))
    # the input, and the hidden row that ReLU and the second layer share; 48 kB of weights are no part of it
    assert 4_000 <= kept <= 4_000 * 2 + 100
    assert 2**20 * 8 <= bytes_a_row(Wide(8), torch.rand(1, 3)) <= 2**20 * 8 * 1.1


def test_small_models_take_all_rows_and_large_ones_as_many_as_fit() -> None:
    small = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    assert rows_that_fit(small, torch.rand(1, 64)) == ROWS
    fitting = rows_that_fit(Wide(16), torch.rand(1, 3))
    assert fitting % 16 == 0 and BUDGET / 2**24 * 0.5 <= fitting <= BUDGET / 2**24
    assert rows_that_fit(Wide(128), torch.rand(1, 3)) == 16


def test_a_model_that_raises_is_not_asked_twice() -> None:
    assert rows_that_fit(nn.Linear(3, 2), torch.rand(1, 5)) == ROWS


def test_each_model_of_a_session_gets_its_own_rows_whatever_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "BUDGET", 2**26)
    inputs = LabelledInputs(torch.rand(2, 3))
    session = Session()
    for name, module in (("small", nn.Linear(3, 2)), ("large", Wide(1))):
        loaded = LoadedModel(module, classes=0, input_shape=(3,))
        session.live[f"live:{name}"] = (replace(loaded), inputs)
    rows = []
    for name in ("small", "large", "small"):
        session.subject({"use": f"live:{name}"}, "live:inputs", [])
        rows.append(session.rows)
    assert rows[0] == rows[2] == ROWS and 16 <= rows[1] < 100
    session.rows //= 2
    assert session.rows == ROWS // 2
