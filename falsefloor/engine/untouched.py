"""Whether a subject is what it was: noted when it is made, compared after each unit that was given it.

An estimator gets the subject itself, not a copy, and one that leaves a hook, a weight or a flag behind would
make the next estimate wrong, which would then be the one that is blamed.
"""

from __future__ import annotations

import contextlib
import operator
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from falsefloor.subjects.subject import FILL, ModelSubject

_MOVING = {"answers", "forward_queries", "backward_queries", "calls", "_reaches", "_sightings", "_takes_one"}
"""What a `ModelSubject` counts and keeps itself."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_ABSENT = object()
DEEP, MANY = 6, 10_000
"""How deep tables in tables are looked into, and up to how many entries each."""
MOST_CALLS = 512
PATIENCE = 5.0
"""How often, and for how many seconds, a subject is asked to see what it changes of itself."""
Place = tuple[str, str]
"""A module's name, or a class's, and what of it."""


class Pool:
    """Copies of tensors, of equal ones only one: composed subjects share their model's weights."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], list[Tensor]] = {}

    def copy(self, tensor: Tensor) -> Tensor:
        same = self._kept.setdefault((tensor.dtype, tensor.shape, tensor.device), [])
        found = next((one for one in same if _equal(one, tensor)), None)
        if found is None:
            found = tensor.detach().clone()
            same.append(found)
        return found


class Untouched:
    """A module with all its parts at one moment. A lazy part, a meta tensor and what cannot be compared are
    left out."""

    def __init__(self, module: nn.Module, pool: Pool | None = None) -> None:
        pool = Pool() if pool is None else pool
        self._parts = _all_parts(module)
        self._attributes = {name: _attributes(part) for name, part in self._parts.items()}
        self._tensors = {
            place: (tensor, type(tensor), pool.copy(tensor), tensor.requires_grad)
            for place, tensor in _tensors(self._parts)
        }
        self._kinds = {name: type(part) for name, part in self._parts.items()}
        kinds = {kind for one in self._kinds.values() for kind in one.__mro__[:-1]}
        self._classes = {kind: dict(vars(kind)) for kind in kinds}
        self._bodies = {
            (kind.__qualname__, key): (function, _body(function))
            for kind, names in self._classes.items()
            for key, function in names.items()
            if isinstance(function, FunctionType)
        }
        named = {kind.__module__ for kind in kinds if not kind.__module__.startswith("torch.")}
        homes = [home for name in named if isinstance(home := sys.modules.get(name), ModuleType)]
        self._homes = [(home, _settled(home)) for home in homes]
        self.ignored: set[Place] = set()
        """Places that the module itself changes whenever it is asked."""

    def changes(self) -> dict[Place, str]:
        """What is not as it was, in words, by its place.

        Without words: data of a class or of its file, which FF105 tells of where it makes the answers differ.
        """
        found: dict[Place, str] = {}
        for name, kind in self._kinds.items():
            if type(self._parts[name]) is not kind:
                found[name, "__class__"] = f"the class of {_where(name, self._parts[name])}"
        for name, before in self._attributes.items():
            if _untouched(self._parts[name], before):
                continue
            now = vars(self._parts[name])
            moving = _MOVING if isinstance(self._parts[name], ModelSubject) else set()
            for key in {*before, *now} - moving:
                if key not in now or key not in before or not before[key].is_still(now[key]):
                    found[name, key] = _said(name, key, self._parts[name])
        for (name, key), (tensor, own, values, flag) in self._tensors.items():
            if type(tensor) is not own or not _equal(tensor, values):
                found[name, key] = f"the values of {_dotted(name, key)}"
            elif tensor.requires_grad != flag:
                found[name, key] = f"requires_grad of {_dotted(name, key)}"
        for kind, names in self._classes.items():
            if not _same_names(vars(kind), names):
                for key in {*names, *vars(kind)}:
                    now, was = vars(kind).get(key, _ABSENT), names.get(key, _ABSENT)
                    if now is not was and not str(getattr(now, "__module__", "")).startswith("torch."):
                        acts = any(callable(one) or hasattr(one, "__get__") for one in (now, was))
                        said = f"{key} of the class {kind.__qualname__}" if acts else ""
                        found[kind.__qualname__, key] = said
        for (owner, key), (function, body) in self._bodies.items():
            if _body(function) != body:
                found[owner, key] = f"{key} of the class {owner}"
        for home, names in self._homes:
            for key, value in names.items():
                if vars(home).get(key, _ABSENT) is not value:
                    said = f"{key} of the module {home.__name__}"
                    found[home.__name__, key] = said if callable(value) else ""
        return {place: words for place, words in found.items() if place not in self.ignored}

    def restore(self) -> None:
        """Put back what is not as it was, as far as that can be done in place."""
        self.restore_classes()
        for name, part in self._parts.items():
            with contextlib.suppress(Exception):
                if type(part) is not self._kinds[name]:
                    part.__class__ = self._kinds[name]
                _put_back(part.__dict__, self._attributes[name])
        with torch.no_grad():
            for tensor, own, before, flag in self._tensors.values():
                with contextlib.suppress(Exception):
                    if type(tensor) is not own:
                        tensor.__class__ = own
                    if not _equal(tensor, before):
                        tensor.detach().copy_(before)
                    if tensor.requires_grad != flag:
                        tensor.requires_grad_(flag)

    def restore_classes(self) -> None:
        """Put back what classes of its parts had under each name, and functions of the files that they come
        from: they are other modules' too."""
        for home, names in self._homes:
            for key, value in names.items():
                if vars(home).get(key, _ABSENT) is not value and (home.__name__, key) not in self.ignored:
                    setattr(home, key, value)
        for function, body in self._bodies.values():
            if _body(function) != body:
                function.__code__, function.__defaults__, function.__kwdefaults__ = body
        for kind, names in self._classes.items():
            if _same_names(vars(kind), names):
                continue
            for key in {*names, *vars(kind)}:
                if (kind.__qualname__, key) in self.ignored:
                    continue
                if vars(kind).get(key, _ABSENT) is names.get(key, _ABSENT):
                    continue
                with contextlib.suppress(AttributeError, TypeError):
                    if key in names:
                        setattr(kind, key, names[key])
                    else:
                        delattr(kind, key)


def moved_by_itself(subject: ModelSubject, noted: Untouched, inputs: Tensor, *, calls: int) -> set[Place]:
    """What a subject that was just made changes of itself when it is asked ``calls`` times."""
    until = time.monotonic() + PATIENCE
    for call in range(min(calls, MOST_CALLS)):
        points = inputs[:FILL].detach().clone().requires_grad_(call % 2 == 1)
        with contextlib.suppress(Exception), torch.set_grad_enabled(call % 2 == 1):
            logits = subject(points)
            if points.requires_grad:
                torch.autograd.grad(logits.sum(), points)
        if time.monotonic() > until:
            break
    return {*noted.changes()}


class _Same:
    """Compares a value as it stood: plain ones, arrays and tables by what is in them, everything else by
    identity."""

    __slots__ = ("array", "deeper", "inside", "value")

    def __init__(self, value: Any, depth: int = 0) -> None:
        self.value = value
        self.inside: list[Any] | None = None if type(value) in _PLAIN else _inside(value)
        self.array = value.copy() if isinstance(value, np.ndarray) and not value.dtype.hasobject else None
        self.deeper: list[_Same] = []
        """What is in it and can be changed there."""
        if self.inside and depth < DEEP and len(self.inside) <= MANY:
            made = (_Same(one, depth + 1) for one in self.inside if type(one) not in _PLAIN)
            self.deeper = [one for one in made if one.inside is not None or one.array is not None]

    def changed(self) -> bool:
        """Whether what is in it, or in what is in it, is not what it was."""
        if self.array is not None:
            now = self.value
            same = now.dtype == self.array.dtype and now.shape == self.array.shape
            return not same or bool(now.tobytes() != self.array.tobytes())
        if self.inside is None:
            return False
        now = _inside(self.value) or []
        if len(now) != len(self.inside) or not all(map(operator.is_, now, self.inside)):
            return True
        return any(one.changed() for one in self.deeper)

    def is_still(self, value: Any) -> bool:
        """Whether ``value``, which stands there now, is what stood there."""
        if type(self.value) in _PLAIN:
            return type(value) is type(self.value) and (value == self.value or value != value)
        return value is self.value and not self.changed()

    def put_back(self) -> None:
        """Let it hold what it held."""
        if not self.changed():
            return
        for one in self.deeper:
            one.put_back()
        value, inside = self.value, self.inside or []
        if self.array is not None:
            value[...] = self.array
        elif isinstance(value, list):
            value[:] = inside
        elif isinstance(value, set):
            value.clear()
            value.update(inside)
        elif not isinstance(value, tuple):
            table = value if isinstance(value, dict) else vars(value)
            table.clear()
            table.update(zip(inside[::2], inside[1::2], strict=True))


def _inside(value: Any) -> list[Any] | None:
    """What a table, or an object that is one, holds."""
    if isinstance(value, list | set | tuple):
        return [*value]
    if isinstance(value, SimpleNamespace) or (is_dataclass(value) and not isinstance(value, type)):
        value = getattr(value, "__dict__", None)
    return [part for pair in value.items() for part in pair] if isinstance(value, dict) else None


def _untouched(part: nn.Module, before: Mapping[str, _Same]) -> bool:
    """Whether everything stands there as it did, and tables hold what they held; a quick no is no answer."""
    now = vars(part)
    if len(now) != len(before):
        return False
    for key, was in before.items():
        if now.get(key, _ABSENT) is not was.value:
            return False
        if (was.inside or was.array is not None or (was.inside is not None and was.value)) and was.changed():
            return False
    return True


def _attributes(part: nn.Module) -> dict[str, _Same]:
    """What stands in a module beside the numbers in its tensors."""
    moving = _MOVING if isinstance(part, ModelSubject) else ()
    return {key: _Same(value) for key, value in vars(part).items() if key not in moving}


def _all_parts(module: nn.Module) -> dict[str, nn.Module]:
    """Every module below it by its name, those in plain lists and tables too."""
    found = dict(module.named_modules())
    for name, part in list(found.items()):
        for path, one in _held(part, nn.Module):
            for below, deeper in one.named_modules():
                if not any(deeper is known for known in found.values()):
                    found[f"{name}.{path}.{below}".strip(".")] = deeper
    return found


def _held(part: nn.Module, kind: type[Any]) -> Iterable[tuple[str, Any]]:
    """What of a kind stands in a module's attributes and in the tables there, with its path."""
    for key, value in vars(part).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            yield from _found(value, kind, key, 0)


def _found(value: Any, kind: type[Any], path: str, depth: int) -> Iterable[tuple[str, Any]]:
    if isinstance(value, kind):
        yield path, value
    elif type(value) not in _PLAIN and depth < DEEP and 0 < len(inside := _inside(value) or []) <= MANY:
        for at, one in enumerate(inside):
            yield from _found(one, kind, f"{path}[{at}]", depth + 1)


def _tensors(parts: Mapping[str, nn.Module]) -> Iterable[tuple[Place, Tensor]]:
    seen: set[int] = set()
    for name, part in parts.items():
        for key, tensor in [*part._parameters.items(), *part._buffers.items(), *_held(part, Tensor)]:
            if tensor is None or id(tensor) in seen or not _readable(tensor):
                continue
            seen.add(id(tensor))
            yield (name, key), tensor


def _body(function: FunctionType) -> tuple[Any, Any, Any]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _settled(home: ModuleType) -> dict[str, Any]:
    """What can be called of the file that a class comes from, and its plain values; a notebook's are its
    user's, who goes on with them."""
    plain = () if home.__name__ == "__main__" else _PLAIN
    return {
        key: value
        for key, value in vars(home).items()
        if not key.startswith("__") and (callable(value) or type(value) in plain)
    }


def _readable(tensor: Tensor) -> bool:
    strided = tensor.layout is torch.strided and tensor.device.type != "meta"
    return strided and not nn.parameter.is_lazy(tensor)


def _equal(a: Tensor, b: Tensor) -> bool:
    try:
        if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
            return False
        if torch.equal(a, b):
            return True
        return a.is_floating_point() and bool(((a == b) | (a != a) & (b != b)).all())
    except Exception:
        return True  # what cannot be compared is nobody's fault


def _same_names(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return len(now) == len(before) and all(now.get(key, _ABSENT) is one for key, one in before.items())


def _put_back(now: dict[str, Any], before: Mapping[str, _Same]) -> None:
    for key in [key for key in now if key not in before and key not in _MOVING]:
        del now[key]
    for key, was in before.items():
        if now.get(key, _ABSENT) is not was.value:
            now[key] = was.value
        was.put_back()


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}".removeprefix("module.").removeprefix(".")


def _where(name: str, part: nn.Module) -> str:
    return name.removeprefix("module").removeprefix(".") or type(part).__name__


def _said(name: str, key: str, part: nn.Module) -> str:
    where = _where(name, part)
    if key == "training":
        return f"the mode of {where}"
    if key.endswith("_hooks") or "_hooks_" in key:
        return f"the hooks of {where}"
    if key in ("_parameters", "_buffers", "_modules"):
        return f"the {key[1:]} of {where}"
    return f"{key} of {where}"
