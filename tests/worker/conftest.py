"""Starts real runs for tests, and leaves none behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import ended, small

from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import start


@pytest.fixture
def launched(tmp_path: Path, warm: None) -> Iterator[Callable[..., RunDir]]:
    """Starts runs in processes that have torch imported, and leaves none behind; real starts with `cold`."""
    runs: list[RunDir] = []

    def launch(**changes: Any) -> RunDir:
        run, _ = start(small(**changes), tmp_path / "store")
        runs.append(run)
        return run

    yield launch
    for run in runs:
        if run.is_alive():
            run.command("kill")
            ended(run)
