"""The typed contract, proved by strict mypy on plugins that are right and on plugins that are wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, WRONG = "plugin_example.py", "wrong_example.py"


@pytest.fixture(scope="module")
def said() -> str:
    """What strict mypy says of both files."""
    # the settings and the cache of `make types`, which has read torch already: 1 s instead of 12
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, RIGHT, WRONG],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "in 1 file (checked 2 source files)" in done.stdout, done.stdout + done.stderr
    return done.stdout


def complaints(file: str, said: str) -> list[int]:
    """The lines that it refuses."""
    return sorted({int(line) for line in re.findall(rf"^{re.escape(file)}:(\d+): error: ", said, flags=re.M)})


def test_a_plugin_of_each_kind_passes_strict_mypy(said: str) -> None:
    assert complaints(RIGHT, said) == [], said


def test_every_mistake_and_nothing_else_is_refused(said: str) -> None:
    lines = (HERE / WRONG).read_text(encoding="utf-8").splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if "# mistake" in line]
    assert complaints(WRONG, said) == wrong, said
