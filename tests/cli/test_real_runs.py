"""The command line on real models, data, processes and databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

WORDS = [
    *("run", "--model", "digits:mlp", "--inputs", "digits:0-2", "--seed", "0"),
    *("--masker", "none", "--masker", "staircase:c=255", "--estimator", "clever"),
    *("--estimator", "attack:steps=10,restarts=1,rounds=0"),
]


def run(store: Path, *words: str, limit: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FALSEFLOOR_STORE": str(store), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "falsefloor", *words],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def numbers(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What must not differ between two runs of a study."""
    return [
        (e["masker"], e["name"], e["input"], e["radius"], e["verdict"], [w["code"] for w in e["warnings"]])
        for e in document["estimates"]
    ]


def test_the_staircase_refutes_clever_and_the_bare_model_holds(tmp_path: Path) -> None:
    told = run(tmp_path, *WORDS, "--json", "--fail-on", "refuted")
    assert told.returncode == 3, told.stderr
    document = json.loads(told.stdout)
    assert document["run"]["status"] == "done"
    found = {(e["masker"], e["name"], e["input"]): e for e in document["estimates"]}
    for number in range(3):
        assert found["none", "clever", number]["verdict"] == "held"
        refuted = found["staircase:c=255", "clever", number]
        codes = {warning["code"]: warning for warning in refuted["warnings"]}
        assert refuted["verdict"] == "refuted" and {"FF101", "FF201"} <= set(codes)
        assert codes["FF201"]["witness"]["distance"] < 0.2 < refuted["radius"]


@pytest.mark.slow
def test_the_same_study_gives_the_same_numbers_in_any_chunk(tmp_path: Path) -> None:
    documents = [
        json.loads(run(tmp_path, *WORDS, "--json", "--chunk", chunk).stdout) for chunk in ("32", "1", "2")
    ]
    assert numbers(documents[0]) == numbers(documents[1]) == numbers(documents[2])


@pytest.mark.slow
def test_a_detached_run_is_watched_to_its_end(tmp_path: Path) -> None:
    started = run(tmp_path, *WORDS, "--detach")
    assert started.returncode == 0
    watched = run(tmp_path, "watch", started.stdout.strip())
    assert watched.returncode == 0 and "REFUTED" in watched.stdout


@pytest.mark.slow
def test_a_cancelled_run_goes_on_where_it_was(tmp_path: Path) -> None:
    name = run(tmp_path, *WORDS, "--chunk", "1", "--detach").stdout.strip()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if json.loads(run(tmp_path, "show", name, "--json").stdout)["run"]["units"]["done"]:
            break
    run(tmp_path, "cancel", name)
    stopped = run(tmp_path, "watch", name)
    assert stopped.returncode == 130
    resumed = run(tmp_path, "resume", name, "--json")
    assert resumed.returncode == 0
    whole = json.loads(run(tmp_path, *WORDS, "--chunk", "1", "--json").stdout)
    assert numbers(json.loads(resumed.stdout)) == numbers(whole)


@pytest.mark.slow
def test_the_demo_tells_its_story_in_a_table(tmp_path: Path) -> None:
    told = run(tmp_path, "demo", limit=300)
    assert told.returncode == 0, told.stderr
    rows = {line.split()[0]: line for line in told.stdout.splitlines() if line and not line.startswith(" ")}
    assert "held" in rows["none"]
    assert "REFUTED" in rows["staircase:c=255"]
    assert "suspect" in rows["ramp:c=255,delta=0.2"] and "REFUTED" in rows["ramp:c=255,delta=1e-07"]
    assert "FF101 vanished gradient" in told.stdout and "lies at" in told.stdout


@pytest.mark.slow
def test_inputs_are_shown_as_pictures(tmp_path: Path) -> None:
    shown = run(tmp_path, "inputs", "digits:0-2")
    assert shown.returncode == 0 and "label" in shown.stdout and "@@" in shown.stdout
    document = json.loads(run(tmp_path, "inputs", "digits:0-2", "--json").stdout)
    assert document["schema"] == "falsefloor.inputs/1" and len(document["pictures"]) == 3


@pytest.mark.slow
def test_inputs_that_do_not_exist_are_a_usage_error(tmp_path: Path) -> None:
    shown = run(tmp_path, "inputs", "digits:0-99999")
    assert shown.returncode == 2 and "error:" in shown.stderr and "Traceback" not in shown.stderr
