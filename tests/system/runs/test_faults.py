"""Disks that are full, broken or slow of hearing, at every call of a small run: what is shown is true."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="preloads a library that it compiles"
)
KINDS = ("full", "broken", "interrupted", "short")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shim") / "faults.so"
    words = ["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(words, check=True)
    return made


def faults(shim: Path, folder: Path, *wishes: str) -> list[list[dict[str, Any]]]:
    """What every call that was made to fail led to, by wish: `what:kind:first:step`."""
    env = {**os.environ, "LD_PRELOAD": str(shim)}
    words = [sys.executable, "-P", str(HERE / "faults.py"), str(folder), *wishes]
    told = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-3000:]
    lines = [*map(json.loads, told.stdout.splitlines())]
    found = []
    for wish in wishes:
        head, *rows = (line for line in lines if line["what"] == wish.partition(":")[0])
        assert head["calls"] > 10
        found.append(rows)
    return found


@pytest.fixture(scope="module")
def some(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """Some calls of runs on a broken disk, and of exports to a full one, in one process."""
    return faults(shim, tmp_path_factory.mktemp("some"), "runs:broken:1:61", "exports:full:1:5")


def check_run(row: dict[str, Any], kind: str) -> None:
    assert "Traceback" not in row["said"], row
    assert row["lost"] == [] and row["damage"] is None and row["same"], row
    if row["status"] == "done":
        return
    assert row["status"] in ("failed", "lost"), row
    # SQLite opens what it may not open for writing for reading, and says so when it writes
    broken = ("I/O", "Input/output", "unable to open", "readonly database")
    words = {"full": ("full", "No space"), "broken": broken}
    assert row["error"] and any(word in row["error"] for word in words.get(kind, [""])), row
    assert "cannot" in row["error"] and row["again"] == 0, row


def check_start(row: dict[str, Any]) -> None:
    assert row["code"] in (0, 2, 5) and "Traceback" not in row["said"], row
    assert (row["code"] == 0) == (len(row["left"]) == 1), row
    assert row["code"] == 0 or "said: cannot" in row["said"], row


def check_export(row: dict[str, Any]) -> None:
    assert row["code"] in (0, 2, 5) and "Traceback" not in row["said"], row
    assert row["whole"] and row["copied"], row
    assert set(row["left"]) <= {"copy", "run.json"}, row
    assert row["code"] == 0 or "said: cannot" in row["said"], row


def test_a_disk_that_fails_at_some_calls_of_a_run_is_named(some: list[list[dict[str, Any]]]) -> None:
    rows, _ = some
    assert len(rows) > 5
    for row in rows:
        check_run(row, "broken")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_at_any_call_of_a_run_is_named(shim: Path, tmp_path: Path, kind: str) -> None:
    for row in faults(shim, tmp_path, f"runs:{kind}:1:1")[0]:
        check_run(row, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_begun_as_a_whole_or_said_not_to_be(shim: Path, tmp_path: Path, kind: str) -> None:
    for row in faults(shim, tmp_path, f"starts:{kind}:1:1")[0]:
        check_start(row)


def test_a_disk_that_fails_at_some_calls_of_an_export_leaves_no_half_of_it(
    some: list[list[dict[str, Any]]],
) -> None:
    _, rows = some
    assert len(rows) > 5
    for row in rows:
        check_export(row)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_whole_or_not_there(shim: Path, tmp_path: Path, kind: str) -> None:
    for row in faults(shim, tmp_path, f"exports:{kind}:1:1")[0]:
        check_export(row)
