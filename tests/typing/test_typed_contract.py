"""The typed contract, proved by strict mypy on plugins that are right and on plugins that are wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def complaints(file: str) -> tuple[dict[int, list[str]], str]:
    """(messages by line, everything said) of strict mypy about one file."""
    # the options and the cache of `make types`, which has read torch already: 1 s instead of 19
    options = ["--strict", "--warn-unreachable", "--python-version", "3.11", "--config-file="]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", str(ROOT / ".mypy_cache"), file],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[int, list[str]] = {}
    for line, message in re.findall(rf"^{re.escape(file)}:(\d+): error: (.*)$", done.stdout, flags=re.M):
        found.setdefault(int(line), []).append(message)
    return found, done.stdout + done.stderr


def test_a_plugin_of_each_kind_passes_strict_mypy() -> None:
    found, said = complaints("plugin_example.py")
    assert found == {}, said
    assert "Success" in said


def test_every_mistake_and_nothing_else_is_refused() -> None:
    found, said = complaints("wrong_example.py")
    lines = (HERE / "wrong_example.py").read_text(encoding="utf-8").splitlines()
    assert sorted(found) == [number for number, line in enumerate(lines, 1) if "# mistake" in line], said
