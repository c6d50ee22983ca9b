"""One forward and backward of a model, watched call by call: what each operation did to values and gradient.

A torch function mode sees the calls of plain Python, of nested modules and of exported graphs alike; hooks on
modules say where each was made; hooks on the autograd graph say what gradient reached each value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

_TORCH = str(Path(torch.__file__).parent)
_OWN = str(Path(__file__).parents[1])


@dataclass(eq=False)
class Call:
    """One call of torch inside the model.

    name: the operation's stem ("ceil", "to"). module: where it was made. line: "net.py:12", in the model's
    own code. source: the first tensor that depends on the input, value its result; ``taken`` and ``made`` are
    their places in the autograd graph at the time. recording: whether autograd was on.
    """

    name: str
    module: str
    line: str
    source: Tensor
    value: Any
    taken: object
    made: object
    recording: bool
    parents: Sequence[Call] = ()


@dataclass(eq=False)
class Trace:
    """calls: those that depend on the input, in order. gradients: what reached each place of the graph.

    moved: a module's largest |output - input|, where the shapes allow it. outputs: which module returned a
    place of the graph. leaf: the gradient at the input, zeros where none arrived.
    """

    calls: list[Call] = field(default_factory=list)
    gradients: dict[object, Tensor] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    outputs: dict[object, str] = field(default_factory=dict)
    custom: list[tuple[object, float]] = field(default_factory=list)
    result: Call | None = None
    connected: bool = False
    inputs: Tensor = field(default_factory=lambda: torch.zeros(0))
    leaf: Tensor = field(default_factory=lambda: torch.zeros(0))

    def gradient_of(self, place: object, tensor: Tensor) -> Tensor | None:
        """The whole gradient that reached a value, None where none did."""
        if tensor is self.inputs:
            return self.leaf
        found = self.gradients.get(place)
        return found if found is None or found.shape == tensor.shape else None

    def ancestors(self) -> list[Call]:
        """The calls that the logits were made from, in order; all of them where that was lost sight of."""
        if self.result is None:
            return list(self.calls)
        seen = {id(self.result)}
        queue = [self.result]
        while queue:
            for parent in queue.pop().parents:
                if id(parent) not in seen:
                    seen.add(id(parent))
                    queue.append(parent)
        return [call for call in self.calls if id(call) in seen]


class _Watch(TorchFunctionMode):
    """Records each call that depends on the input. ``places`` is the stack of modules being run."""

    def __init__(self, trace: Trace, places: list[str]) -> None:
        super().__init__()
        self.trace, self.places = trace, places
        self.made: dict[int, Call | None] = {id(trace.inputs): None}
        self.kept: list[Any] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        sources = [t for t in _tensors((args, kwargs)) if id(t) in self.made]
        places = [(t, t.grad_fn) for t in sources]
        value = func(*args, **kwargs)
        name = _stem(func)
        if not sources or name in ("__get__", "__set__", "size", "dim"):
            return value
        parents = [call for t in sources if (call := self.made[id(t)]) is not None]
        source, taken = next(((t, p) for t, p in places if t.is_floating_point()), places[0])
        results: list[Tensor | None] = [*_tensors(value)] or [None]
        for result in results:
            call = Call(
                name,
                self.places[-1] if self.places else "",
                _line(),
                source,
                value if result is None else result,
                taken,
                None if result is None else result.grad_fn,
                torch.is_grad_enabled(),
                parents,
            )
            self.trace.calls.append(call)
            if result is not None:
                self.made[id(result)] = call
                self.kept.append(result)  # an id means something only while its tensor lives
        return value


def trace(module: nn.Module, points: Tensor, *, weigh: Callable[[Tensor], Tensor]) -> Trace:
    """Run ``module`` on points (M, *input) and differentiate ``weigh(logits).sum()``.

    Raises what the module raises.
    """
    seen = Trace()
    places: list[str] = []
    with torch.enable_grad():
        seen.inputs = points.detach().clone().requires_grad_(True)
        watch = _Watch(seen, places)
        with _named(module, seen, places), watch:
            logits = module(seen.inputs)
        seen.result = watch.made.get(id(logits))
        seen.leaf = torch.zeros_like(seen.inputs)
        if logits.requires_grad:
            _differentiate(seen, weigh(logits).sum())
    return seen


def _differentiate(seen: Trace, score: Tensor) -> None:
    handles = []
    for node in _nodes(score.grad_fn):
        handles.append(node.register_prehook(_keep(seen, node)))
        if isinstance(node, BackwardCFunction):
            handles.append(node.register_hook(_lost(seen, node)))
    gradient = None
    try:
        (gradient,) = torch.autograd.grad(score, seen.inputs, allow_unused=True)
    except RuntimeError:
        pass  # an operation without a derivative: what arrived there is known
    finally:
        for handle in handles:
            handle.remove()
    if gradient is not None:
        seen.connected, seen.leaf = True, gradient


def _keep(seen: Trace, node: object) -> Callable[[Sequence[Tensor | None]], None]:
    def hook(arriving: Sequence[Tensor | None]) -> None:
        if arriving and isinstance(arriving[0], Tensor):
            seen.gradients[node] = arriving[0].detach()

    return hook


def _lost(seen: Trace, node: object) -> Callable[[Sequence[Tensor | None], Sequence[Tensor | None]], None]:
    """How much of what reaches a custom function's backward comes out as exactly zero."""

    def hook(leaving: Sequence[Tensor | None], arriving: Sequence[Tensor | None]) -> None:
        came = any(t is not None and bool(t.any()) for t in arriving)
        gone = [t for t in leaving if isinstance(t, Tensor)]
        zero = sum(int((t == 0).sum()) for t in gone) / max(1, sum(t.numel() for t in gone))
        if came:
            seen.custom.append((node, zero if gone else 1.0))

    return hook


def _nodes(root: Any) -> Iterator[Any]:
    known = {root}
    queue = [root]
    while queue:
        node = queue.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in known:
                known.add(following)
                queue.append(following)


@contextmanager
def _named(module: nn.Module, seen: Trace, places: list[str]) -> Iterator[None]:
    """Keeps ``places`` up to date while the module runs, and what each submodule did to its input."""
    with ExitStack() as stack:
        for name, part in module.named_modules():

            def before(_part: nn.Module, _args: Any, *, at: str = name) -> None:
                places.append(at)

            def after(_part: nn.Module, args: Any, value: Any, *, at: str = name) -> None:
                if places and places[-1] == at:
                    places.pop()
                given = _tensors(args)
                if isinstance(value, Tensor):
                    seen.outputs.setdefault(value.grad_fn, at)
                    if given and given[0].shape == value.shape and value.is_floating_point():
                        moved = (value.detach().double() - given[0].detach().double()).abs().amax()
                        seen.moved[at] = max(float(moved), seen.moved.get(at, 0.0))

            for handle in (
                _try(part.register_forward_pre_hook, before),
                _try(part.register_forward_hook, after),
            ):
                if handle is not None:
                    stack.callback(handle.remove)
        yield


def _try(register: Callable[[Any], Any], hook: Callable[..., Any]) -> Any:
    """A handle, or None for modules that take no hooks."""
    try:
        return register(hook)
    except (RuntimeError, NotImplementedError):
        return None


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for item in value.values() for t in _tensors(item)]
    if isinstance(value, list | tuple):
        return [t for item in value for t in _tensors(item)]
    return []


def _stem(func: Any) -> str:
    """`Tensor.ceil_`, `aten.ceil.default`, `__rfloordiv__` by the operation they stand for."""
    name = str(getattr(func, "__name__", func)).split(".")[0]
    if name == "__get__" and getattr(func, "__self__", None) is Tensor.data:
        return "data"
    if name in ("__get__", "__set__"):
        return name
    return name.strip("_") or name


def _line() -> str:
    """Where in the model's own code the call was made; empty for code of torch or of this package."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _OWN)):
            known = "falsefloor" in Path(file).parts or file.startswith("<")
            return "" if known else f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
