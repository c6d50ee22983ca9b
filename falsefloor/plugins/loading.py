"""Loading a plugin into this process: for those who are about to run it.

The compute child, `evaluate`, the judging child, the describing child and the kits come here; screens,
commands, storage and the supervisor never do.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from falsefloor.errors import PluginError
from falsefloor.options import fill, read_options
from falsefloor.plugins.contract import inspect_plugin
from falsefloor.plugins.names import ALLOW, KINDS, LIVE, Plugin, discover, resolve, trace


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
