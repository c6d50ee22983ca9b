"""A folder that holds modules in the place of libraries: no command that stands there imports one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("falsefloor")
NAMES = (
    "queue", "sqlite3", "random", "calendar", "statistics", "selectors", "opt_einsum", "torch", "numpy",
    "distributed", "msgpack", "rich", "typer", "tomllib", "hmac", "falsefloor_model",
)  # fmt: skip
"""Of the standard library, of ours, and such as libraries look for and do without."""
STUDY = (
    *("--model", "digits:mlp", "--inputs", "digits:0-1", "--masker", "staircase:c=255"),
    *("--estimator", "clever:batches=2,samples=4,radius=0.3", "--recover", "off"),
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
    assert falsefloor(folder, "doctor").returncode in (0, 1)
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
