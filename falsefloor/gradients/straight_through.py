"""Rounding, signs, integer casts and detached tensors with the gradient of what went into them.

The straight-through estimator (Bengio et al. 2013), put under a model that does not know of it: a torch
function mode sees every operation of a forward, keeps its output bit for bit and replaces its backward,
which is the backward pass differentiable approximation of Athalye, Carlini & Wagner (2018) for operations
whose derivative is zero or missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from falsefloor.api import Subject
from falsefloor.numerics.kinks import stem_of

# y = x up to rounding: the gradient of x
_IDENTITY = frozenset({"ceil", "floor", "round", "trunc", "fix", "sign", "sgn"})
# x minus its rounded part: if rounding is the identity, the rest does not depend on x
_REST = frozenset({"frac", "remainder", "fmod", "mod"})
# x / y up to rounding: the gradient of the true quotient
_QUOTIENT = frozenset({"floor_divide", "floordiv"})
_DIVISION = frozenset({"div", "divide"})
_CASTS = frozenset({"to", "type", "type_as", "int", "long", "short", "byte", "char", "_to_copy"})
_DETACH = frozenset({"detach", "alias"})
# out of torch: these refuse tensors that require a gradient, and take no gradient with them
_LEAVE = frozenset(
    {"numpy", "__array__", "__dlpack__", "tolist", "item", "__float__", "__int__", "__index__", "__bool__"}
)


# what calls raise that were given floats for integers, or tensors with a history for ones without
_REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class StraightThrough:
    """The identity's gradient wherever an operation rounds, casts to an integer, takes a sign or detaches.

    Not repaired, since nothing differentiable is left to lead the gradient through: comparisons, bucketize,
    argmax, `torch.no_grad`, numpy, TorchScript, and custom functions that return zero themselves. A clamp's
    zero is a true zero and stays.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        """(N, *input) to logits (N, K): the subject's bits, the repaired gradient."""

        faithful: list[bool] = []

        def function(inputs: Tensor) -> Tensor:
            if not (inputs.requires_grad and torch.is_grad_enabled()):
                return subject(inputs)
            if not faithful:
                faithful.append(_faithful(subject, inputs))
            if faithful[0]:
                # a forward that only works without the mode keeps its own gradient; if it works in neither,
                # its own error is the one to see
                with contextlib.suppress(*_REFUSALS), _Repair():
                    return subject(inputs)
            return subject(inputs)

        return function


def _faithful(subject: Subject, like: Tensor) -> bool:
    """Whether the mode keeps the bits at two fixed points of the box.

    Code that torch calls do not reach, such as a custom function handed integers, may see floats in their
    place. Points of the box, not the first inputs: the answer must not depend on who comes first. Where the
    subject does not repeat itself nothing can be compared.
    """
    lo, hi = (bound.to(like) for bound in subject.bounds)
    draws = torch.rand(2, *like.shape[1:], generator=torch.Generator().manual_seed(0)).to(like)
    # as many rows as were given: an exported model may take no other number
    probes = (lo + draws * (hi - lo))[torch.arange(len(like)) % 2]
    with torch.no_grad():
        plain = subject(probes)
    with contextlib.suppress(*_REFUSALS):
        with _Repair():
            repaired = subject(probes.clone().requires_grad_()).detach()
        if not _same(plain, repaired):
            with torch.no_grad():
                return not _same(plain, subject(probes))
    return True


def _same(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and bool(((first == second) | (first.isnan() & second.isnan())).all())


class _Pass(torch.autograd.Function):
    """The value of ``out`` with the gradient of ``proxy``.

    Not proxy + (out - proxy).detach(): that sum rounds, and breaks sign(x) above 2 ** 24.
    """

    @staticmethod
    def forward(ctx: Any, proxy: Tensor, out: Tensor) -> Tensor:
        ctx.dtype = proxy.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0].to(ctx.dtype), None


@functools.cache
def _plain(name: str) -> str:
    """By its stem; `__rfloordiv__` and `__imod__` as the operation without the letter."""
    stem = stem_of(name)
    return stem[1:] if name.startswith("__") and stem[1:] in ("floordiv", "mod") else stem


_SEEN = (
    frozenset({"get", "set"})
    | _IDENTITY
    | _REST
    | _QUOTIENT
    | _DIVISION
    | _CASTS
    | _DETACH
    | {_plain(name) for name in _LEAVE}
)


class _Repair(TorchFunctionMode):
    """Sees every torch call of one forward.

    An integer cast yields a float tensor of the integer's value that remembers the integers (``_exact``). A
    call on such a tensor is made twice: on the integers for its value, on the floats for its gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self._integers = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        plain = _plain(name)
        # most calls of a forward are none of these, and this is all they cost
        if plain not in _SEEN and not self._integers:
            return func(*args, **kwargs)
        if name == "__get__" or name == "__set__":
            return self._attribute(func, args, kwargs)
        if kwargs.get("out") is not None or not torch.is_grad_enabled():
            return func(*_exact(args), **_exact(kwargs))
        if name in _LEAVE:
            return func(*_bare(args), **_bare(kwargs))
        if self._integers and (_holds_exact(args) or _holds_exact(kwargs)):
            return self._on_integers(func, plain, args, kwargs)
        first = args[0] if args else kwargs.get("input", kwargs.get("self"))
        if not (isinstance(first, Tensor) or any(isinstance(a, Tensor) for a in args)):
            return func(*args, **kwargs)
        return self._on_floats(func, name, plain, first, args, kwargs)

    def _attribute(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if (
            getattr(func, "__self__", None) is Tensor.data
            and func.__name__ == "__get__"
            and not _holds_exact(args)
        ):
            return _attached(args[0])
        if func.__name__ == "__get__" and getattr(func, "__self__", None) is not Tensor.requires_grad:
            return func(*_exact(args), **kwargs)
        return func(*args, **kwargs)

    def _keep(self, proxy: Tensor, exact: Tensor) -> Tensor:
        """A float tensor of the integer's value, with the proxy's gradient."""
        if not proxy.requires_grad:
            return exact
        self._integers = True
        floats = _through(proxy, exact.to(proxy.dtype))
        floats._exact = exact  # type: ignore[attr-defined]
        return floats

    def _on_floats(
        self, func: Any, name: str, plain: str, first: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if plain in _DETACH and isinstance(first, Tensor):
            return first if name.endswith("detach_") else _attached(first)
        proxy = _proxy(plain, first, args, kwargs)
        if proxy is None:
            out = func(*args, **kwargs)
            if plain in _CASTS and _integral(out) and isinstance(first, Tensor) and first.is_floating_point():
                return self._keep(first, out)
            return out
        if not _in_place(name, plain):
            return _through(proxy, func(*_bare(args), **_bare(kwargs)))
        value = func(first.detach().clone(), *_bare(args[1:]), **_bare(kwargs))
        return first.copy_(_through(proxy, value))

    def _on_integers(self, func: Any, plain: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if plain in _DETACH:
            return args[0]
        out = func(*_exact(args), **_exact(kwargs))
        if not isinstance(out, Tensor) or out.dtype == torch.bool:
            return out
        try:
            proxy = _proxy(plain, args[0], args, kwargs)
            proxy = func(*args, **kwargs) if proxy is None else proxy
        except _REFUSALS:
            return out  # bit operations, indexing: integers only, and no gradient to lead through them
        if not isinstance(proxy, Tensor) or proxy.shape != out.shape or not proxy.is_floating_point():
            return out
        return self._keep(proxy, out) if _integral(out) else _through(proxy, out)


def _in_place(name: str, plain: str) -> bool:
    stem = name.split(".")[0]
    return stem == f"{plain}_" or stem in ("__ifloordiv__", "__imod__")


def _proxy(plain: str, first: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """What the gradient of the call's output shall be that of; None where the call is left alone."""
    rounding = kwargs.get("rounding_mode", args[2] if len(args) > 2 else None)
    if plain in _IDENTITY and isinstance(first, Tensor) and first.is_floating_point():
        return first
    if plain in _QUOTIENT or (plain in _DIVISION and rounding is not None):
        over = args[1] if len(args) > 1 else kwargs.get("other")
        return torch.true_divide(first, over)  # type: ignore[arg-type]
    if plain in _REST and any(isinstance(a, Tensor) and a.is_floating_point() for a in args):
        with torch.no_grad():
            return torch.zeros(())
    return None


def _integral(value: Any) -> bool:
    return isinstance(value, Tensor) and not (
        value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    )


def _through(proxy: Tensor, out: Tensor) -> Tensor:
    if not proxy.requires_grad:
        return out
    value: Tensor = _Pass.apply(proxy, out)  # type: ignore[no-untyped-call]
    return value


def _attached(x: Tensor) -> Tensor:
    """What detach would give, with its history: an alias, or for a leaf, which refuses in-place work, a
    copy."""
    return _through(x, x.detach().clone()) if x.is_leaf else x.view_as(x)


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_map(v, change) for v in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {k: _map(v, change) for k, v in value.items()}
    return value


def _exact(value: Any) -> Any:
    return _map(value, lambda x: getattr(x, "_exact", x))


def _bare(value: Any) -> Any:
    return _map(value, lambda x: getattr(x, "_exact", x).detach())


def _holds_exact(value: Any) -> bool:
    if isinstance(value, Tensor):
        return hasattr(value, "_exact")
    if isinstance(value, tuple | list):
        return any(_holds_exact(v) for v in value)
    if isinstance(value, dict):
        return any(_holds_exact(v) for v in value.values())
    return False
