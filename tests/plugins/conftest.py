"""Packages that plug in, written straight into a folder on the path the way an installer would."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from plugin_site import GOOD, Install
from warm import Forker

from falsefloor.plugins import catalogue
from falsefloor.plugins.catalogue import cache_file


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(dist, source, estimators={name: target}, version=…) puts a package on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("FALSEFLOOR_PLUGINS", raising=False)

    def make(dist: str, source: str = GOOD, *, version: str = "1.0", **groups: Mapping[str, str]) -> Path:
        module = dist.replace("-", "_")
        path = site / f"{module}.py"
        path.write_text(textwrap.dedent(source))
        for old in site.glob(f"{module}-*.dist-info"):
            shutil.rmtree(old)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        lines = []
        for group, points in (groups or {"estimators": {"constant": f"{module}:Constant"}}).items():
            lines += [f"[falsefloor.{group}]", *(f"{name} = {target}" for name, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (info / "RECORD").write_text(f"{path.name},sha256={hash(source)},{len(source)}\n")
        return path

    return make


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
