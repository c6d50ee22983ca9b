"""Reads traced operations as the nodes of `falsefloor.numerics.nodes`, in float64.

A new linear operation is a name in `LINEAR`. What has no relaxation is refused by name, and what was read is
compared with the subject's own answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from falsefloor.api import NotApplicable, Subject
from falsefloor.estimators.crown.forms import Value, blanks, first, linear, refusal, scaled, windows
from falsefloor.estimators.crown.trace import Ref, Step, UntraceableError, constants, filled, leaves, trace
from falsefloor.numerics.envelopes import curve
from falsefloor.numerics.nodes import Bend, Largest, Linear, Node, evaluate

SAME = frozenset([
    "view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "alias",
    "detach", "clone", "_to_copy", "lift_fresh", "contiguous", "dropout",
])  # fmt: skip
"""Operations that leave the numbers and their order alone."""
LINEAR = frozenset([
    "add", "sub", "rsub", "neg", "mul", "div", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv",
    "convolution", "native_batch_norm", "_native_batch_norm_legit_no_training", "t", "transpose",
    "permute", "expand", "repeat", "slice", "select", "narrow", "index_select", "index", "gather", "cat",
    "stack", "split", "split_with_sizes", "chunk", "unbind", "flip", "roll", "unfold", "diagonal", "tril",
    "triu", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "mean",
    "sum", "cumsum", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "im2col",
])  # fmt: skip
"""Operations that are linear in a value where their other arguments are constants."""
PRODUCTS = frozenset(["mul", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "convolution"])
"""Of these, those that multiply: by a constant only."""
HOW = frozenset(["dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking"])
"""Arguments that say how numbers are held, not which."""
FLOATS = (torch.float32, torch.float64)
TRIED = 8
"""Points of the domain, beside the inputs, at which what was read is compared with the model."""
UNITS = 1 << 19
"""Numbers on the way at most: slopes of one row take 4 MB there."""


def read_network(
    subject: Subject, inputs: Tensor, *, generator: Generator
) -> tuple[list[Node | None], float]:
    """The network behind a subject that takes inputs (N, *input), and how far logits that the subject
    computed differ from it at most: its own rounding.

    Raises `NotApplicable`, "not applicable because …", for what cannot be traced, for an operation without a
    relaxation, and where what was read does not reproduce the subject.
    """
    if subject.dtype not in FLOATS:
        raise refusal(f"the model computes in {_word(subject.dtype)}, whose rounding is not bounded here")
    try:
        steps, answer = trace(subject.module, inputs[:1])
    except UntraceableError as error:
        raise refusal(f"the model cannot be traced: {error}") from error
    except Exception as error:
        words = (str(error).splitlines() or [""])[0][:200]
        raise refusal(f"the model cannot be traced: {type(error).__name__}: {words}") from error
    reader = _Reader(steps, tuple(inputs.shape[1:]))
    try:
        nodes = reader.read(answer)
    except NotApplicable:
        raise
    except Exception as error:  # an operation in a form that nobody tried
        words = (str(error).splitlines() or [""])[0][:200]
        raise refusal(f"it cannot be read: {type(error).__name__}: {words}") from error
    return nodes, _compare(nodes, subject, inputs, generator)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class _Reader:
    def __init__(self, steps: Sequence[Step], shape: tuple[int, ...]) -> None:
        self.steps = steps
        self.nodes: list[Node | None] = [None]
        self.known: dict[Ref, Value] = {Ref(-1): Value(0, (1, *shape))}
        self.sizes = [math.prod(shape)]

    def read(self, answer: Ref) -> list[Node | None]:
        """Only the steps that the answer depends on."""
        wanted, stack = set(), [answer.step]
        while stack:
            at = stack.pop()
            if at >= 0 and at not in wanted:
                wanted.add(at)
                stack += [ref.step for ref in leaves((self.steps[at].args, self.steps[at].kwargs), Ref)]
        for at in sorted(wanted):
            self._step(at, self.steps[at])
        found = self.known.get(answer)
        if found is None or len(found.shape) != 2:
            raise refusal("its answer is not one row of logits")
        if found.node != len(self.nodes) - 1:  # an input or an earlier value is returned
            self._add(scaled(found.node, torch.ones(self.sizes[found.node], dtype=torch.float64)))
        return self.nodes

    def _step(self, at: int, step: Step) -> None:
        args, kwargs = constants(step.args), constants(step.kwargs)
        refs = leaves((step.args, step.kwargs), Ref)
        if any(ref not in self.known for ref in refs):
            raise refusal(f"it uses a second result of {self.steps[refs[0].step].name!r}")
        name, parents = step.name, [self.known[ref] for ref in refs]
        for one in leaves((args, kwargs), Tensor):
            if one.is_floating_point() and not bool(one.isfinite().all()):
                raise refusal(f"a weight of {name!r} is not finite")
        for cast in leaves((args, kwargs), torch.dtype):
            if cast not in FLOATS:
                raise refusal(f"{name!r} casts to {_word(cast)}")
        kwargs = {key: one for key, one in kwargs.items() if key not in HOW}
        if name in ("max_pool2d_with_indices", "max_pool2d", "adaptive_max_pool2d"):
            groups, shape = windows(Step(name, step.function, args, kwargs), parents[0])
            self.known[Ref(at)] = Value(self._add(Largest((parents[0].node,), groups)), shape)
        elif name in SAME:
            out = step.function(*filled(args, blanks(parents)), **kwargs)
            self.known[Ref(at)] = Value(parents[0].node, tuple(out.shape))
        elif name in LINEAR:
            self._linear(at, Step(name, step.function, args, kwargs), parents)
        else:
            made = curve(name, *args[1:], *kwargs.values()) if len(parents) == 1 else None
            if made is None:
                raise refusal(f"the operation {name!r} has no relaxation here")
            self.known[Ref(at)] = Value(self._add(Bend((parents[0].node,), made)), parents[0].shape)

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
            raise refusal(f"it has more than {UNITS:,} numbers on the way, too many for slopes of each")
        return len(self.nodes) - 1

    def _linear(self, at: int, step: Step, parents: list[Value]) -> None:
        name, args = step.name, step.args
        if name in PRODUCTS and len(parents) != 1:
            raise refusal(f"{name!r} multiplies two values that depend on the input")
        if name == "div" and not isinstance(args[0], Ref):
            raise refusal("'div' divides by a value that depends on the input")
        if name == "div" and step.kwargs.get("rounding_mode"):
            raise refusal("'div' rounds its result, which has no relaxation here")
        if "batch_norm" in name and (any(one is True for one in args) or args[3] is None):
            raise refusal("batch norm takes the statistics of its batch")
        given = blanks(parents)
        outs = step.function(*filled(args, given), **filled(step.kwargs, given))
        many = outs if isinstance(outs, (tuple, list)) and "batch_norm" not in name else None
        for number, out in enumerate(many if many is not None else [first(outs)]):
            node = linear(step, parents, self.sizes, pick=number if many is not None else None)
            self.known[Ref(at, number)] = Value(self._add(node), tuple(out.shape))


def _compare(nodes: list[Node | None], subject: Subject, inputs: Tensor, generator: Generator) -> float:
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
        raise refusal(f"its operations give {shapes[0]} logits and the model {shapes[1]}")
    if not bool(asked.isfinite().all()):
        raise refusal("the model's logits are not finite everywhere in its domain")
    error = float((asked - read).abs().amax())
    if not error <= 1e-3 * (1 + float(asked.abs().amax())):
        raise refusal(f"its operations do not give the model's logits (they differ by {error:.2g})")
    return error
