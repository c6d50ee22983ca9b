"""The rules that read a trace, and their findings in words: which call zeroed the derivative, cut it, let it
underflow or hid it.

They judge by what reached a call's output and its input, and by name only where the name leaves no choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.subjects.locate.trace import Call, Trace


@dataclass(frozen=True)
class Located:
    """An operation that hides or distorts the gradient.

    submodule: its name, "" for the model's own forward; line: where in the model's code, if known. lost: the
    share of the gradient that does not get from its output to its input. displacement: the most that it (its
    submodule, where that keeps the shape) moved its input by, None where that means nothing. certain: whether
    what was seen leaves no other reading. passes: looks averaged.
    """

    operation: str
    submodule: str
    line: str
    kind: str
    lost: float
    displacement: float | None
    certain: bool
    passes: int = 1

    @property
    def words(self) -> str:
        """The finding as a sentence."""
        place = f"`{self.submodule}`" if self.submodule else "the model's own forward"
        place += f" ({self.line})" if self.line else ""
        said = f"{place}: {self.operation}, {_EFFECT[self.kind]}"
        if self.kind != "cast":
            said += f"; {self.lost:.0%} of the gradient is lost between its output and its input"
        if self.displacement is not None:
            said += f"; it moves its input by at most {self.displacement:.2g}"
        if self.passes > 1:
            said += f" (average of {self.passes} passes: the model is stochastic)"
        return said if self.certain else f"perhaps {said}"


_EFFECT = {
    "flat": "derivative zero",
    "cut": "no derivative at all",
    "saturation": "derivative underflows",
    "custom": "a custom function whose backward returns zeros",
    "cast": "which rounds values and passes the derivative as if it did not",
    "dead": "where the gradient ends",
}


NOTICED = 0.1
"""Share of a gradient that must be lost for an operation to be named."""
CERTAIN = 0.5
VANISHED = 1e-3
"""A derivative of a saturating operation below this share of its largest one counts as lost."""

FLAT = frozenset(
    ("ceil", "floor", "round", "trunc", "fix", "sign", "sgn", "floor_divide", "floordiv", "heaviside")
)
SATURATING = {"sigmoid": 0.25, "tanh": 1.0, "softmax": 0.25, "erf": 1.12, "softsign": 1.0, "log_softmax": 1.0}
"""Operations with the largest derivative that each can have."""
CASTS = frozenset(
    ("to", "type", "type_as", "half", "bfloat16", "int", "long", "short", "byte", "char", "to_copy")
)
LEAVES = frozenset(("numpy", "array", "tolist", "item", "dlpack"))
CHOICES = frozenset(
    ("argmax", "argmin", "argsort", "bucketize", "searchsorted", "eq", "ne", "lt", "le", "gt", "ge")
)


_STRAIGHT = 1e-4
"""Relative: rounding of float32 leaves less."""


def look(seen: Trace) -> list[Located]:
    """Every operation of one look that hides or distorts the gradient, in no order."""
    found: dict[tuple[str, str, str], Located] = {}
    calls = seen.ancestors()
    inside = _inside_custom(seen, calls)
    for rule in (_cut, _flat, _saturated, _cast):
        for call in calls:
            if id(call) in inside:
                continue
            one = rule(seen, call)
            if one is not None:
                found.setdefault((one.submodule, one.line, one.operation), one)
    for node, lost in seen.custom:
        if lost > NOTICED:
            name = type(node).__name__.removesuffix("Backward")
            place = _place_of(seen, node)
            found[place, "", name] = Located(name, place, "", "custom", lost, None, lost >= CERTAIN)
    if all(one.kind == "cast" for one in found.values()) and not bool(seen.leaf.any()):
        end = _dead_end(seen, calls)
        if end is not None:
            found[end.submodule, end.line, end.operation] = end
    return list(found.values())


def _cut(seen: Trace, call: Call) -> Located | None:
    """The graph ends here: the input of the call had a derivative to pass on, its output has none."""
    kept = isinstance(call.value, Tensor) and call.value.requires_grad
    if kept or not call.source.requires_grad or not call.source.is_floating_point():
        return None
    lost = _zero_share(seen, call)
    if lost <= NOTICED:
        return None
    name = call.name
    if not isinstance(call.value, Tensor):
        if name not in LEAVES or seen.result is not None:
            return None
        return Located(name, call.module, call.line, "cut", lost, None, not seen.connected)
    if not call.recording:
        name = f"torch.no_grad around {name}"
        return Located(name, call.module, call.line, "cut", lost, None, _dead(seen))
    if name in CASTS:
        name = f"cast to {_dtype(call.value.dtype)}"
    known = name in ("detach", "data") or name.startswith("cast") or call.name in CHOICES
    return Located(name, call.module, call.line, "cut", lost, _moved(seen, call), known and _dead(seen))


def _flat(seen: Trace, call: Call) -> Located | None:
    """Rounding: its derivative is zero wherever it exists. Named where no other path carries the gradient."""
    if call.name not in FLAT and not _rounds(call):
        return None
    lost = _zero_share(seen, call)
    if lost <= NOTICED or not isinstance(call.value, Tensor):
        return None
    arrived = seen.gradient_of(call.made, call.value)
    if (arrived is None or not bool(arrived.any())) and not _dead(seen):
        return (
            None  # nothing was asked of it, and another path carries the gradient: a straight-through trick
        )
    return Located(call.name, call.module, call.line, "flat", lost, _moved(seen, call), True)


def _rounds(call: Call) -> bool:
    """A division whose result is whole numbers: `div` with a rounding mode."""
    value = call.value
    return call.name in ("div", "divide") and isinstance(value, Tensor) and "Mode" in type(call.made).__name__


def _saturated(seen: Trace, call: Call) -> Located | None:
    """What goes in as a gradient comes out as nothing, in an operation that saturates."""
    peak = SATURATING.get(call.name)
    if peak is None or not isinstance(call.value, Tensor):
        return None
    arrived = seen.gradient_of(call.made, call.value)
    left = seen.gradient_of(call.taken, call.source)
    if arrived is None or left is None or not bool(arrived.any()):
        return None
    size = arrived.abs()
    if call.name.endswith("softmax"):
        size = size.amax(dim=tuple(range(1, size.ndim)), keepdim=True).expand_as(left)
    asked = size > 0
    lost = float(((left.abs() <= VANISHED * peak * size) & asked).double().sum() / asked.double().sum())
    if lost <= NOTICED:
        return None
    return Located(call.name, call.module, call.line, "saturation", lost, None, lost >= CERTAIN)


def _cast(seen: Trace, call: Call) -> Located | None:
    """A type narrower than the model's own: the derivative looks healthy, the values have steps."""
    value, source = call.value, call.source
    if call.name not in CASTS or not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    if not source.is_floating_point():
        return None
    own = torch.finfo(seen.inputs.dtype).eps
    if torch.finfo(value.dtype).eps <= max(own, torch.finfo(source.dtype).eps):
        return None
    moved = float((value.detach().double() - source.detach().double()).abs().amax())
    name = f"cast to {_dtype(value.dtype)}"
    return Located(name, call.module, call.line, "cast", 0.0, moved, True)


def _dead_end(seen: Trace, calls: Sequence[Call]) -> Located | None:
    """The last call, seen from the logits, that a gradient reached: perhaps a true zero, so not certain."""
    for call in reversed(calls):
        if not isinstance(call.value, Tensor):
            continue
        arrived = seen.gradient_of(call.made, call.value)
        left = seen.gradient_of(call.taken, call.source)
        if arrived is not None and bool(arrived.any()) and (left is None or not bool(left.any())):
            return Located(call.name, call.module, call.line, "dead", 1.0, None, False)
    return None


def _dead(seen: Trace) -> bool:
    """Whether the gradient at the input is lost on a share that matters; else another path carries it."""
    return float((seen.leaf == 0).double().mean()) > NOTICED


def _zero_share(seen: Trace, call: Call) -> float:
    """The share of what reaches the call's output that does not reach its input, along any path."""
    left = seen.gradient_of(call.taken, call.source)
    if left is None:
        return 1.0
    arrived = seen.gradient_of(call.made, call.value) if isinstance(call.value, Tensor) else None
    if arrived is None or arrived.shape != left.shape or not bool(arrived.any()):
        return float((left == 0).double().mean())
    asked = arrived != 0
    return float(((left == 0) & asked).double().sum() / asked.double().sum())


def _moved(seen: Trace, call: Call) -> float | None:
    """By how much the call's submodule moved its input; the call itself where it has none of its own.

    A call on a scaled input (`round(255 * x) / 255`) is told in the units of the model's input.
    """
    if call.module and call.module in seen.moved:
        return seen.moved[call.module]
    value, source = call.value, call.source
    if not isinstance(value, Tensor) or value.shape != source.shape:
        return None
    moved = float((value.detach().double() - source.detach().double()).abs().amax())
    return moved / _scale(seen.inputs, source)


def _scale(inputs: Tensor, source: Tensor) -> float:
    """a where source is a · inputs + b throughout, else 1."""
    if source.shape != inputs.shape:
        return 1.0
    x, t = (tensor.detach().double().flatten() for tensor in (inputs, source))
    x, t = x - x.mean(), t - t.mean()
    spread = float((x * x).sum())
    slope = float((x * t).sum()) / spread if spread > 0 else 0.0
    straight = float((t - slope * x).abs().amax()) <= _STRAIGHT * max(float(t.abs().amax()), 1e-30)
    return abs(slope) if straight and slope != 0 else 1.0


def _inside_custom(seen: Trace, calls: Sequence[Call]) -> set[int]:
    """Calls made inside the forward of a custom autograd function: off the record, and led around."""
    if not seen.custom:
        return set()
    made: Callable[[Call], bool] = lambda call: isinstance(call.value, Tensor) and call.value.requires_grad  # noqa: E731
    return {id(call) for call in calls if not call.recording and (made(call) or _feeds(call, calls, made))}


def _feeds(call: Call, calls: Sequence[Call], made: Callable[[Call], bool]) -> bool:
    """Whether an unrecorded call's value ends up, through unrecorded calls, in one that has a derivative."""
    reached = {id(call)}
    for later in calls:
        if not later.recording and any(id(parent) in reached for parent in later.parents):
            if made(later):
                return True
            reached.add(id(later))
    return False


def _place_of(seen: Trace, node: object) -> str:
    if node in seen.outputs:
        return seen.outputs[node]
    user = next((call for call in seen.calls if call.taken is node), None)
    return user.module if user is not None else ""


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
