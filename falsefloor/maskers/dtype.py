"""Finite precision: every function on a computer is a staircase, and these types make the steps visible."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import option
from falsefloor.errors import UsageError
from falsefloor.maskers.masked import Masked, widest

RUNNABLE = {"float16": torch.float16, "bfloat16": torch.bfloat16}
FLOATS = RUNNABLE | {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
INTEGERS = {"uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32}


class CastThere(nn.Module):
    """Casts to a floating point type and back: the derivative passes straight through and looks healthy."""

    def __init__(self, *, to: str) -> None:
        super().__init__()
        self.to_name = to

    def forward(self, t: Tensor) -> Tensor:
        return t.to(FLOATS[self.to_name]).to(t.dtype)

    def extra_repr(self) -> str:
        return f"to={self.to_name}"


class CastToInteger(nn.Module):
    """h(t) = round(scale·t)/scale, clamped to the type's range before the cast, which cuts the graph.

    Float64 holds every int32 and puts k/255 in float32 back on k.
    """

    def __init__(self, *, to: str, scale: float) -> None:
        super().__init__()
        self.to_name = to
        self.scale = scale

    def forward(self, t: Tensor) -> Tensor:
        kind = INTEGERS[self.to_name]
        limits = torch.iinfo(kind)
        whole = (widest(t, torch.float64) * self.scale).round().clamp(limits.min, limits.max).to(kind)
        return whole.double() / self.scale

    def extra_repr(self) -> str:
        return f"to={self.to_name}, scale={self.scale}"


class RunIn(nn.Module):
    """Runs ``part`` in another floating point type; its tensors go there, the output comes back."""

    def __init__(self, part: nn.Module, *, to: str) -> None:
        super().__init__()
        self.to_name = to
        floats = (value.dtype for value in part.state_dict().values() if value.is_floating_point())
        self.home = next(floats, torch.get_default_dtype())
        self.part = part.to(RUNNABLE[to])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        kind = RUNNABLE[self.to_name]
        tensors = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point())
        home = next((x.dtype for x in tensors), self.home)
        named = {key: _cast(value, kind) for key, value in kwargs.items()}
        return _cast(self.part(*(_cast(value, kind) for value in args), **named), home)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RunIn:
        """What `to`, `double` and their like call: the part changes device, but stays in its type."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.part.to(RUNNABLE[self.to_name])
        return self

    def extra_repr(self) -> str:
        return f"to={self.to_name}"


def _cast(value: Any, kind: torch.dtype) -> Any:
    return value.to(kind) if isinstance(value, Tensor) and value.is_floating_point() else value


@dataclass(frozen=True)
class Dtype:
    """Another number type: on a digital computer every function is a staircase (Goodfellow 2018, §4).

    At the input and at the logits values are cast there and back; elsewhere the part itself runs in that
    type, which float16 and bfloat16 alone can (UsageError otherwise). Floating point casts have torch's own
    behaviour beyond their range: inf, or NaN for float8_e4m3fn. Integers are round(scale·t)/scale.
    """

    api_version: ClassVar[int] = 1

    to: str = option("float16", choices=(*FLOATS, *INTEGERS), help="the number type")
    scale: float = option(255.0, gt=0, help="steps per unit of integer types; others ignore it")

    def __call__(self, part: nn.Module, /) -> nn.Module:
        if self.to in RUNNABLE and not isinstance(part, nn.Identity):
            return RunIn(copy.deepcopy(part), to=self.to)
        if not isinstance(part, nn.Identity):
            raise UsageError(
                f"dtype: to={self.to} was asked for at {type(part).__name__}, "
                f"but only {' and '.join(RUNNABLE)} can run a part of a model. "
                "Place it at=input or at=logits, where values are cast there and back."
            )
        if self.to in INTEGERS:
            return Masked(part, CastToInteger(to=self.to, scale=self.scale), name="cast")
        return Masked(part, CastThere(to=self.to), name="cast")

    def displacement(self) -> None:
        """None: casts move a value in proportion to its size, integers without limit outside their range."""
