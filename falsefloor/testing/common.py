"""Checks that plugins of every kind share: the contract, parameters, files, silence, another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from falsefloor.api import NotApplicable
from falsefloor.engine.identity import files_of
from falsefloor.errors import FalsefloorError
from falsefloor.options import fill, read_options
from falsefloor.plugins.contract import inspect_plugin
from falsefloor.plugins.process import Child, GoneError, SilentError
from falsefloor.testing.results import Case, UnmetError, require

IMPORT_LIMIT = 120.0
"""Seconds an import may take: torch from a cold disk takes ten."""


def common_cases(kind: str, plugin: object) -> list[Case]:
    """The checks on the class itself, whatever its kind."""
    cls = type(plugin) if kind != "check" else plugin
    return [
        Case("contract", lambda: _contract(kind, cls)),
        Case("parameters survive a round trip", lambda: _round_trip(plugin)),
        Case("importing it is silent", lambda: _silent_import(type(plugin), torch_free=kind == "check")),
        Case("the files it names are there", lambda: files_exist(plugin)),
    ]


def elsewhere(kind: str, plugin: object, **asked: Any) -> Mapping[str, Any]:
    """What the plugin, made anew, answers in another process with its own generators, on another day.

    Raises `NotApplicable` where it cannot be made there by name.
    """
    cls = type(plugin)
    module, name = cls.__module__, cls.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not cls or getattr(sys.modules.get(module), "__file__", None) is None:
        raise NotApplicable(f"{cls.__name__} cannot be imported by name, so no other process can make it")
    params = {option.name: getattr(plugin, option.name) for option in read_options(cls)}
    request = {"kind": kind, "module": module, "name": name, "params": params, **asked}
    child = Child("falsefloor.engine.elsewhere")
    try:
        (answer,) = child.answers(request, limit=IMPORT_LIMIT)
        return answer
    except (SilentError, GoneError, ValueError) as error:
        raise UnmetError(f"gave no answer in another process: {child.death()}") from error
    except FalsefloorError as error:
        raise UnmetError(f"fails in another process: {error}") from error
    finally:
        child.end()


def files_exist(plugin: object) -> None:
    """Raises `UnmetError` for files that the plugin names and that are none; `NotApplicable` without any."""
    if not callable(getattr(plugin, "files", None)):
        raise NotApplicable("no files() are offered")
    first, second = (files_of(plugin, name=type(plugin).__name__) for _ in range(2))
    require(first == second, "names other files when it is asked again")


def _contract(kind: str, found: object) -> None:
    inspect_plugin(kind, found)


def _round_trip(plugin: object) -> None:
    cls = type(plugin)
    options = read_options(cls)
    values = {option.name: getattr(plugin, option.name) for option in options}
    filled = fill(options, json.loads(json.dumps(values, allow_nan=False)), owner=cls.__name__)
    again = cls(**filled)
    kept = {option.name: getattr(again, option.name) for option in options}
    require(kept == filled, f"given {filled} it keeps {kept}; parameters must be stored as they are")
    if options:
        require(again == plugin, "two instances with the same parameters differ; use @dataclass(frozen=True)")
        require(
            getattr(cls, "__dataclass_params__").frozen,  # noqa: B009  (typing knows no such attribute)
            "parameters can be changed after they were validated; use @dataclass(frozen=True)",
        )


def _silent_import(cls: type, *, torch_free: bool) -> None:
    module = cls.__module__
    if module == "__main__" or getattr(sys.modules.get(module), "__file__", None) is None:
        raise NotApplicable(f"{cls.__name__} is not defined in a module that can be imported by name")
    code = "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    code += "importlib.import_module(sys.argv[2]); sys.exit(17 if 'torch' in sys.modules else 0)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps([os.path.abspath(p) for p in sys.path]), module],  # noqa: PTH100
        capture_output=True,
        text=True,
        timeout=IMPORT_LIMIT,
        check=False,
    )
    require(found.returncode in (0, 17), f"importing {module} alone fails: {found.stderr[-400:]}")
    require(not found.stdout, f"importing {module} prints to stdout: {found.stdout[:80]!r}")
    if torch_free:
        require(
            found.returncode == 0,
            f"importing {module} imports torch; checks run where no model is: use plain numbers",
        )
