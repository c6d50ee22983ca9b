"""Folders that hold modules in the place of libraries, and runs that came by mail: nothing of theirs runs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

from falsefloor.plugins.judging import RunJudge
from falsefloor.store.run_dir import create_run
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from

PROGRAM = Path(sys.executable).with_name("falsefloor")
NAMES = (
    "queue", "sqlite3", "random", "calendar", "statistics", "selectors", "opt_einsum", "torch", "numpy",
    "distributed", "msgpack", "rich", "typer", "tomllib", "hmac", "falsefloor_model",
)  # fmt: skip
"""Of the standard library, of ours, and such as libraries look for and do without."""
STUDY = (
    *("--model", "digits:mlp", "--inputs", "digits:0-1", "--masker", "staircase:c=255"),
    *("--estimator", "clever:batches=2,samples=4,radius=0.3", "--recover", "off"),
    *("--estimator", "attack:steps=10,restarts=1,rounds=0"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    for name in NAMES:
        text = f"open({str(tmp_path / 'imported')!r}, 'a').write('{name} ')\nraise ImportError('planted')\n"
        (made / f"{name}.py").write_text(text, encoding="utf-8")
    return made


def falsefloor(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "FALSEFLOOR_STORE": str(folder.parent / "store")}
    return subprocess.run(
        [PROGRAM, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def test_no_command_imports_from_the_folder_where_it_stands(folder: Path) -> None:
    ran = falsefloor(folder, "run", *STUDY)
    assert "refuted" in ran.stdout, ran.stderr
    looked = falsefloor(folder, "doctor")
    assert looked.returncode in (0, 1) and torch.__version__ in looked.stdout, looked.stderr
    shown = falsefloor(folder, "show", "last", "--json").stdout
    finding = shown.partition('"code": "FF201"')[0].rpartition('"id": "')[2].partition('"')[0]
    replayed = falsefloor(folder, "replay", "last", finding)
    assert "it replays" in replayed.stdout, replayed.stderr
    assert not (folder.parent / "imported").exists()


@pytest.mark.slow
def test_nor_does_a_cluster_of_this_machine(folder: Path) -> None:
    ran = falsefloor(folder, "run", *STUDY, "--on", "dask")
    assert "refuted" in ran.stdout, ran.stderr
    assert not (folder.parent / "imported").exists()


NET = """
open({mark!r}, "a").write("model ")
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def received(folder: Path, model: str) -> str:
    """The path of a run that somebody else planned to run in the folder."""
    study = study_from(
        {
            "models": [model],
            "inputs": "digits:0-1",
            "estimators": ["clever:batches=2,samples=4,radius=0.3"],
            "recover": "off",
            "ceiling": False,
        }
    )
    run = create_run(folder.parent / "mail")
    with closing(RunWriter(run.db, RunJudge())) as writer:
        writer.set_meta(id=run.id, status="cancelled", study=study.to_json(), cwd=str(folder), created=1e9)
    return str(run.path)


def test_a_received_run_is_gone_on_with_and_nothing_of_its_folder_is_imported(folder: Path) -> None:
    ran = falsefloor(folder.parent, "resume", received(folder, "digits:mlp"))
    assert ran.returncode == 0 and "clever" in ran.stdout, ran.stderr
    assert not (folder.parent / "imported").exists()


def test_a_received_run_that_names_code_says_so_and_runs_it_only_where_it_is_trusted(folder: Path) -> None:
    mark = folder.parent / "imported"
    (folder / "net.py").write_text(NET.format(mark=str(mark)), encoding="utf-8")
    path = received(folder, "python:net.py:build")
    refused = falsefloor(folder.parent, "resume", path)
    assert refused.returncode == 2 and not mark.exists()
    assert f"python:net.py:build ({folder / 'net.py'}, of " in refused.stderr and "--trust" in refused.stderr
    trusted = falsefloor(folder.parent, "resume", path, "--trust")
    assert trusted.returncode == 0, trusted.stderr
    assert set(mark.read_text().split()) == {"model"}, "the model alone, and no module planted beside it"
