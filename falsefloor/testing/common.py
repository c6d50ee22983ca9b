"""Checks that plugins of every kind share: the contract, parameters, silence, other people's randomness."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from falsefloor.api import NotApplicable
from falsefloor.options import fill, read_options
from falsefloor.plugins.contract import inspect_plugin
from falsefloor.testing.results import Case, require

IMPORT_LIMIT = 120.0
"""Seconds an import may take: torch from a cold disk takes ten."""


def common_cases(kind: str, plugin: object) -> list[Case]:
    """The checks on the class itself, whatever its kind."""
    cls = type(plugin) if kind != "check" else plugin
    return [
        Case("contract", lambda: _contract(kind, cls)),
        Case("parameters survive a round trip", lambda: _round_trip(plugin)),
        Case("importing it is silent", lambda: _silent_import(type(plugin), torch_free=kind == "check")),
    ]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Fails where something inside prints: stdout belongs to the program's data."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        yield
    require(not out.getvalue(), f"prints to stdout when it runs: {out.getvalue()[:80]!r}; use context.warn")


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Fails where something inside draws from torch's global generator."""
    before = torch.get_rng_state()
    yield
    require(
        torch.equal(before, torch.get_rng_state()),
        "draws from torch's global generator; pass generator=context.generators[i], or its results depend"
        " on whatever ran before",
    )


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Fails where something inside changes a model: its weights, mode, hooks or frozen parameters."""
    before = _state(module)
    yield
    after = _state(module)
    for name, value in before.items():
        same = name in after and (
            torch.equal(value, after[name]) if isinstance(value, torch.Tensor) else value == after[name]
        )
        require(same, f"changes the model ({name}); work on a copy, restore what must be changed")
    require(len(before) == len(after), "adds parameters, buffers or submodules to the model")


def _state(module: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {f"the mode of {name!r}": part.training for name, part in module.named_modules()}
    for name, part in module.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        found[f"the hooks of {name!r}"] = [len(group) for group in hooks]
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found[name] = tensor.detach().clone()
        found[f"requires_grad of {name}"] = tensor.requires_grad
        # A frozen weight collects no gradient; one that appears was made by unfreezing it.
        found[f"the gradient of {name}"] = tensor.grad is None
    return found


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
