"""Kinks: the calls of a forward behind which a part of a function may be hidden, and what goes into them.

A torch function mode sees them whoever makes the call: function, module, method, operator, exported graph.
Module hooks miss `torch.relu`. What torch does not dispatch stays unseen: TorchScript, numpy, fused kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FLAT_BELOW = frozenset(
    {"relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "prelu", "rrelu", "softplus"}
)
_SIDES: dict[str, tuple[tuple[float, float], ...]] = {
    **dict.fromkeys(_FLAT_BELOW, ((0.0, -1.0),)),
    "relu6": ((0.0, -1.0), (6.0, 1.0)),
    "hardswish": ((-3.0, -1.0), (3.0, 1.0)),
    "hardsigmoid": ((-3.0, -1.0), (3.0, 1.0)),
    **dict.fromkeys(("sigmoid", "tanh", "logsigmoid", "softsign"), ((-3.0, -1.0), (3.0, 1.0))),
    **dict.fromkeys(("abs", "absolute", "sign", "sgn", "heaviside"), ((0.0, 0.0),)),
    # beyond these there is no finite answer
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt", "reciprocal"), ((0.0, 0.0),)),
    "log1p": ((-1.0, 0.0),),
    **dict.fromkeys(("acos", "asin", "arccos", "arcsin", "atanh", "arctanh"), ((-1.0, 0.0), (1.0, 0.0))),
    "exp": ((88.0, -1.0),),
}
"""Threshold, and the side on which nothing of the other is felt: below, above or, 0, either."""
_PAIRS = frozenset({"gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"}) | {
    "maximum",
    "minimum",
    "fmax",
    "fmin",
}
_CLAMPS = frozenset({"clamp", "clip", "hardtanh", "clamp_min", "clamp_max", "threshold"})
_QUOTIENTS = frozenset({"div", "divide", "true_divide", "truediv"})


class Watch(TorchFunctionMode):
    """Tells ``note`` of each call with a kink: its name with its side, and its values less the threshold, (R,
    units), for forwards of R rows."""

    def __init__(self, rows: int, note: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._rows, self._note = rows, note

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = stem_of(getattr(func, "__name__", ""))
        if name in _WATCHED and args and torch._C._functorch.peek_interpreter_stack() is None:
            for value, threshold, side in _values(name, args, kwargs):
                self._tell(f"{name}|{side}", value, threshold)
        return func(*args, **kwargs)

    def _tell(self, name: str, value: Tensor, threshold: Any) -> None:
        if isinstance(threshold, Tensor) and threshold.ndim > value.ndim:
            value = value + torch.zeros_like(threshold)
        if not (value.is_floating_point() and value.ndim and value.shape[0] == self._rows and value.numel()):
            return
        less = value if type(threshold) is float and threshold == 0 else value - threshold
        if less.shape[0] == self._rows:
            self._note(name, less.reshape(self._rows, -1))


_WATCHED = frozenset(_SIDES) | _PAIRS | _CLAMPS | _QUOTIENTS


def _values(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Tensor, Any, float]]:
    """(value, threshold, side) of a call, as `_SIDES` has them; nothing where no tensor is compared."""
    value = args[0]
    if name in _SIDES:
        return [(value, *one) for one in _SIDES[name]] if isinstance(value, Tensor) else []
    other = args[1] if len(args) > 1 else kwargs.get("other")
    if name in _PAIRS:
        if not isinstance(value, Tensor):
            value, other = other, value
        return [(value, other, 0.0)] if isinstance(value, Tensor) and other is not None else []
    if name in _QUOTIENTS:
        return [(other, 0.0, 0.0)] if isinstance(other, Tensor) and other.ndim else []
    if not isinstance(value, Tensor):
        return []
    low, high = _limits(name, args[1:], kwargs)
    return [(value, edge, side) for edge, side in ((low, -1.0), (high, 1.0)) if edge is not None]


def _limits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    first = args[0] if args else None
    if name == "threshold":
        return first if args else kwargs.get("threshold"), None
    if name == "clamp_max":
        return None, first if args else kwargs.get("max")
    low = first if args else kwargs.get("min", kwargs.get("min_val"))
    if name == "clamp_min":
        return low, None
    high = args[1] if len(args) > 1 else kwargs.get("max", kwargs.get("max_val"))
    if name == "hardtanh":
        return (-1.0 if low is None else low), (1.0 if high is None else high)
    return low, high


@functools.cache
def stem_of(name: str) -> str:
    """The operation that a function of torch's stands for: `Tensor.relu_`, `__gt__`, `aten.relu.default`."""
    stem = name.split(".")[0]
    if stem.startswith("__") and stem.endswith("__"):
        return stem[2:-2]
    return stem.removesuffix("_")
