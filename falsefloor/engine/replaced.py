"""Functions, classes and modules under names that are everybody's: noted, and put back where replaced.

What an estimator sets in a module of Python, torch, numpy or ours would be met by whoever computes after it.
"""

from __future__ import annotations

import builtins
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import is_
from types import ModuleType
from typing import Any

import numpy as np
import torch

ALWAYS: tuple[Any, ...] = (
    torch, torch.nn.functional, torch.autograd, torch.linalg, torch.Tensor, torch.nn.Module, np, np.random,
    np.linalg, random, builtins, os, time,
)  # fmt: skip
"""Where whatever is replaced is put back, and elsewhere what can be called. Names that are added to a module
are left there."""
PYTHONS = frozenset((
    "bisect", "cmath", "collections", "contextlib", "copy", "dataclasses", "functools", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "json.decoder", "json.encoder", "logging", "math", "operator",
    "pathlib", "pickle", "queue", "re", "select", "shutil", "signal", "socket", "statistics", "struct",
    "subprocess", "tempfile", "threading", "traceback", "types", "warnings", "weakref", "zlib",
))  # fmt: skip
"""What we and plugins use of Python's own."""
ROOTS = sys.stdlib_module_names | {"falsefloor", "numpy", "scipy", "torch"}
"""Whose modules stay the modules that they are."""
_Names = dict[str, Any]
_noted: dict[int, tuple[Any, _Names, list[Any]]] = {}
"""What stood in each place when it was last looked at, and in its order, by its id; looked at again before
every unit."""
_places: list[Any] = []
_builtins: _Names = {}
_known = 0


def note() -> dict[str, Any]:
    """Remember what stands where, and return the modules that are loaded. To be called before each unit."""
    global _known  # finding the places takes as long as a hundred comparisons
    if _known != len(sys.modules):
        _known, _places[:] = len(sys.modules), [*_found()]
    for place in _places:
        known = _noted.get(id(place))
        if known is None or not _same(place, known[2]):
            _noted[id(place)] = place, dict(vars(place)), [*vars(place).values()]
    _builtins.update(vars(builtins))
    return dict(sys.modules)


def put_back(modules: Mapping[str, Any]) -> None:
    """Put back what was replaced since `note`, which returned these modules. Never raises."""
    builtins.__dict__.update(_builtins)  # first, and by none of them: what follows calls them
    if not all(map(is_, map(sys.modules.get, modules), modules.values())):
        for name, module in modules.items():
            if sys.modules.get(name) is not module and name.partition(".")[0] in ROOTS:
                sys.modules[name] = module
    for place in _places:
        _, before, values = _noted[id(place)]
        if not _same(place, values):
            _restore(place, before, everything=place in ALWAYS)


def _found() -> Iterator[Any]:
    """The namespaces to look at: of Python and torch the modules, of our own the classes too."""
    yield from ALWAYS
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or module in ALWAYS:
            continue
        if name in PYTHONS or name.startswith(("torch.nn.", "falsefloor.")):
            yield module
        if name.startswith("falsefloor."):
            yield from _classes(module)


def _classes(module: ModuleType) -> Iterable[type]:
    return {
        one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__
    }


def _same(place: Any, values: list[Any]) -> bool:
    try:
        return [*vars(place).values()] == values  # by identity first, four times as fast as asking for it
    except Exception:
        return False


def _restore(place: Any, before: _Names, *, everything: bool) -> None:
    """What stood under each name; of names that came to a class, those that hide an inherited one."""
    now = vars(place)
    is_class = isinstance(place, type)
    for name, value in before.items():
        acts = everything or callable(value) or isinstance(value, ModuleType)
        if now.get(name, place) is not value and acts and (is_class or not name.startswith("_")):
            _attempt(setattr, place, name, value)
    if is_class:
        inherited = {name for base in place.__mro__[1:] for name in vars(base)}
        for name in [name for name in now if name not in before and name in inherited]:
            _attempt(delattr, place, name)


def _attempt(how: Callable[..., object], *what: Any) -> None:
    try:  # contextlib's may be what was replaced
        how(*what)
    except (AttributeError, TypeError):
        return
