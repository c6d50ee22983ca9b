"""`diagnose`: one command that says where a gradient goes missing and what lies beneath."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

NET = """
import torch
from falsefloor.models.digits import DigitsModel

class Quantised(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = DigitsModel()("mlp").module

    def forward(self, x):
        x = torch.round(x * 200) / 200
        return self.body(x)

def build():
    return Quantised()
"""


def test_a_functional_round_in_somebody_elses_model_is_explained(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    ended = command("diagnose", f"python:{tmp_path}/net.py:build", "--inputs", "digits:0-1", "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    assert document["schema"] == "falsefloor.diagnosis/1"
    (subject,) = document["subjects"]
    assert subject["healthy"] is False
    assert "net.py:11): round, derivative zero; 100%" in subject["located"][0]["words"]
    assert "by at most 0.0025" in subject["located"][0]["words"]
    assert subject["steps"]["levels"] == pytest.approx(200, rel=0.15)
    claims = {one["estimator"]: one for one in subject["claims"]}
    assert claims["clever"]["verdicts"] == {"refuted": 2}
    again = claims["clever (recovered)"]
    assert again["recovers"] == "clever"
    assert again["radius"] <= claims["attack"]["radius"]
    assert again["gradient"].startswith("straight-through on 2")


def test_the_page_tells_the_same_in_sentences(command: Command) -> None:
    ended = command("diagnose", "digits:mlp", "--inputs", "digits:0", "--masker", "staircase:c=255")
    assert ended.code == 0
    for words in (
        "What hides the gradient",
        "`input.0.quantise`: ceil, derivative zero",
        "steps a unit of input",
        "clever (recovered)",
        "straight-through on 1",
        "What this means",
        "falsefloor explain FF201",
    ):
        assert words in ended.out
    assert all(len(line) <= 120 for line in ended.out.splitlines())


def test_a_healthy_model_is_told_so_in_plain_words(command: Command) -> None:
    ended = command("diagnose", "digits:linear", "--inputs", "digits:0")
    assert ended.code == 0
    assert "no operation loses the gradient" in ended.out
    assert "recovered" not in ended.out


def test_a_model_that_does_not_exist_ends_with_its_reason(command: Command) -> None:
    ended = command("diagnose", "digits:mlpp", "--inputs", "digits:0")
    assert ended.code == 2
    assert "mlp" in ended.err
