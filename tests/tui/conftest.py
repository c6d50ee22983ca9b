"""A store with one finished run, and the app on it in a terminal of any size."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import textual._wait
from sample_run import StoredRun
from screens import until

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.app import Workbench

textual._wait.SLEEP_GRANULARITY = 1 / 200
textual._wait.SLEEP_IDLE = 1 / 4000
"""How long a pilot looks whether the app is idle, twice a key: 20 ms each time otherwise. What a test waits
for, it waits for by `until` and `shows`."""


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NO_COLOR", "LC_ALL", "SSH_CONNECTION", "FALSEFLOOR_ASCII", "FALSEFLOOR_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StoredRun(tmp_path_factory.mktemp("stored"), id="7f3a0000").close().path


@pytest.fixture
def run(store: Path, _stored: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(_stored, store / _stored.name)))


@pytest.fixture
def opened(store: Path) -> Callable[..., Any]:
    """`async with opened(run, size=…) as pilot`: the app, its first snapshot taken."""

    @asynccontextmanager
    async def open_(run: RunDir | None = None, *, size: tuple[int, int] = (80, 24)) -> Any:
        app = Workbench(store, run)
        async with app.run_test(size=size, notifications=True) as pilot:
            if run is not None:
                await until(pilot, lambda: bool(app.snapshot and (app.snapshot.info or app.snapshot.problem)))
                await pilot.pause()
            yield pilot
            await app.workers.wait_for_complete()

    return open_
