"""Loading a plugin into this process, and handing one over as an object: for those who are about to run it.

The compute child, `evaluate`, the judging child, the describing child and the kits come here; screens,
commands, storage and the supervisor never do. An object of an installed plugin's class is that plugin with
its parameters; any other class, object or function becomes a plugin of this process for as long as it judges
with it, under a name made from its own, held to the same contract: nothing is installed.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from falsefloor.api import API_VERSION
from falsefloor.errors import PluginError, UsageError
from falsefloor.options import fill, read_options
from falsefloor.plugins.catalogue import Catalogue
from falsefloor.plugins.described import Described, inspect_plugin
from falsefloor.plugins.names import ALLOW, KINDS, LIVE, Plugin, discover, resolve, trace

PLACE = "in-process"
"""What stands for the distribution of a plugin that none brings."""
_PASSED_ON = ("claim", "norms", "displacement", "files")


def load(kind: str, name: str) -> Any:
    """The class (for a check: the check) that a name or ``DIST/NAME`` stands for, held to the contract.

    Raises `UsageError` for an unknown name and `PluginError`, from the plugin's own error, for one that
    cannot be loaded, is made for another version of the contract or lacks something.
    """
    for plugin, found in LIVE.items():
        if plugin.kind == kind and name in (plugin.name, plugin.spec):
            return found
    return _loaded(kind, name, os.environ.get(ALLOW), tuple(sys.path))


def make(kind: str, name: str, params: Mapping[str, object] | None = None) -> Any:
    """An instance with its parameters checked and the defaults filled in.

    Raises what `load` and `falsefloor.options.fill` raise, and `PluginError` where the constructor fails.
    """
    found = load(kind, name)
    if not isinstance(found, type):
        fill((), params or {}, owner=name)
        return found
    values = fill(read_options(found), params or {}, owner=name)
    try:
        return found(**values)
    except Exception as error:
        raise PluginError(f"The {kind} {name!r} cannot be made with {values}: {_said(error)}") from error


def load_plugin(plugin: Plugin) -> object:
    """Import what an entry point names, whatever it is. Raises `PluginError` for every way to fail."""
    trace(f"loading {plugin.kind} {plugin.spec} {plugin.version} from {plugin.target}")
    start = time.perf_counter()
    point = importlib.metadata.EntryPoint(plugin.name, plugin.target, KINDS[plugin.kind])
    try:
        found: object = point.load()
    except SystemExit as error:
        raise PluginError(f"{plugin.spec} called sys.exit({error.code!r}) while it was imported.") from error
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{plugin.spec} needs the module {error.name!r}, which is not installed"
            f" ({plugin.target} names or imports it)."
        ) from error
    except Exception as error:
        raise PluginError(f"{plugin.spec} cannot be imported from {plugin.target}: {_said(error)}") from error
    trace(f"loaded {plugin.spec} in {time.perf_counter() - start:.2f} s")
    return found


@functools.cache
def _loaded(kind: str, name: str, _allow: str | None, _path: tuple[str, ...]) -> Any:
    # The last two say what discovery looks at. An imported module stays what it is, so loading again would
    # only repeat the search: a tenth of a second for a study of a few hundred units.
    plugin = resolve(discover(), kind, name)
    found = load_plugin(plugin)
    inspect_plugin(kind, found)
    if kind == "check" and isinstance(found, type):
        return found()
    return found


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class HandedOver:
    """Collects objects; `catalogue` is what is installed and they."""

    def __init__(self, installed: Catalogue) -> None:
        self.catalogue = installed
        self._made: dict[Plugin, type] = {}

    def spec(self, kind: str, given: Any) -> dict[str, Any]:
        """``use`` and parameters, as a study file has them. Raises `UsageError` for what is no plugin."""
        cls = given if isinstance(given, type) else type(given)
        options = read_options(cls) if dataclasses.is_dataclass(cls) else ()
        params = {}
        if not isinstance(given, type):
            params = {one.name: getattr(given, one.name) for one in options}
            params = {one.name: params[one.name] for one in options if params[one.name] != one.default}
        name = self._installed(kind, cls)
        if name is None:
            name = self._add(
                kind, given, cls if options or isinstance(given, type) else _holding(kind, given)
            )
        return {"use": name, **params}

    def _installed(self, kind: str, cls: type) -> str | None:
        for row in self.catalogue.of(kind):
            named = row.plugin.target.rpartition(":")[2] == cls.__qualname__
            if named and row.usable and load(kind, row.spec) is cls:
                return row.name if row.plugin.own else row.spec
        return None

    def _add(self, kind: str, given: Any, cls: type) -> str:
        for plugin, known in self._made.items():
            if known is cls:
                return plugin.name
        taken = {plugin.name for plugin in self.catalogue.installed if plugin.kind == kind}
        stem = _kebab(given if hasattr(given, "__name__") else type(given), kind)
        name = stem if stem not in taken else f"my-{stem}"
        number = 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        plugin = Plugin(kind, name, PLACE, "", f"{cls.__module__}:{cls.__qualname__}")
        try:
            told = inspect_plugin(kind, cls)
        except PluginError as error:
            raise UsageError(f"{given!r} is no {kind}: {error}") from error
        row = Described.from_json(plugin, {**told, "status": "healthy"})
        self._made[plugin] = cls
        self.catalogue = dataclasses.replace(
            self.catalogue,
            plugins=(*self.catalogue.plugins, row),
            installed=(*self.catalogue.installed, plugin),
        )
        return name

    @contextmanager
    def known(self) -> Iterator[None]:
        """Whoever looks for a plugin in this process finds them meanwhile."""
        LIVE.update(self._made)
        try:
            yield
        finally:
            for plugin in self._made:
                LIVE.pop(plugin, None)


def _holding(kind: str, given: Any) -> type:
    """A class without parameters whose instances do what an object or a function does."""
    if not callable(given):
        raise UsageError(f"{given!r} is no {kind}: expected text, an object, a class or a function.")

    def call(_self: object, *arguments: Any, **named: Any) -> Any:
        return given(*arguments, **named)

    call.__signature__ = _signature(given)  # type: ignore[attr-defined]
    told: Mapping[str, Any] = {
        name: getattr(given, name) for name in _PASSED_ON if getattr(given, name, None) is not None
    }
    told = {name: staticmethod(value) if callable(value) else value for name, value in told.items()}
    body = {"api_version": getattr(given, "api_version", API_VERSION), "__call__": call, **told}
    of = given if hasattr(given, "__name__") else type(given)
    return type(of.__name__, (), {**body, "__doc__": given.__doc__, "__module__": of.__module__})


def _signature(given: Any) -> Any:
    own = inspect.Parameter("_self", inspect.Parameter.POSITIONAL_ONLY)
    try:
        taken = inspect.signature(given)
    except (TypeError, ValueError):
        return None
    return taken.replace(parameters=[own, *taken.parameters.values()])


def _kebab(of: Any, kind: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", of.__name__).strip("-").lower()
    return words if re.match(r"[a-z]", words) and words != "lambda" else kind
