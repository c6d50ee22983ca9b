"""What starts where a user waits must not load what takes seconds. A fresh interpreter is the real guard."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy")
LIGHT = [
    "falsefloor",
    "falsefloor.api",
    "falsefloor.cli.app",
    "falsefloor.plugins",
    "falsefloor.study.file",
    "falsefloor.store.reader",
    "falsefloor.store.writer",
    "falsefloor.report.table",
    "falsefloor.report.forms",
    "falsefloor.worker.supervisor",
    "falsefloor.worker.launch",
    "falsefloor.checks.judge",
    "falsefloor.tui.start",
]


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_screens_commands_and_storage_load_nothing_heavy(module: str) -> None:
    modules = loaded(f"import {module}")
    assert not modules & set(HEAVY)
    if not module.startswith("falsefloor.tui"):
        assert "textual" not in modules


def test_the_judge_of_a_run_loads_nothing_heavy() -> None:
    modules = loaded("from falsefloor.plugins.judging import RunJudge; RunJudge()")
    assert "falsefloor.checks.contradiction" in modules
    assert not modules & set(HEAVY)


def test_public_names_are_few_and_listed() -> None:
    import falsefloor

    assert falsefloor.__all__ == ["Results", "__version__", "estimators", "evaluate", "load", "maskers"]
    with pytest.raises(AttributeError, match="it has Results"):
        _ = falsefloor.evaluat  # type: ignore[attr-defined]
