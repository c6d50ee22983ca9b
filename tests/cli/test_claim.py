"""`claim`: a gate over stored runs and models."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from commands import Command
from stored_run import stored

GROUND = Path(__file__).parent.parent / "data" / "exact_linf.json"


def test_the_exit_code_says_whether_all_claims_are_held(command: Command, store: Path) -> None:
    stored(store)
    held = command("claim", "last", "linf 0.03 accuracy >= 0")
    assert held.code == 0 and "held" in held.out
    refuted = command("claim", "last", "linf 0.03 accuracy >= 0", "linf 0.2 accuracy >= 0.9")
    assert refuted.code == 3 and "1 misclassified" in refuted.out and "claims are not held" in refuted.err
    # of the ramp nothing is certified
    open_ = command("claim", "last", "linf 0.03 accuracy >= 0.5")
    assert open_.code == 3 and "not decided" in open_.out
    assert command("claim", "last", "linf 0.03 accuracy >= 0.5", "--fail-on", "refuted").code == 0


def test_a_claim_of_which_nothing_came_back_passes_no_gate(command: Command, store: Path) -> None:
    run = stored(store)
    with closing(sqlite3.connect(run.db)) as db:
        db.executescript("UPDATE estimate SET status = 'failed'; DELETE FROM finding;")
    gated = command("claim", "last", "linf 0.03 accuracy >= 0.5", "--fail-on", "refuted")
    assert gated.code == 3 and "not decided" in gated.out, gated


def test_its_document_has_counts_witnesses_and_the_outcome(command: Command, store: Path) -> None:
    stored(store)
    told = json.loads(command("claim", "last", "linf 0.2 accuracy >= 0.9", "--json").out)
    assert told["schema"] == "falsefloor.claims/1"
    one = told["claims"][0]
    assert one["outcome"] == "refuted" and one["misclassified"] == [0]
    assert [each["input"] for each in one["witnesses"]] and one["attacked"] == 3
    assert {"certified", "estimated", "inputs", "bracket", "interval", "masker"} <= set(one)


def test_a_stored_run_is_given_nothing_that_only_a_new_one_takes(command: Command, store: Path) -> None:
    stored(store)
    refused = command("claim", "last", "linf 0.2 accuracy >= 0.9", "--seed", "3")
    assert refused.code == 2 and "--seed is of a new run" in refused.err
    assert command("claim", "last", "nonsense").code == 2


@pytest.mark.slow
def test_claims_beside_the_exact_truth_are_never_decided_wrongly(command: Command, tmp_path: Path) -> None:
    """20 false and 20 true claims, about masks, weak attacks and wrong labels."""
    import numpy as np

    from falsefloor.engine.prepare import load

    _, digits = load({"use": "digits:mlp"}, "digits:0-15")
    labels = digits.labels.numpy().copy()
    labels[:4] = (labels[:4] + 1) % 10
    np.savez(tmp_path / "wrong.npz", inputs=digits.inputs.numpy(), labels=labels)
    exact = [one["distance"] for one in json.loads(GROUND.read_text(encoding="utf-8"))["digits"]][:16]
    weak = ("-e", "crown", "-e", "attack:restarts=1,steps=4,rounds=0,targets=1")
    masked = ("--masker", "staircase:c=255", "-e", "clever:radius=0.3", "-e", "attack")
    for inputs, distances, moved, arguments in (
        ("digits:0-15", exact, 0.0, ("-e", "crown", "-e", "attack")),
        ("digits:0-15", exact, 0.0, weak),
        # a staircase moves an input by at most a step
        ("digits:0-15", exact, 1 / 255, masked),
        (f"npz:{tmp_path / 'wrong.npz'}", [0.0] * 4 + exact[4:], 0.0, ("-e", "crown", "-e", "attack")),
    ):
        claims = []
        for radius in (0.05, 0.07, 0.09, 0.11, 0.13):
            least, most = (sum(d + by > radius for d in distances if d) for by in (-moved, moved))
            claims += [f"linf {radius} accuracy >= {least}/16", f"linf {radius} accuracy >= {most + 1}/16"]
        told = command("claim", "digits:mlp", "--inputs", inputs, *arguments, *claims, "--json")
        words = [one["outcome"] for one in json.loads(told.out)["claims"]]
        assert "refuted" not in words[::2] and "held" not in words[1::2], words


def test_a_model_without_a_scheme_is_told_how_models_are_named(command: Command, store: Path) -> None:
    stored(store)
    for words in (("claim", "digits", "linf 0.2 accuracy >= 0.9"), ("diagnose", "digits")):
        refused = command(*words)
        assert refused.code == 2 and "A model is SCHEME:REF" in refused.err
