"""Reads traced operations as the nodes of `falsefloor.numerics.crown`, in float64.

A linear operation of torch is its own description: its backward is what slopes go through, its value at zero
the constant, and its value at radii with the sizes of its weights the radius of an interval. So a new linear
operation is a name in `LINEAR`, and only those that cost most have a form of their own. What has no
relaxation is refused by name, and what was read is compared with the subject's own answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from falsefloor.api import NotApplicable, Subject
from falsefloor.estimators.crown.trace import Ref, Step, UntraceableError, trace
from falsefloor.numerics.crown import Bend, Interval, Largest, Linear, Node, dense, evaluate
from falsefloor.numerics.envelopes import curve

SAME = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "flatten",
        "unflatten",
        "unsqueeze",
        "squeeze",
        "alias",
        "detach",
        "clone",
        "_to_copy",
        "lift_fresh",
        "contiguous",
        "dropout",
    ]
)
"""Operations that leave the numbers and their order alone."""
LINEAR = frozenset(
    [
        "add",
        "sub",
        "rsub",
        "neg",
        "mul",
        "div",
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "mv",
        "addmv",
        "convolution",
        "native_batch_norm",
        "_native_batch_norm_legit_no_training",
        "t",
        "transpose",
        "permute",
        "expand",
        "repeat",
        "slice",
        "select",
        "narrow",
        "index_select",
        "cat",
        "stack",
        "split",
        "split_with_sizes",
        "chunk",
        "unbind",
        "flip",
        "roll",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "mean",
        "sum",
        "constant_pad_nd",
        "reflection_pad1d",
        "reflection_pad2d",
        "replication_pad2d",
        "upsample_nearest2d",
        "upsample_bilinear2d",
        "pixel_shuffle",
    ]
)
"""Operations that are linear in a value where their other arguments are constants."""
PRODUCTS = frozenset(["mul", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "convolution"])
"""Of these, those that multiply: by a constant only."""
HOW = frozenset(["dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking"])
"""Arguments that say how numbers are held, not which."""
FLOATS = (torch.float32, torch.float64)
SMALL = 1 << 20
"""Weights up to which a convolution is one matrix: products of matrices beat small convolutions."""
TRIED = 8
"""Points of the domain, beside the inputs, at which what was read is compared with the model."""
UNITS = 1 << 19
"""Numbers on the way at most: slopes of one row take 4 MB there."""


@dataclass(frozen=True)
class _Value:
    """A traced value: the node that holds its numbers, and their shape with the batch of one."""

    node: int
    shape: tuple[int, ...]


def read_network(subject: Subject, inputs: Tensor, *, generator: Generator) -> list[Node | None]:
    """The network behind a subject that takes inputs (N, *input).

    Raises `NotApplicable`, "not applicable because …", for what cannot be traced, for an operation without a
    relaxation, and where what was read does not reproduce the subject.
    """
    if subject.dtype not in FLOATS:
        raise _refusal(f"the model computes in {_word(subject.dtype)}, whose rounding is not bounded here")
    try:
        steps, answer = trace(subject.module, inputs[:1])
    except UntraceableError as error:
        raise _refusal(f"the model cannot be traced: {error}") from error
    except Exception as error:
        words = (str(error).splitlines() or [""])[0][:200]
        raise _refusal(f"the model cannot be traced: {type(error).__name__}: {words}") from error
    reader = _Reader(steps, tuple(inputs.shape[1:]))
    try:
        nodes = reader.read(answer)
    except NotApplicable:
        raise
    except Exception as error:  # an operation in a form that nobody tried
        words = (str(error).splitlines() or [""])[0][:200]
        raise _refusal(f"it cannot be read: {type(error).__name__}: {words}") from error
    _compare(nodes, subject, inputs, generator)
    return nodes


def _refusal(reason: str) -> NotApplicable:
    return NotApplicable(
        f"not applicable because {reason}. Linear relaxation reads convolutions, linear and pooling layers,"
        " batch norm, residuals and elementwise activations."
    )


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class _Reader:
    def __init__(self, steps: Sequence[Step], shape: tuple[int, ...]) -> None:
        self.steps = steps
        self.nodes: list[Node | None] = [None]
        self.known: dict[Ref, _Value] = {Ref(-1): _Value(0, (1, *shape))}
        self.sizes = [math.prod(shape)]

    def read(self, answer: Ref) -> list[Node | None]:
        """Only the steps that the answer depends on."""
        wanted, stack = set(), [answer.step]
        while stack:
            at = stack.pop()
            if at >= 0 and at not in wanted:
                wanted.add(at)
                stack += [ref.step for ref in _refs((self.steps[at].args, self.steps[at].kwargs))]
        for at in sorted(wanted):
            self._step(at, self.steps[at])
        found = self.known.get(answer)
        if found is None or len(found.shape) != 2:
            raise _refusal("its answer is not one row of logits")
        if found.node != len(self.nodes) - 1:  # an input or an earlier value is returned
            self._add(_scaled(found.node, torch.ones(self.sizes[found.node], dtype=torch.float64)))
        return self.nodes

    def _step(self, at: int, step: Step) -> None:
        args, kwargs = _constants(step.args), _constants(step.kwargs)
        refs = list(_refs((step.args, step.kwargs)))
        if any(ref not in self.known for ref in refs):
            raise _refusal(f"it uses a second result of {self.steps[refs[0].step].name!r}")
        name, parents = step.name, [self.known[ref] for ref in refs]
        for one in _loose((args, kwargs)):
            if one.is_floating_point() and not bool(one.isfinite().all()):
                raise _refusal(f"a weight of {name!r} is not finite")
        if (cast := kwargs.get("dtype")) is not None and cast not in FLOATS:
            raise _refusal(f"{name!r} casts to {_word(cast)}")
        kwargs = {key: one for key, one in kwargs.items() if key not in HOW}
        if name in ("max_pool2d_with_indices", "max_pool2d", "adaptive_max_pool2d"):
            self._pool(at, Step(name, step.function, args, kwargs), parents[0])
        elif name in SAME:
            out = step.function(*_filled(args, _blanks(parents)), **kwargs)
            self.known[Ref(at)] = _Value(parents[0].node, tuple(out.shape))
        elif name in LINEAR:
            self._linear(at, Step(name, step.function, args, kwargs), parents)
        else:
            made = curve(name, *_settings(args, kwargs)) if len(parents) == 1 else None
            if made is None:
                raise _refusal(f"the operation {name!r} has no relaxation here")
            self.known[Ref(at)] = _Value(self._add(Bend((parents[0].node,), made)), parents[0].shape)

    def _add(self, node: Node) -> int:
        if isinstance(node, Linear):
            size = len(node.constant)
        elif isinstance(node, Largest):
            size = len(node.groups)
        else:
            size = self.sizes[node.parents[0]]
        self.nodes.append(node)
        self.sizes.append(size)
        if sum(self.sizes) > UNITS:
            raise _refusal(f"it has more than {UNITS:,} numbers on the way, too many for slopes of each")
        return len(self.nodes) - 1

    def _linear(self, at: int, step: Step, parents: list[_Value]) -> None:
        name, args = step.name, step.args
        if name in PRODUCTS and len(parents) != 1:
            raise _refusal(f"{name!r} multiplies two values that depend on the input")
        if name == "div" and not isinstance(args[0], Ref):
            raise _refusal("'div' divides by a value that depends on the input")
        if name == "div" and step.kwargs.get("rounding_mode"):
            raise _refusal("'div' rounds its result, which has no relaxation here")
        if "batch_norm" in name and (any(one is True for one in args) or args[3] is None):
            raise _refusal("batch norm takes the statistics of its batch")
        given = _blanks(parents)
        outs = step.function(*_filled(args, given), **_filled(step.kwargs, given))
        many = outs if isinstance(outs, (tuple, list)) and "batch_norm" not in name else None
        for number, out in enumerate(many if many is not None else [_first(outs)]):
            node = _linear(step, parents, self.sizes, pick=number if many is not None else None)
            self.known[Ref(at, number)] = _Value(self._add(node), tuple(out.shape))

    def _pool(self, at: int, step: Step, parent: _Value) -> None:
        """Which numbers each window of a max pooling holds: found by pooling their places."""
        *leading, channels, high, across = (1, *parent.shape) if len(parent.shape) < 4 else parent.shape
        pair = _pair(step.args, 1, 1)
        stride, pad, apart, up = (
            _pair(step.args, n, other) for n, other in ((2, pair), (3, 0), (4, 1), (5, 0))
        )
        if step.name.startswith("adaptive"):
            if high % pair[0] or across % pair[1]:
                raise _refusal(f"{step.name!r} makes windows of unequal size")
            pair = stride = (high // pair[0], across // pair[1])
        count = math.prod(leading) * channels
        places = torch.arange(count * high * across, dtype=torch.float64).reshape(1, count, high, across)
        out = functional.max_pool2d(places, pair, stride, pad, apart, ceil_mode=bool(up[0]))
        tall, wide = (
            max(0, (out.shape[2 + n] - 1) * stride[n] + apart[n] * (pair[n] - 1) + 1 - edge - pad[n])
            for n, edge in enumerate((high, across))
        )
        padded = functional.pad(places + 1, (pad[1], wide, pad[0], tall))
        windows = functional.unfold(padded.transpose(0, 1), pair, apart, 0, stride)  # (C, k, windows)
        groups = windows.transpose(1, 2).reshape(-1, windows.shape[1]).long() - 1
        shape = (*parent.shape[:-2], *out.shape[2:])
        self.known[Ref(at)] = _Value(self._add(Largest((parent.node,), groups[: math.prod(shape)])), shape)


def _pair(args: Sequence[Any], at: int, other: Any) -> tuple[int, int]:
    """A setting of a pooling, for two sides; ``other`` where it was not given."""
    value = args[at] if len(args) > at else None
    if value is None or (isinstance(value, (list, tuple)) and not value):
        value = other
    if isinstance(value, (list, tuple)):
        return (int(value[0]), int(value[-1]))
    return (int(value), int(value))


def _linear(step: Step, parents: list[_Value], sizes: list[int], *, pick: int | None) -> Linear:
    name, args = step.name, step.args
    nodes = tuple(one.node for one in parents)

    def run(*values: Tensor) -> Tensor:
        shaped = [value.reshape(one.shape) for value, one in zip(values, parents, strict=True)]
        out = step.function(*_filled(args, shaped), **_filled(step.kwargs, shaped))
        return _first(out) if pick is None else out[pick]

    zeros = [torch.zeros(sizes[node], dtype=torch.float64) for node in nodes]
    constant = run(*zeros).reshape(-1)
    size = sizes[nodes[0]]
    single = name in ("add", "sub", "rsub", "neg", "mul", "div") or "batch_norm" in name
    if single and len(parents) == 1 and len(constant) == size:
        return _scaled(nodes[0], run(torch.ones_like(zeros[0])).reshape(-1) - constant, constant)
    row = len(parents[0].shape) == 2 and parents[0].shape[0] == 1 and not isinstance(args[-1], Ref)
    if (name in ("addmm", "mm") and row) or (name == "convolution" and size * len(constant) <= SMALL):
        weight = _matrix(step, zeros[0], constant, parents[0])
        return dense(nodes[0], weight, constant)
    straight = name == "convolution" and not args[6]  # 6: transposed
    back = _convolved(step, parents[0]) if straight else _backward(run, zeros)
    return Linear(nodes, constant, back, _intervals(step, parents, run, pick), _values(run))


def _matrix(step: Step, zero: Tensor, constant: Tensor, parent: _Value) -> Tensor:
    """(n, n_p) of a linear map: the constant second argument where it is one, else by its columns."""
    if step.name in ("addmm", "mm"):
        weight: Tensor = step.args[-1] * float(step.kwargs.get("alpha", 1))
        return weight.T.contiguous()
    eye = torch.eye(len(zero), dtype=torch.float64).reshape(-1, *parent.shape[1:])
    columns: Tensor = step.function(*_filled(step.args, [eye])).reshape(len(zero), -1) - constant
    return columns.T.contiguous()


def _scaled(node: int, scale: Tensor, constant: Tensor | None = None) -> Linear:
    """scale · x + constant, elementwise."""
    shift = torch.zeros_like(scale) if constant is None else constant

    def interval(given: Sequence[Interval]) -> Interval:
        ends = given[0][0] * scale + shift, given[0][1] * scale + shift
        return torch.minimum(*ends), torch.maximum(*ends)

    return Linear((node,), shift, lambda s: (s * scale,), interval, lambda given: given[0] * scale + shift)


def _backward(run: Any, zeros: list[Tensor]) -> Any:
    """Slopes through an operation's own backward, all rows at once."""
    with torch.enable_grad():
        leaves = [zero.clone().requires_grad_() for zero in zeros]
        out = run(*leaves)

    def back(slopes: Tensor) -> list[Tensor]:
        rows = slopes.reshape(-1, *out.shape)
        found = torch.autograd.grad(
            out, leaves, rows, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        return [
            slopes.new_zeros(len(slopes), len(leaf)) if one is None else one
            for one, leaf in zip(found, leaves, strict=True)
        ]

    return back


def _convolved(step: Step, parent: _Value) -> Any:
    """Slopes through a convolution: the transposed one, rows as a batch."""
    weight, stride, padding, dilation, groups = (step.args[n] for n in (1, 3, 4, 5, 8))
    given = torch.zeros(parent.shape, dtype=torch.float64)
    out = step.function(*_filled(step.args, [given]))
    extra = [
        edge - ((o - 1) * s - 2 * p + d * (k - 1) + 1)
        for edge, o, s, p, d, k in zip(
            given.shape[2:], out.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]

    def back(slopes: Tensor) -> tuple[Tensor]:
        rows = slopes.reshape(len(slopes), *out.shape[1:])
        found: Tensor = torch.ops.aten.convolution(
            rows, weight, None, stride, padding, dilation, True, extra, groups
        )
        return (found.reshape(len(slopes), -1),)

    return back


def _intervals(step: Step, parents: list[_Value], run: Any, pick: int | None) -> Any:
    """Middles through the operation, radii through it with the sizes of its weights."""
    sizes = [one.abs() if isinstance(one, Tensor) and one.is_floating_point() else one for one in step.args]
    if step.name in ("mul", "div"):
        sizes = [abs(one) if isinstance(one, (int, float)) else one for one in sizes]

    def spread(values: list[Tensor]) -> Tensor:
        shaped = [value.reshape(one.shape) for value, one in zip(values, parents, strict=True)]
        out = step.function(*_filled(tuple(sizes), shaped), **_filled(step.kwargs, shaped))
        return (_first(out) if pick is None else out[pick]).reshape(-1)

    def interval(given: Sequence[Interval]) -> Interval:
        middles = [(low + high) / 2 for low, high in given]
        radii = [(high - low) / 2 for low, high in given]
        if step.name == "sub" and len(radii) == 2:
            radii[1] = -radii[1]
        centre = run(*middles).reshape(-1)
        reach = (spread(radii) - spread([torch.zeros_like(one) for one in radii])).abs()
        return centre - reach, centre + reach

    return interval


def _values(run: Any) -> Any:
    def value(given: Sequence[Tensor]) -> Tensor:
        return torch.stack([run(*rows).reshape(-1) for rows in zip(*given, strict=True)])

    return value


def _first(out: Any) -> Tensor:
    found: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return found


def _blanks(parents: Sequence[_Value]) -> list[Tensor]:
    return [torch.zeros(one.shape, dtype=torch.float64) for one in parents]


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [ref for one in value for ref in _refs(one)] if isinstance(value, (tuple, list)) else []


def _loose(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for one in value for found in _loose(one)] if isinstance(value, (tuple, list)) else []


def _constants(value: Any) -> Any:
    """With every constant in float64 on the CPU."""
    if isinstance(value, Tensor):
        there = value.detach().cpu()
        return there.double() if there.is_floating_point() else there
    if isinstance(value, dict):
        return {key: _constants(one) for key, one in value.items()}
    return type(value)(_constants(one) for one in value) if isinstance(value, (tuple, list)) else value


def _filled(value: Any, given: list[Tensor]) -> Any:
    """With the values in place of their references, in order."""
    left = iter(given)

    def put(one: Any) -> Any:
        if isinstance(one, Ref):
            return next(left)
        if isinstance(one, dict):
            return {key: put(part) for key, part in one.items()}
        return type(one)(put(part) for part in one) if isinstance(one, (tuple, list)) else one

    return put(value)


def _settings(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """What an activation was called with, beside its input."""
    return [*args[1:], *kwargs.values()]


def _compare(nodes: list[Node | None], subject: Subject, inputs: Tensor, generator: Generator) -> None:
    """At the inputs, and at points anywhere in the domain, where a constant that was none shows."""
    shape = inputs.shape[1:]
    lo, hi = (bound.detach().cpu().double().expand(shape) for bound in subject.bounds)
    drawn = torch.rand(TRIED, *shape, generator=generator, dtype=torch.float64) * (hi - lo) + lo
    points = torch.cat([inputs, drawn.nan_to_num(0.0).to(inputs)])
    with torch.no_grad():
        asked = subject(points).double().cpu()
        read = evaluate(nodes, points.reshape(len(points), -1).cpu().double())
    if asked.shape != read.shape:
        shapes = tuple(read.shape[1:]), tuple(asked.shape[1:])
        raise _refusal(f"its operations give {shapes[0]} logits and the model {shapes[1]}")
    error = float((asked - read).abs().amax())
    if not error <= 1e-3 * (1 + float(asked.abs().amax())):
        raise _refusal(f"its operations do not give the model's logits (they differ by {error:.2g})")
