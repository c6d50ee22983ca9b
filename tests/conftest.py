"""What every test starts from."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from warm import Forker

# Two threads on two busy cores make small models several times slower; children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time: a test that fails by chance tells nobody what was changed. `make test-slow`
# explores, by --hypothesis-profile=explore.
UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
"""No test is timed: machines are shared."""
settings.register_profile("seeded", derandomize=True, **UNTIMED)
settings.register_profile("explore", derandomize=False, print_blob=True, **UNTIMED)
settings.load_profile("seeded")

HERE = Path(__file__).parent
WAITING = ("cli", "plugins", "store", "system", "tui", "worker")
"""Rooms whose tests wait for processes and screens come first: one worker of `make test` begins with them,
the other with what computes, so that neither core is idle for long."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: looked through for garbage again and again, it takes half as long again to
    collect the tests, and every look while they run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.relative_to(HERE).parts[0] not in WAITING)


@pytest.fixture(scope="session", autouse=True)
def _described_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache of described plugins for all tests and workers, and none of the user's: describing them
    starts a child that imports torch."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    os.environ.setdefault("FALSEFLOOR_CACHE", str(Path(shared, "described")))
    os.environ["XDG_STATE_HOME"] = str(Path(shared, "state"))  # where the key lies that seals runs


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    """One process that has torch imported and forks."""
    made = Forker()
    yield made
    made.close()


@pytest.fixture
def warm(forker: Forker) -> Iterator[None]:
    """Supervisors, compute children and the children that run plugins begin with torch imported."""
    with forker.used():
        yield


@pytest.fixture
def cold(warm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreters that start as they do for a user, after all."""
    from falsefloor.plugins import process
    from falsefloor.worker import launch

    for starts in (launch, process):
        monkeypatch.setattr(starts, "subprocess", subprocess)
