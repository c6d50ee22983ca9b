"""What a module does to one input, as the list of torch operations that its result passed through.

Run once on one input under a dispatch mode, which sees every operation of every module, function, exported
program and script after torch has broken it into its basic ones; so modules that are used twice, functional
calls and residuals need no treatment. What is not seen is what leaves torch (numpy, Python numbers): such a
value is refused where the operation is seen, and else the caller's comparison with the model's answers fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

LOOKS = frozenset(("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "item"))
"""Operations by which a program reads a value: what it does then may be different for another input."""


class UntraceableError(Exception):
    """The module does something that a list of operations does not describe; says what."""


@dataclass(frozen=True)
class Ref:
    """The ``out``-th result of the ``step``-th operation; step -1 is the input."""

    step: int
    out: int = 0


@dataclass(frozen=True)
class Step:
    """One operation. args and kwargs hold a `Ref` where a traced value stood, tensors elsewhere constants."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, given: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.refs: dict[int, Ref] = {id(given): Ref(-1)}
        self.kept: list[Tensor] = [given]  # ids stay theirs while they live
        self.stale: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        seen = [one for one in _tensors((args, kwargs)) if id(one) in self.refs]
        if not seen:
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name in LOOKS:
            raise UntraceableError("what it does depends on values of its input")
        if any(id(one) in self.stale for one in seen):
            raise UntraceableError("it goes on with a tensor that it changed through a view")
        step = Step(
            name.removesuffix("_"), _pure(func), self._swapped(args), dict(self._swapped(kwargs).items())
        )
        changed = _changed(func, args)
        result = func(*args, **kwargs)
        for one in changed:
            shared = one.untyped_storage().data_ptr()
            self.stale |= {
                id(other)
                for other in self.kept
                if other is not one and other.untyped_storage().data_ptr() == shared
            }
        self.steps.append(step)
        for out, one in enumerate(result if isinstance(result, (tuple, list)) else (result,)):
            if isinstance(one, Tensor):
                self.refs[id(one)] = Ref(len(self.steps) - 1, out)
                self.stale.discard(id(one))
                self.kept.append(one)
        return result

    def _swapped(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.refs.get(id(value), value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._swapped(one) for one in value)
        if isinstance(value, dict):
            return {key: self._swapped(one) for key, one in value.items()}
        return value


def trace(module: nn.Module, given: Tensor) -> tuple[list[Step], Ref]:
    """The operations on one input (1, *input), and which of their results is the answer.

    Raises `UntraceableError`; whatever the module itself raises passes through.
    """
    given = given.detach().clone()
    with torch.no_grad(), _Recorder(given) as recorder:
        answer = module(given)
    if not isinstance(answer, Tensor) or id(answer) not in recorder.refs:
        raise UntraceableError("its answer is not computed from its input by operations of torch")
    if id(answer) in recorder.stale:
        raise UntraceableError("it returns a tensor that it changed through a view")
    return recorder.steps, recorder.refs[id(answer)]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)


def _changed(func: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The positional arguments that an operation writes into."""
    return [
        one
        for one, argument in zip(args, func._schema.arguments, strict=False)
        if isinstance(one, Tensor) and argument.alias_info is not None and argument.alias_info.is_write
    ]


def _pure(func: Any) -> Any:
    """The form of an operation that writes nothing: `relu` for `relu_`."""
    name = func._schema.name.removeprefix("aten::")
    if not name.endswith("_") or (name.startswith("_") and name.endswith("__")):
        return func
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    return getattr(packet, func._overloadname, func) if packet is not None else func
