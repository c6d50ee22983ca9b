"""What a module does to one input, as the list of torch operations that its result passed through.

Run once on one input under a dispatch mode, which sees every operation of every module, function, exported
program and script after torch has broken it into its basic ones; so modules that are used twice, functional
calls and residuals need no treatment. What is not seen is what leaves torch (numpy, Python numbers): such a
value is refused where the operation is seen, and else the caller's comparison with the model's answers fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")

LOOKS = frozenset(("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "item"))
"""Operations by which a program reads a value: what it does then may be different for another input."""

FRESH = frozenset([
    "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
])  # fmt: skip
"""Operations that take a value's shape and none of its numbers."""


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
        seen = [one for one in leaves((args, kwargs), Tensor) if id(one) in self.refs]
        name = func._schema.name.removeprefix("aten::")
        if not seen or name in FRESH:
            return func(*args, **kwargs)
        if name in LOOKS:
            raise UntraceableError("what it does depends on values of its input")
        if any(id(one) in self.stale for one in seen):
            raise UntraceableError("it goes on with a tensor that it changed through a view")
        changed = _changed(func, args)
        written = {id(one) for one in changed} - self.refs.keys()
        # a constant that this operation writes into, as zeros that sums are added to, is what it was before
        given = tuple(one.clone() if id(one) in written else one for one in args)
        step = Step(name.removesuffix("_"), _pure(func), self._swapped(given), self._swapped(kwargs))
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
        return mapped(value, Tensor, lambda one: self.refs.get(id(one), one))


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


def leaves(value: Any, kind: type[T]) -> list[T]:
    """What of ``kind`` an operation's arguments hold, in order."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for one in value for found in leaves(one, kind)] if isinstance(value, (tuple, list)) else []


def mapped(value: Any, kind: type[T], change: Callable[[T], Any]) -> Any:
    """An operation's arguments with what is of ``kind`` changed, in order."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(one, kind, change) for key, one in value.items()}
    return (
        type(value)(mapped(one, kind, change) for one in value) if isinstance(value, (tuple, list)) else value
    )


def constants(value: Any) -> Any:
    """With every constant in float64 on the CPU."""
    return mapped(
        value, Tensor, lambda one: one.detach().cpu().double() if one.is_floating_point() else one.cpu()
    )


def filled(value: Any, given: list[Tensor]) -> Any:
    """With these values in place of their references, in order."""
    left = iter(given)
    return mapped(value, Ref, lambda _: next(left))


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
