"""What the kits watch while a plugin is at work: output, shared randomness, the model, the process."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from falsefloor.testing.common import UnmetError, require

WATCHED = ("torch", "torch.nn.functional", "torch.autograd", "torch.linalg", "numpy", "time", "random")
"""Modules whose functions everybody uses; beside our own, whose names begin with falsefloor."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Fails where something inside prints: stdout belongs to the program's data."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        yield
    require(not out.getvalue(), f"prints to stdout when it runs: {out.getvalue()[:80]!r}; use context.warn")


@contextlib.contextmanager
def noted(found: list[str]) -> Iterator[None]:
    """Adds to a list what a watch inside says, for the check that asks for it."""
    try:
        yield
    except UnmetError as error:
        found.append(str(error))


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Fails where something inside draws from a generator that everybody shares."""
    before = _drawn()
    yield
    for name, state in _drawn().items():
        require(
            state == before[name],
            f"draws from {name}'s global generator; pass generator=context.generators[i], or its results"
            " depend on whatever ran before",
        )


def _drawn() -> dict[str, object]:
    return {
        "torch": bytes(torch.get_rng_state().numpy()),
        "numpy": str(np.random.get_state()),
        "random": random.getstate(),
    }


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Fails where something inside changes a model: weights, buffers, mode, hooks, attributes, classes."""
    before = _state(module)
    yield
    after = _state(module)
    for name, value in before.items():
        same = name in after and (
            torch.equal(value, after[name]) if isinstance(value, torch.Tensor) else value == after[name]
        )
        require(same, f"changes the model ({name}); work on a copy, restore what must be changed")
    more = sorted(after.keys() - before.keys())
    require(not more, f"adds to the model: {', '.join(more[:5])}")


def _state(module: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in module.named_modules():
        found[f"the mode of {name!r}"] = part.training
        hooks = (value for key, value in vars(part).items() if "hook" in key and isinstance(value, Mapping))
        found[f"the hooks of {name!r}"] = [list(group) for group in hooks]
        for key, value in vars(part).items():
            if key.startswith("_") or isinstance(value, int):
                continue  # torch's own tables are read above and below; a count of calls may go up
            found[f"the attribute {key!r} of {name!r}"] = id(value)
        for depth, kind in enumerate(type(part).__mro__):
            for key, value in vars(kind).items():
                if callable(value):  # two of these classes may have one name
                    found[f"{kind.__name__}.{key} of {name!r}" + ", of a base" * bool(depth)] = id(value)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found[name] = tensor.detach().clone()
        found[f"requires_grad of {name}"] = tensor.requires_grad
        # A frozen weight collects no gradient; one that appears was made by unfreezing it.
        found[f"the gradient of {name}"] = tensor.grad is None
    return found


@contextlib.contextmanager
def process_as_it_was() -> Iterator[None]:
    """Fails where something inside changes the process: functions of others, torch's modes, environment."""
    before = _process()
    yield
    after = _process()
    changed = (name for name, value in before.items() if after.get(name, value) != value)
    wrong = next((name for name in changed if not _own(name)), None)
    require(wrong is None, f"changes {wrong} for the whole process; put it back, or work on what is yours")


def _process() -> dict[str, object]:
    found: dict[str, object] = {
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default type": torch.get_default_dtype(),
        "torch's threads": torch.get_num_threads(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "the working directory": os.getcwd(),  # noqa: PTH109  (compared as it is)
    }
    # a library that is imported late may add variables of its own
    found |= {f"{name} in the environment": value for name, value in os.environ.items()}
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name in WATCHED or name.partition(".")[0] == "falsefloor"):
            for key, value in list(vars(module).items()):
                if callable(value):
                    found[f"{name}.{key}"] = id(value)
    return found


def _own(name: str) -> bool:
    """Whether a library put another function of its own there, as torch wraps `manual_seed` when its compiler
    is imported."""
    module, _, key = name.rpartition(".")
    file = getattr(getattr(getattr(sys.modules.get(module), key, None), "__code__", None), "co_filename", "")
    home = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    return home is not None and Path(home).parent in Path(file).parents
