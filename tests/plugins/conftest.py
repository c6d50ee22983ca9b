"""Packages that plug in, written straight into a folder on the path the way an installer would."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_site import Install, Installing, installer
from warm import Forker

from falsefloor.plugins import catalogue
from falsefloor.plugins.catalogue import cache_file


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(dist, source, estimators={name: target}, version=…) puts a package on the path."""
    return installer(tmp_path / "site", monkeypatch)


@pytest.fixture(scope="session")
def installing(own_rows: Path, forker: Forker, tmp_path_factory: pytest.TempPathFactory) -> Installing:
    """The same for as long as a context lasts, for what a module's tests read together."""

    @contextlib.contextmanager
    def installing() -> Iterator[Install]:
        folder = tmp_path_factory.mktemp("installed")
        shutil.copytree(own_rows, folder / "cache")
        with pytest.MonkeyPatch.context() as patch, forker.used():
            patch.setenv("FALSEFLOOR_CACHE", str(folder / "cache"))
            yield installer(folder / "site", patch)

    return installing


@pytest.fixture(scope="session")
def own_rows(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Path:
    """A cache in which our own plugins are described already: importing torch for each test takes seconds."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch, forker.used():
        patch.setenv("FALSEFLOOR_PLUGINS", "")
        catalogue()
    shutil.copy(cache_file(), folder)
    return folder


@pytest.fixture
def cache(own_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: None) -> Path:
    """A fresh copy of that cache, in use for this test; what is new is described with torch imported."""
    folder = tmp_path / "cache"
    shutil.copytree(own_rows, folder)
    monkeypatch.setenv("FALSEFLOOR_CACHE", str(folder))
    return folder
