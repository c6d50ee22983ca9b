"""What all kits share: named checks, what became of each, and those of every kind of plugin.

These are the contract, parameters, files, silence and another process; one error reports what failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from falsefloor.api import NotApplicable
from falsefloor.engine.identity import files_of
from falsefloor.errors import FalsefloorError, PluginError, UsageError, did_you_mean
from falsefloor.options import fill, read_options
from falsefloor.plugins.described import inspect_plugin
from falsefloor.plugins.process import Child, GoneError, SilentError

Outcome = Literal["passed", "failed", "expected failure", "unexpected pass", "skipped"]


class UnmetError(Exception):
    """A check's condition does not hold; the message says what was found and what is expected."""


class ConformanceError(PluginError):
    """Some checks failed; the message names each with its reason."""


@dataclass(frozen=True)
class Case:
    """One named check on one plugin; calling it raises where that fails, and else says what was tried."""

    name: str
    run: Callable[[], str | None]

    def __call__(self) -> str:
        return self.run() or ""


@dataclass(frozen=True)
class Result:
    """What became of one check; of one that passed the message says what was tried, where that differs from
    run to run."""

    name: str
    outcome: Outcome
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("passed", "expected failure", "skipped")


def require(condition: object, message: str) -> None:
    """Raise `UnmetError` with the message unless the condition holds."""
    if not condition:
        raise UnmetError(message)


def check_names(cases: Sequence[Case], expected_failures: Mapping[str, str]) -> None:
    """Raises `UsageError` for an expected failure that names no check: it would excuse nothing."""
    known = [case.name for case in cases]
    for name in expected_failures:
        if name not in known:
            raise UsageError(f"There is no conformance check {name!r}. {did_you_mean(name, known)}")


def run_cases(
    cases: Sequence[Case], *, expected_failures: Mapping[str, str] | None, raises: bool, name: str
) -> list[Result]:
    """Run all, whatever some of them do. Raises `ConformanceError` at the end where ``raises`` is set."""
    expected = expected_failures or {}
    check_names(cases, expected)
    results = [_run(case, expected.get(case.name)) for case in cases]
    wrong = [result for result in results if not result.ok]
    if raises and wrong:
        lines = "".join(f"\n  {result.name}: {result.message}" for result in wrong)
        raise ConformanceError(f"{name} fails {len(wrong)} of {len(results)} conformance checks:{lines}")
    return results


def _run(case: Case, excuse: str | None) -> Result:
    try:
        tried = case()
    except NotApplicable as reason:
        return Result(case.name, "skipped", str(reason))
    except Exception as error:
        if excuse is not None:
            return Result(case.name, "expected failure", excuse)
        if isinstance(error, UnmetError | PluginError):
            return Result(case.name, "failed", str(error))
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        return Result(case.name, "failed", f"raised {type(error).__name__}: {error} ({where})")
    if excuse is not None:
        return Result(case.name, "unexpected pass", f"passes, though expected to fail: {excuse}")
    return Result(case.name, "passed", tried)


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
    except (SilentError, GoneError, ValueError) as error:
        raise UnmetError(f"gave no answer in another process: {child.death()}") from error
    except FalsefloorError as error:
        raise UnmetError(f"fails in another process: {error}") from error
    finally:
        child.end()
    return answer


def bound(check: Callable[..., str | None], *args: object) -> Case:
    """A check, whose docstring is its name, on these arguments."""
    return Case(str(check.__doc__), lambda: check(*args))


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
