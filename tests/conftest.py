"""What every test starts from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two threads on two busy cores make small models several times slower; children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _described_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache of described plugins for all tests and workers, and none of the user's: describing them
    starts a child that imports torch."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    os.environ.setdefault("FALSEFLOOR_CACHE", str(Path(shared, "described")))
