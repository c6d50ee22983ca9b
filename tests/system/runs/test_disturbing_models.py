"""Models that disturb their process: the honest one beside them keeps its bits, nothing is left running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from traced import ended, gone

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.study.file import study_from
from falsefloor.worker.launch import start

ZOO = Path(__file__).parents[1] / "disturbing.py"
sys.path.insert(0, str(ZOO.parent))
from disturbing import AT_ONCE, QUIET, VIOLENT  # noqa: E402  (beside this folder)

HANG = {"hangs", "hangs_with_the_lock", "spins", "stops_itself", "prints_without_end"}
"""Those that end at the time limit only."""

TELLING = ("default_dtype", "threads", "directory", "forks_deserters", "kills_its_parent", "exits_at_once")
"""Those that once moved another's numbers, and those that end what is around them."""


@pytest.fixture
def inputs(tmp_path: Path) -> str:
    import numpy as np

    points = torch.rand(2, 8, generator=torch.Generator().manual_seed(3)).numpy()
    np.savez(tmp_path / "points.npz", inputs=points)
    return f"npz:{tmp_path / 'points.npz'}"


def judged(tmp_path: Path, inputs: str, *names: str, **changes: Any) -> RunDir:
    """A run of disturbing models, an honest one before and one after them; of one honest model alone."""
    study = study_from(
        {
            "models": [
                {"use": f"python:{ZOO}:{name}", "label": label}
                for label, name in [
                    ("first", "good"),
                    *((name, name) for name in names),
                    *[("last", "good_again") for _ in names[:1]],
                ]
            ],
            "inputs": inputs,
            "estimators": ["clever:batches=2,samples=4,radius=0.3", "attack:steps=4,restarts=1,rounds=0"],
            "recover": "off",
            "time_limit": 0.0,
            "memory": "2GB",
            **changes,
        }
    )
    run, _ = start(study, tmp_path / "store")
    return run


def of(run: RunDir, model: str) -> list[tuple[Any, ...]]:
    with RunReader(run) as reader:
        return [
            (e["name"], e["input"], e["status"], e["radius"], e["verdict"], str(e["evidence"]))
            for e in reader.estimates()
            if e["model"] == model
        ]


def check(run: RunDir, mark: str, honest: list[tuple[Any, ...]], *, limit: float = 120.0) -> None:
    assert ended(run, limit=limit) == "done", run.log.read_text()[-3000:]
    for place in ("first", "last"):
        assert of(run, place) == honest, place
    with RunReader(run) as reader:
        assert {u["status"] for u in reader.units()} <= {"ok", "failed", "skipped"}
        for one in reader.estimates():
            assert one["status"] != "failed" or one["error"], one
    assert gone(mark)
    assert run.log.stat().st_size < 4 * 2**20 * 40


@pytest.fixture
def honest(mark: str, tmp_path: Path, inputs: str) -> list[tuple[Any, ...]]:
    """What the honest model has alone."""
    run = judged(tmp_path, inputs)
    assert ended(run) == "done", run.log.read_text()
    alone = of(run, "first")
    assert {row[2] for row in alone} == {"ok"}
    return alone


def test_what_models_do_to_their_process_reaches_nobody(
    mark: str, warm: None, tmp_path: Path, inputs: str, honest: list[tuple[Any, ...]]
) -> None:
    check(judged(tmp_path, inputs, *TELLING), mark, honest)


@pytest.mark.slow
def test_what_models_set_in_their_process_reaches_nobody(
    mark: str, warm: None, tmp_path: Path, inputs: str, honest: list[tuple[Any, ...]]
) -> None:
    check(judged(tmp_path, inputs, *QUIET, memory=""), mark, honest, limit=240.0)


@pytest.mark.slow
def test_models_that_end_their_process_or_leave_others_behind_harm_nobody(
    mark: str, warm: None, tmp_path: Path, inputs: str, honest: list[tuple[Any, ...]]
) -> None:
    quick = ("forks_deserters", "kills_its_parent", "kills_its_group", "exits_at_once", "closes_descriptors")
    check(judged(tmp_path, inputs, *quick), mark, honest)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VIOLENT, *(one.__name__ for one in AT_ONCE)])
def test_a_violent_model_fails_alone(
    mark: str, tmp_path: Path, inputs: str, honest: list[tuple[Any, ...]], name: str
) -> None:
    # how long it takes to fill the memory is the machine's affair
    run = judged(tmp_path, inputs, name, time_limit=0.0 if "memory" in name else 15.0)
    check(run, mark, honest, limit=240.0)
    with RunReader(run) as reader:
        errors = {u["error"] for u in reader.units() if u["status"] == "failed"}
    if "memory" in name:
        assert any("memory" in str(error) for error in errors), errors
    if name in HANG:
        assert any("time limit" in str(error) for error in errors), errors


@pytest.mark.slow
def test_honest_models_keep_their_bits_in_every_order(
    mark: str, tmp_path: Path, inputs: str, honest: list[tuple[Any, ...]]
) -> None:
    for name in QUIET:
        check(judged(tmp_path, inputs, name), mark, honest)
