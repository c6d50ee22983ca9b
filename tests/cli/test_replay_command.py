"""`falsefloor replay` on a real run: its exit code says whether the witness still stands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from warm import Forker

from falsefloor.cli.app import run_command
from falsefloor.cli.ending import ending
from falsefloor.cli.follow import follow
from falsefloor.report.refutations import replayed
from falsefloor.store.run_dir import RunDir
from falsefloor.study.file import study_from
from falsefloor.worker.launch import start


@pytest.fixture(scope="module", autouse=True)
def _warm(forker: Forker) -> Iterator[None]:
    with forker.used():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run(store: Path) -> RunDir:
    study = study_from(
        {
            "models": ["digits:mlp"],
            "inputs": "digits:0",
            "maskers": ["staircase:c=255"],
            "estimators": ["clever:batches=4,samples=8,radius=0.3", "attack:steps=10,restarts=1,rounds=0"],
            "recover": "off",
        }
    )
    made, _ = start(study, store)
    follow(made, owner=False)
    assert ending(made).code == 0
    while made.is_alive():  # its worker leaves a moment after the run has ended
        time.sleep(0.02)
    return made


def refutation(run: RunDir, store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_command(["--store", str(store), "show", run.id, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return next(
        str(w["id"]) for e in document["estimates"] for w in e["warnings"] if w["severity"] == "refuted"
    )


def test_a_refutation_replays_from_disk(run: RunDir, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finding = refutation(run, store, capsys)
    assert run_command(["--store", str(store), "replay", run.id, finding, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "falsefloor.replay/1"
    assert document["replays"] is True
    assert document["distance"] < document["claimed"] == 0.3
    assert "alone and in a batch" in replayed(document)[2]
    assert replayed(document)[-1] == "it replays"


POINT: dict[str, Any] = {
    "code": "FF201",
    "model": "m",
    "masker": "none",
    "norm": "linf",
    "input": 0,
    "label": 3,
    "estimator": "clever",
    "claimed": 0.3,
    "changed": [],
    "kind": "point",
    "distance": 0.1,
    "predicted": 3,
    "margin": 0.5,
    "replays": False,
}


def test_what_does_not_replay_is_said_so_with_what_changed() -> None:
    lines = replayed({**POINT, "changed": ["weights"]})
    assert lines[-1] == "it does NOT replay"
    assert "changed since the run: weights" in lines


def test_a_pair_is_told_with_its_slope() -> None:
    pair = {**POINT, "kind": "pair", "code": "FF202", "margins": [1.0, 0.2], "slope": 8.0, "lipschitz": 5.0}
    text = "\n".join(replayed({**pair, "replays": True}))
    assert "a slope of 8" in text
    assert "at most 5" in text
    assert text.endswith("it replays")
