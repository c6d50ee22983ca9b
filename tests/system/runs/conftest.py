"""Real processes, in a store and with a plugin of their own, and none of them left behind."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from traced import MARK, Trace, alive, install, kill
from warm import Forker

from falsefloor.plugins import catalogue
from falsefloor.plugins.catalogue import cache_file
from falsefloor.worker import launch


@pytest.fixture(scope="session")
def plugin_site(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> tuple[Path, Path]:
    """The folder of the traced plugin, and a cache in which every plugin is described already."""
    folder = tmp_path_factory.mktemp("traced")
    install(folder / "site")
    (folder / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch, forker.used():
        catalogue()  # ours, for all tests
        shutil.copy(cache_file(), folder / "cache")
        patch.syspath_prepend(str(folder / "site"))
        patch.setenv("PYTHONPATH", str(folder / "site"))
        patch.setenv("FALSEFLOOR_CACHE", str(folder / "cache"))
        catalogue()
    return folder / "site", folder / "cache"


@pytest.fixture
def mark(plugin_site: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What every process of this test carries in its environment."""
    site, cache = plugin_site
    made = secrets.token_hex(8)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    monkeypatch.setenv("FALSEFLOOR_CACHE", str(cache))
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv(MARK, made)
    yield made
    for pid in alive(made):
        kill(pid)
    for process in launch._STARTED:
        process.wait()


@pytest.fixture
def trace(mark: str, tmp_path: Path) -> Trace:
    (tmp_path / "trace").touch()
    return Trace(tmp_path / "trace")
