"""Whether a subject is what it was: noted when it is made, compared after each unit that was given it.

An estimator gets the subject itself, not a copy, and one that leaves a hook, a weight or a flag behind would
make the next estimate wrong, which would then be the one that is blamed.
"""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.subjects.subject import FILL, ModelSubject

_MOVING = {"answers", "forward_queries", "backward_queries", "calls", "_reaches", "_sightings"}
"""What a `ModelSubject` counts and keeps itself."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_ABSENT = object()

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
        self._module = module
        self._parts = dict(module.named_modules())
        self._attributes = {name: _attributes(part) for name, part in self._parts.items()}
        self._tensors = {
            place: (tensor, pool.copy(tensor), tensor.requires_grad)
            for place, tensor in _tensors(self._parts)
        }
        kinds = {kind for part in self._parts.values() for kind in type(part).__mro__[:-1]}
        self._classes = {kind: dict(vars(kind)) for kind in kinds}
        self.ignored: set[Place] = set()
        """Places that the module itself changes whenever it is asked."""

    def changes(self) -> dict[Place, str]:
        """What is not as it was, in words, by its place.

        Without words: data of a class, which FF105 tells of where it makes the answers differ.
        """
        found: dict[Place, str] = {}
        for name, before in self._attributes.items():
            if _untouched(self._parts[name], before):
                continue
            now = _attributes(self._parts[name])
            if now != before:
                for key in {*before, *now}:
                    if now.get(key, _ABSENT) != before.get(key, _ABSENT):
                        found[name, key] = _said(name, key, self._parts[name])
        for (name, key), (tensor, values, flag) in self._tensors.items():
            if not _equal(tensor, values):
                found[name, key] = f"the values of {_dotted(name, key)}"
            elif tensor.requires_grad != flag:
                found[name, key] = f"requires_grad of {_dotted(name, key)}"
        for kind, names in self._classes.items():
            if not _same_names(vars(kind), names):
                for key in {*names, *vars(kind)}:
                    now, was = vars(kind).get(key, _ABSENT), names.get(key, _ABSENT)
                    if now is not was and not str(getattr(now, "__module__", "")).startswith("torch."):
                        acts = callable(now) or callable(was)
                        said = f"{key} of the class {kind.__qualname__}" if acts else ""
                        found[kind.__qualname__, key] = said
        return {place: words for place, words in found.items() if place not in self.ignored}

    def restore(self) -> None:
        """Put back what is not as it was, as far as that can be done in place."""
        self.restore_classes()
        for name, part in self._parts.items():
            with contextlib.suppress(Exception):
                _put_back(part.__dict__, self._attributes[name])
        with torch.no_grad():
            for tensor, before, flag in self._tensors.values():
                with contextlib.suppress(Exception):
                    if not _equal(tensor, before):
                        tensor.detach().copy_(before)
                    if tensor.requires_grad != flag:
                        tensor.requires_grad_(flag)

    def restore_classes(self) -> None:
        """Put back what classes of its parts had under each name: they are other modules' too."""
        for kind, names in self._classes.items():
            if _same_names(vars(kind), names):
                continue
            for key in {*names, *vars(kind)}:
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
    """Compares a value as it stood: plain ones and tables by what is in them, everything else by identity."""

    __slots__ = ("inside", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.inside: list[Any] | None = None
        if isinstance(value, dict):
            self.inside = [*value.items()]
        elif isinstance(value, list | set):
            self.inside = [*value]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same):
            return False
        if type(self.value) in _PLAIN:
            return type(other.value) is type(self.value) and (
                self.value == other.value or self.value != self.value
            )
        return self.value is other.value and _same_inside(self, other)

    def put_back(self) -> None:
        """Let a table hold what it held."""
        if self.inside is not None and not _same_inside(self, _Same(self.value)):
            self.value.clear()
            (self.value.extend if isinstance(self.value, list) else self.value.update)(self.inside)

    __hash__ = None  # type: ignore[assignment]


def _same_inside(one: _Same, other: _Same) -> bool:
    if one.inside is None or other.inside is None:
        return one.inside is other.inside
    mine, its = one.inside, other.inside
    if isinstance(one.value, dict):
        mine, its = [part for pair in mine for part in pair], [part for pair in its for part in pair]
    return len(mine) == len(its) and all(map(operator.is_, mine, its))


def _untouched(part: nn.Module, before: Mapping[str, _Same]) -> bool:
    """Whether everything stands there as it did, and tables hold what they held; a quick no is no answer."""
    now = vars(part)
    if len(now) != len(before):
        return False
    for key, was in before.items():
        if now.get(key, _ABSENT) is not was.value:
            return False
        if was.inside is not None and (was.inside or was.value) and not _same_inside(was, _Same(was.value)):
            return False
    return True


def _attributes(part: nn.Module) -> dict[str, Any]:
    """What stands in a module beside the numbers in its tensors."""
    moving = _MOVING if isinstance(part, ModelSubject) else ()
    return {key: _Same(value) for key, value in vars(part).items() if key not in moving}


def _tensors(parts: Mapping[str, nn.Module]) -> Iterable[tuple[Place, Tensor]]:
    seen: set[int] = set()
    for name, part in parts.items():
        plain = {key: one for key, one in vars(part).items() if isinstance(one, Tensor)}
        for key, tensor in {**part._parameters, **part._buffers, **plain}.items():
            if tensor is None or id(tensor) in seen or not _readable(tensor):
                continue
            seen.add(id(tensor))
            yield (name, key), tensor


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


def _said(name: str, key: str, part: nn.Module) -> str:
    where = name.removeprefix("module").removeprefix(".") or type(part).__name__
    if key == "training":
        return f"the mode of {where}"
    if key.endswith("_hooks") or "_hooks_" in key:
        return f"the hooks of {where}"
    if key in ("_parameters", "_buffers", "_modules"):
        return f"the {key[1:]} of {where}"
    return f"{key} of {where}"
