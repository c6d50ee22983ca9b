"""Commands run in this process on a store of their own, with what they said and how they ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import Command, Outcome


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    return root


@pytest.fixture
def environment(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALSEFLOOR_STORE", str(store))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.delenv("FALSEFLOOR_PLUGINS", raising=False)


@pytest.fixture
def command(environment: None, warm: None, capfd: pytest.CaptureFixture[str]) -> Command:
    """`command("show", "last")`: run_command in this process, with both streams."""
    from falsefloor.cli.app import run_command

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run_command([str(argument) for argument in arguments])
        seen = capfd.readouterr()
        return Outcome(code, seen.out, seen.err)

    return run
