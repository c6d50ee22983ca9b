"""The exit code of a run: the highest that applies, and never 0 for a run that showed nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from sample_run import sample

from falsefloor.cli.ending import ending
from falsefloor.models.digits import load_split
from falsefloor.study.file import study_from

BARE = study_from({"models": ["digits:mlp"], "estimators": ["clever", "attack"]})
UNASKED = study_from({"models": ["digits:mlp"], "estimators": ["clever"]})
QUICK = [
    *("run", "--model", "digits:mlp", "--recover", "off", "--estimator", "clever:batches=4,samples=8"),
    *("--estimator", "attack:steps=5,restarts=1,rounds=0"),
]


@pytest.mark.parametrize(
    ("given", "fail_on", "code"),
    [
        ({}, None, 0),
        ({}, "refuted", 3),
        ({}, "suspect", 3),
        ({"study": BARE}, "suspect", 0),
        ({"failing": ["clever"]}, "refuted", 1),
        ({"study": UNASKED, "failing": ["attack"]}, None, 0),
        ({"study": BARE, "failing": ["attack"]}, None, 1),
        ({"status": "running"}, "refuted", 5),
        ({"status": "cancelled", "failing": ["clever"]}, "refuted", 130),
        ({"status": "failed"}, "refuted", 1),
    ],
)
def test_the_highest_exit_code_wins(
    tmp_path: Path, given: dict[str, Any], fail_on: str | None, code: int
) -> None:
    assert ending(sample(tmp_path, **given), fail_on=fail_on).code == code


def batch(path: Path, *, scale: float = 1.0, shift: int = 0) -> str:
    """Two digits in an archive, as a reference."""
    images, labels = (tensor[:2].numpy() for tensor in load_split(held_out=True))
    np.savez(path / "batch.npz", x=images * scale, y=(labels + shift) % 10)
    return f"npz:{path / 'batch.npz'}"


def test_a_run_whose_every_estimate_failed_does_not_pass(command: Command, tmp_path: Path) -> None:
    ran = command(*QUICK, "--inputs", batch(tmp_path, scale=255.0), "--fail-on", "suspect")
    assert ran.code == 1 and "exit 1: 4 of the estimates that were asked for failed" in ran.err
    assert command("watch", "last").code == 1, "with a gate and without"


def test_a_gate_does_not_pass_where_nothing_is_classified_as_labelled(
    command: Command, tmp_path: Path
) -> None:
    ran = command(*QUICK, "--inputs", batch(tmp_path, shift=1), "--fail-on", "suspect")
    assert ran.code == 3 and "nothing was judged: no input is classified as its label says" in ran.err
    assert "4 misclassified" in ran.out and "0/2 correct" in ran.out and "held" not in ran.out


def test_a_gate_does_not_pass_where_every_lower_estimate_was_skipped(
    command: Command, tmp_path: Path
) -> None:
    words = ["milp" if word.startswith("clever") else word for word in QUICK]
    ran = command(*words, "--norm", "l2", "--inputs", batch(tmp_path), "--fail-on", "refuted")
    assert ran.code == 3 and "nothing was judged: every lower estimate was skipped" in ran.err


def test_a_plugin_or_a_parameter_that_does_not_exist_stores_no_run(command: Command, store: Path) -> None:
    for words in (
        ["--masker", "stairs"],
        ["--masker", "staircase:d=3"],
        ["--estimator", "clever:gradient=secnt"],
    ):
        ran = command(*QUICK, "--inputs", "digits:0-1", *words)
        assert ran.code == 2 and ran.err.count("error:") == 1 and ran.out == ""
    assert list(store.iterdir()) == []


def test_what_stops_a_run_is_said_once(command: Command) -> None:
    ran = command(*QUICK, "--inputs", "digits:0-1", "--masker", "staircase:at=logts")
    assert ran.code == 2 and (ran.out + ran.err).count("Did you mean 'logits'?") == 1
    ran = command(*QUICK, "--inputs", "digits:0-1", "--masker", "staircase:at=logts", "--json")
    assert ran.err.count("Did you mean 'logits'?") == 1, "a document is for programs; stderr is for people"
