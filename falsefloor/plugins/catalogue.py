"""The catalogue: every installed plugin, described, from a cache where nothing changed.

What is shown on screens and used to check a study comes from here, so that no process that shows or plans
ever loads a plugin. The cache is a file of JSON that may be deleted at any time; a row of it is true while
the files are unchanged that its plugin is made of. Nothing is imported to find these: parents of a dotted
name are located the way the import system would, without running them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from itertools import islice
from pathlib import Path
from typing import Any

from falsefloor import __version__
from falsefloor.api import API_VERSION, Scalar
from falsefloor.errors import PluginError, UsageError
from falsefloor.options import fill
from falsefloor.plugins.describe import describe
from falsefloor.plugins.described import Described
from falsefloor.plugins.names import Plugin, discover, resolve, trace

CACHE = "FALSEFLOOR_CACHE"
BEING = "a process of its own is importing it; one that hangs is stopped and listed as timed out."
RETRY = 600.0
"""Seconds after which a plugin that timed out is tried again: the machine may have been busy."""
FORMAT = 2
"""Raised when a row says more or something else than before."""
MOST_FILES = 2000
Files = Callable[[Path], list[tuple[str, int, int]]]
Finder = Callable[[str, tuple[str, ...] | None], ModuleSpec | None]
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


@dataclass(frozen=True)
class Catalogue:
    """What is installed, and the rows of those that were asked for, in the order of discovery."""

    plugins: tuple[Described, ...]
    installed: tuple[Plugin, ...]

    @property
    def whole(self) -> bool:
        """Whether all that is installed has been described."""
        return all(row.status != "being described" for row in self.plugins)

    def of(self, kind: str) -> tuple[Described, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.plugins if row.kind == kind)

    def find(self, kind: str, name: str) -> Described:
        """The usable plugin that a name or ``DIST/NAME`` stands for.

        Raises `UsageError` for a name that nobody or several offer, `PluginError` with the reason for a
        plugin that cannot be used.
        """
        plugin = resolve(self.installed, kind, name)
        row = next((row for row in self.plugins if row.plugin == plugin), None)
        if row is None:
            (row,) = _rows((plugin,))
        if not row.usable:
            raise PluginError(
                f"The {kind} {name!r} ({row.dist} {row.version}) is {row.status}: {row.reason}"
                f" `falsefloor plugins show {row.spec}` tells more."
            )
        return row

    def params(
        self, kind: str, name: str, given: Mapping[str, Scalar], *, effort: str = "standard"
    ) -> dict[str, Scalar]:
        """The plugin's parameters with its defaults at an effort filled in.

        Raises `UsageError` that names the nearest.
        """
        return fill(self.find(kind, name).options, given, owner=name, effort=effort)

    def accepts(self, estimator: str, params: Mapping[str, Scalar]) -> bool:
        """Whether the estimator's options allow these parameters."""
        try:
            self.params("estimator", estimator, params)
        except UsageError:
            return False
        return True

    def claim(self, estimator: str) -> str:
        """What the estimator's radius is worth here: of another function's, a proof is an estimate."""
        row = self.find("estimator", estimator)
        proven = row.claim == "lower_bound" and row.elsewhere
        return "lower_estimate" if proven else row.claim or "lower_estimate"

    def origin(self, estimator: str) -> dict[str, str]:
        """The distribution and version that offer an estimator, as stored beside its estimates."""
        found = self.find("estimator", estimator)
        return {"dist": found.dist, "version": found.version}

    def shown(self, estimators: Iterable[str]) -> dict[str, dict[str, Any]]:
        """How others' estimators want their numbers shown, as a run keeps it."""
        rows = {name: self.find("estimator", name) for name in sorted(estimators)}
        return {
            name: {key: row.to_json()[key] for key in ("columns", "axes")}
            for name, row in rows.items()
            if not row.plugin.own and (row.columns or row.axes)
        }

    def is_own(self, kind: str, name: str) -> bool:
        """Whether the plugin is this package's."""
        return self.find(kind, name).plugin.own


def catalogue(
    wanted: Iterable[tuple[str, str]] | None = None, *, refresh: bool = False, wait: bool = True
) -> Catalogue:
    """Describe what is installed: all, or of third-party plugins only those ``wanted`` as (kind, name).

    Rows come from the cache unless something changed or ``refresh`` is set. Without ``wait`` others' plugins
    that are not known yet are rows that say so: one of them may hang. Never raises for a plugin's sake.
    """
    installed = discover()
    chosen = installed
    if wanted is not None:
        pairs = set(wanted)
        chosen = tuple(
            p for p in installed if p.own or (p.kind, p.name) in pairs or (p.kind, p.spec) in pairs
        )
    rows = _rows(chosen, refresh=refresh, wait=wait)
    return Catalogue(plugins=_clashes(rows, installed), installed=installed)


def cache_file() -> Path:
    """Where rows are kept: one file an environment, in `FALSEFLOOR_CACHE` or the platform's folder."""
    root = os.environ.get(CACHE)
    if root:
        folder = Path(root)
    else:
        import platformdirs

        folder = platformdirs.user_cache_path("falsefloor")
    place = hashlib.sha256(f"{sys.prefix}|{sys.version}".encode()).hexdigest()[:12]
    return folder / f"plugins-{place}.json"


def _rows(plugins: tuple[Plugin, ...], *, refresh: bool = False, wait: bool = True) -> tuple[Described, ...]:
    path = cache_file()
    stored = _read(path)
    files, spec = cache(_files), cache(_spec)  # what several plugins stand in is looked at once
    states = {plugin: fingerprint(plugin, files=files, spec=spec) for plugin in plugins}
    around, now = environment(), time.time()
    rows: dict[Plugin, Described] = {}
    for plugin in plugins if not refresh else ():
        row = _kept(plugin, stored.get(_key(plugin)), state=states[plugin], around=around, now=now)
        if row is not None:
            rows[plugin] = row
    if not wait:
        later = [plugin for plugin in plugins if plugin not in rows and not plugin.own]
        rows.update((plugin, Described(plugin, "being described", BEING)) for plugin in later)
    missing = [plugin for plugin in plugins if plugin not in rows]
    if missing:
        trace(f"describing {len(missing)} of {len(plugins)} in a child process")
        rows.update(zip(missing, describe(missing), strict=True))
        for plugin in missing:
            entry = {"state": states[plugin], "around": around, "at": now, "row": rows[plugin].to_json()}
            stored[_key(plugin)] = entry
        _write(path, stored)
    return tuple(rows[plugin] for plugin in plugins)


def _kept(plugin: Plugin, entry: Any, *, state: str, around: str, now: float) -> Described | None:
    try:
        if entry["state"] != state:
            return None
        row = Described.from_json(plugin, entry["row"])
        late = row.status == "timed out" and not 0 <= now - entry["at"] < RETRY
        return None if not row.usable and (entry["around"] != around or late) else row
    except (KeyError, TypeError, PluginError):
        return None


def _clashes(rows: tuple[Described, ...], installed: tuple[Plugin, ...]) -> tuple[Described, ...]:
    """Healthy plugins whose short name is not theirs alone become duplicates that say who else claims it."""
    marked: list[Described] = []
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        rivals = sorted(
            {p.spec for p in installed if (p.kind, p.name) == (row.kind, row.plugin.name)} - {row.spec}
        )
        ours = any(spec.startswith("falsefloor/") for spec in rivals)
        key = (row.kind, row.dist, row.name)
        if row.status == "healthy" and key in seen:
            row = dataclasses.replace(
                row, status="duplicate", reason=f"{row.dist} declares {row.name!r} twice; the first counts."
            )
        elif row.status == "healthy" and rivals:
            claim = f"also offered as {', '.join(rivals)}"
            if row.plugin.own:
                row = dataclasses.replace(row, reason=f"{claim}; the short name means ours.")
            else:
                whose = "the short name is falsefloor's own" if ours else "the short name is ambiguous"
                row = dataclasses.replace(
                    row, status="duplicate", reason=f"{claim}; {whose}: write {row.spec}."
                )
        seen.add(key)
        marked.append(row)
    return tuple(marked)


def _key(plugin: Plugin) -> str:
    return f"{plugin.kind}|{plugin.dist}|{plugin.name}|{plugin.target}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
        return dict(data["rows"]) if isinstance(data, Mapping) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # missing or damaged: everything is described anew


def _write(path: Path, rows: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            json.dump({"schema": "falsefloor.plugin-cache/1", "rows": rows}, file)
        Path(file.name).replace(path)
    except OSError as error:
        trace(f"the cache {path} cannot be written ({error}); plugins will be described again")


def fingerprint(plugin: Plugin, *, files: Files | None = None, spec: Finder | None = None) -> str:
    """Changes when the plugin's distribution, its source in an editable install, Python or we change."""
    path = locate(plugin.target.partition(":")[0].strip(), spec=spec)
    if path is not None and plugin.editable and (path.parent / "__init__.py").exists():
        path = path.parent
    states = [] if path is None else (files or _files)(path)
    versions = (FORMAT, API_VERSION, __version__, sys.version, plugin.version, plugin.installed)
    return hashlib.sha256(repr((versions, states)).encode()).hexdigest()[:24]


def environment() -> str:
    """Changes when anything is installed or removed: what is broken for want of a package may have it now."""
    installed = [
        (folder, sorted(name for name in os.listdir(folder) if name.endswith(_INSTALLED)))  # noqa: PTH208
        for folder in sys.path
        if folder and Path(folder).is_dir()
    ]
    return hashlib.sha256(repr(installed).encode()).hexdigest()[:24]


def locate(module: str, *, spec: Finder | None = None) -> Path | None:
    """The file that would be imported under a dotted name; None where the import system would find none."""
    path: tuple[str, ...] | None = None
    found: ModuleSpec | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        found = (spec or _spec)(".".join(parts[:count]), path)
        if found is None:
            return None
        try:
            path = tuple(found.submodule_search_locations or ())
        except KeyError:  # a namespace inside a namespace asks for its parent's module
            return None
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def _spec(name: str, path: tuple[str, ...] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None if path is None else [*path], None)
        except Exception:  # noqa: S112  (another package's import hook; the next finder may know)
            continue
        if spec is not None:
            return spec
    return None


def _files(path: Path) -> list[tuple[str, int, int]]:
    """(path, time, size) of a module's file, or of all sources in the folder of a package."""
    found = []
    for source in islice(path.rglob("*.py"), MOST_FILES) if path.is_dir() else (path,):
        try:
            state = source.stat()
        except OSError:
            continue
        found.append((str(source), state.st_mtime_ns, state.st_size))
    return sorted(found)
