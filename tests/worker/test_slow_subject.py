"""A model that takes forever on some batches: its units end at the limit and say so, the others go on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import ended

from falsefloor.models.digits import load_split
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir

SLOW = """
import time

import torch
from torch import nn


class Slow(nn.Module):
    classes = 10

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.copy_(torch.eye(10)[LABEL])

    def forward(self, inputs):
        if len(inputs) > 32 and not (inputs == inputs[:1]).all():  # its pace is measured at one input
            time.sleep(600)
        return self.layer(inputs.flatten(1))
"""


@pytest.mark.slow
def test_a_slow_subject_ends_at_the_limit_and_the_other_model_goes_on(
    launched: Callable[..., RunDir], tmp_path: Path
) -> None:
    file = tmp_path / "slow.py"
    label = int(load_split(held_out=True)[1][9])
    file.write_text(textwrap.dedent(SLOW).replace("LABEL", str(label)))
    run = launched(
        models=[{"use": f"python:{file}:Slow", "label": "slow"}, "digits:mlp"],
        inputs="digits:9",
        maskers=["none"],
        time_limit=8.0,
    )
    assert ended(run, limit=120.0) == "done"
    with RunReader(run) as reader:
        units = {(u["model"], u["kind"]): u for u in reader.units()}
        estimates = {e["model"]: e for e in reader.estimates()}
    assert units["slow", "observe"]["status"] == "failed"
    assert "time limit of 8 seconds" in units["slow", "observe"]["error"]
    assert estimates["digits:mlp"]["status"] == "ok"
