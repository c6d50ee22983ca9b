"""When a cached description is still true: the state of the files that a plugin is made of.

Nothing is imported to find them: parents of a dotted name are located the way the import system would,
without running them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import falsefloor
from falsefloor.api import API_VERSION
from falsefloor.plugins.names import Plugin

FORMAT = 2
"""Raised when a row says more or something else than before."""
MOST_FILES = 2000
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


def fingerprint(plugin: Plugin) -> str:
    """Changes when the plugin's distribution, its source in an editable install, Python or we change."""
    path = locate(plugin.target.partition(":")[0].strip())
    files = sorted(_files(path, everything=plugin.editable)) if path is not None else []
    versions = (FORMAT, API_VERSION, falsefloor.__version__, sys.version, plugin.version, plugin.installed)
    return hashlib.sha256(repr((versions, files)).encode()).hexdigest()[:24]


def environment() -> str:
    """Changes when anything is installed or removed: what is broken for want of a package may have it now."""
    installed = [
        (folder, sorted(name for name in os.listdir(folder) if name.endswith(_INSTALLED)))  # noqa: PTH208
        for folder in sys.path
        if folder and Path(folder).is_dir()
    ]
    return hashlib.sha256(repr(installed).encode()).hexdigest()[:24]


def locate(module: str) -> Path | None:
    """The file that would be imported under a dotted name; None where the import system would find none."""
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:count]), path)
        if spec is None:
            return None
        try:
            path = list(spec.submodule_search_locations or ())
        except KeyError:  # a namespace inside a namespace asks for its parent's module
            return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path, None)
        except Exception:  # noqa: S112  (another package's import hook; the next finder may know)
            continue
        if spec is not None:
            return spec
    return None


def _files(path: Path, *, everything: bool) -> Iterator[tuple[str, int, int]]:
    """(path, time, size) of the module's file; of all sources of its package where they may change unseen."""
    package = everything and (path.parent / "__init__.py").exists()
    sources = path.parent.rglob("*.py") if package else iter((path,))
    for source, _ in zip(sources, range(MOST_FILES), strict=False):
        try:
            state = source.stat()
        except OSError:
            continue
        yield str(source), state.st_mtime_ns, state.st_size
