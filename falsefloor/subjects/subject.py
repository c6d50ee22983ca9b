"""The subject: a composed model behind the one interface that estimators see.

It keeps five promises that a bare module does not: small forwards are filled up, and large inputs asked one
by one, so that an input's logits do not depend on its neighbours; a cut graph yields zero gradients, so that
an estimator is refuted rather than failed; what the module does to its argument in place stays with the
module; every query is counted; and every answer can be looked at, whoever asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.errors import DomainError
from falsefloor.observed import LARGE
from falsefloor.subjects.copies import at_rest
from falsefloor.subjects.sightings import Sightings

FILL = 16
"""torch's CPU kernels give a row the same bits in every batch of a multiple of 16 rows, not below."""
AT_ONCE, MOST = 2**18, 1024
"""A call takes at most so many numbers of input and so many rows on a CPU. A row of a small residual net at
3 × 32 × 32 takes 0.23 ms at 16 to 128 rows, 0.26 at 256, 0.52 from 1,024 on (a digits CNN 4.7 µs at 256 to
1,024, 6.7 at 4,096), and has the same bits."""
HALVES = (torch.bfloat16, torch.float16)
"""Half precisions, the coarser one first."""
LARGEST = 31 * 2**20
"""glibc learns from blocks up to 32 MB; it then keeps up to twice as much for the next tensors."""


class _Attach(torch.autograd.Function):
    """Logits unchanged; a gradient of zeros for inputs that no path leads to."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (inputs,) = ctx.saved_tensors
        return grads[0], torch.zeros_like(inputs)


class ModelSubject(nn.Module):
    """`falsefloor.api.Subject` over a module, which is put in eval mode and frozen.

    bounds are the domain's corners, numbers or tensors that broadcast to one input; dtype is that of the
    inputs, which the module may turn into another, and else that of its first weights; resolution is the
    coarsest type on the way to its logits, if its weights do not show it; grid is the steps in which discrete
    coordinates move from an input, 0 for the others; span is how far the coordinate of the smallest unit
    reaches, where one range covers several units. Calling it maps (N, *input) to logits
    (N, K). Raises `DomainError` where the module returns anything else.
    """

    module: nn.Module
    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: int,
        bounds: tuple[float | Tensor, float | Tensor] = (0.0, 1.0),
        dtype: torch.dtype | None = None,
        resolution: torch.dtype | None = None,
        grid: Tensor | None = None,
        span: float | None = None,
    ) -> None:
        super().__init__()
        keep_freed_memory()
        self.module = at_rest(module)
        self.classes = classes
        floats = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        first = next(iter(floats), torch.zeros(0))
        self.device, self.dtype = first.device, dtype or first.dtype
        self.answers = first.dtype if floats else self.dtype
        """The number type of the last logits."""
        weights = {t.dtype for t in floats}
        self._coarsest = resolution or next((kind for kind in HALVES if kind in weights), None)
        self.exact = all(t.dtype == torch.float64 for t in (*floats, torch.zeros(0, dtype=self.dtype)))
        lower, upper = (torch.as_tensor(b).to(self.device, self.dtype) for b in bounds)
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        self.grid = None if grid is None else grid.to(lower)
        self.span = span
        self.forward_queries = 0
        self.backward_queries = 0
        self.calls = 0
        """Of the module itself, however many rows each."""
        self._reaches: dict[tuple[type, ...], bool] = {}
        self._sightings: Sightings | None = None
        self._takes_one: bool | None = None

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.lower, self.upper

    @property
    def resolution(self) -> torch.dtype:
        """The type whose roundings the last logits hold: less than these says nothing about the function."""
        return self._coarsest or self.answers

    @contextmanager
    def shown_to(self, sightings: Sightings) -> Iterator[None]:
        """While this is open, every row and its answer are shown to ``sightings``."""
        before, self._sightings = self._sightings, sightings
        try:
            yield
        finally:
            self._sightings = before

    def apart(self, inputs: Tensor) -> bool:
        """Whether rows are asked one by one: large ones on a CPU, where a row costs as much alone as among
        many (measured on EfficientNet-Lite0), and fifteen to fill up one would cost fifteen times as much."""
        if self.device.type != "cpu" or _numbers(inputs) < LARGE:
            return False
        if self._takes_one is None:
            self._takes_one = _answers(self.module, inputs[:1])
        return self._takes_one

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.apart(inputs):
            return self.together(inputs)
        # copies, since a module that works in place would change the points that are being judged
        logits = torch.cat([self._logits(row.clone(), asked=1) for row in torch.split(inputs, 1)])
        return self._watched(logits, inputs)

    def regrouped(self, inputs: Tensor) -> Tensor:
        """The forward in the company that it is otherwise not asked in: each row in a batch of its own, or
        where that is the rule, all together. A model that looks at one row at a time answers the same."""
        if self.apart(inputs):
            return self.together(inputs)
        return torch.cat([self.unfilled(row) for row in torch.split(inputs, 1)])

    def together(self, inputs: Tensor) -> Tensor:
        """The forward of all rows, in calls whose layers a core's cache can hold, the last filled up to a
        multiple of `FILL` rows."""
        most = self.at_once(inputs)
        if inputs.shape[0] <= most:
            return self._watched(self._filled(inputs), inputs)
        parts = [self._filled(part) for part in torch.split(inputs, most)]
        return self._watched(torch.cat(parts), inputs)

    def at_once(self, inputs: Tensor) -> int:
        """How many rows like these one call of the module takes."""
        if self.device.type != "cpu":
            return sys.maxsize
        return min(max(AT_ONCE // max(1, _numbers(inputs)) // FILL * FILL, FILL), MOST)

    def _filled(self, inputs: Tensor) -> Tensor:
        count = inputs.shape[0]
        filler = inputs[-1:].detach().expand(-count % FILL, *inputs.shape[1:])
        # a copy, since a module that works in place would change the points that are being judged
        return self._logits(torch.cat([inputs, filler]), asked=count)[:count]

    def unfilled(self, inputs: Tensor) -> Tensor:
        """The forward on exactly these rows: what a caller of the bare model would see."""
        # a module that works in place would change the points that are being judged
        return self._watched(self._logits(inputs.clone(), asked=inputs.shape[0]), inputs)

    def _logits(self, inputs: Tensor, *, asked: int) -> Tensor:
        count = inputs.shape[0]
        logits = self._asked(inputs)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape != (count, self.classes):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise DomainError(
                f"the model returned {shape} for {count} inputs; expected one tensor of logits"
                f" ({count}, {self.classes}). Wrap it so that it returns logits alone."
            )
        check_numbers(logits)
        own = vars(self)  # a module's setattr takes three microseconds of a call's fifty
        own["answers"] = logits.dtype
        own["forward_queries"] += asked
        # autograd refuses tensors of torch.inference_mode; a copy is an ordinary tensor without a graph
        return logits.clone() if logits.is_inference() else logits

    def _asked(self, inputs: Tensor) -> Tensor:
        """What the module returns; without a graph where it takes no inputs that require a gradient, as one
        that calls ``numpy()`` on them."""
        vars(self)["calls"] += 1
        try:
            answer: Tensor = self.module(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception:
            if not (torch.is_grad_enabled() and inputs.requires_grad):
                raise
            with torch.no_grad():
                answer = self.module(inputs.detach().clone())
        return answer

    def _watched(self, logits: Tensor, inputs: Tensor) -> Tensor:
        if self._sightings is not None:
            self._sightings.see(inputs, logits)
        if torch.is_grad_enabled() and inputs.requires_grad:
            if not self._connected(logits, inputs):
                with torch.no_grad():  # a repaired gradient leads through detach, not through this
                    bare = logits.clone()
                logits = _Attach.apply(bare, inputs)  # type: ignore[no-untyped-call]
            count = inputs.shape[0]
            logits.register_hook(lambda _grad: self._count_backward(count))  # type: ignore[no-untyped-call]
        return logits

    def _connected(self, logits: Tensor, inputs: Tensor) -> bool:
        """Whether a backward from these logits reaches the inputs; tried once, and once in each mode."""
        if not logits.requires_grad:
            return False
        # A torch function mode (a repaired gradient) makes another graph of the same forward.
        depth = torch._C._len_torch_function_stack()
        mode = tuple(type(torch._C._get_function_stack_at(at)) for at in range(depth))
        if mode not in self._reaches:
            self._reaches[mode] = _reaches(logits, inputs)
        return self._reaches[mode]

    def _count_backward(self, count: int) -> None:
        self.backward_queries += count


def _numbers(inputs: Tensor) -> int:
    """Of one row."""
    return inputs.numel() // max(inputs.shape[0], 1)


def _answers(module: nn.Module, inputs: Tensor) -> bool:
    try:
        with torch.no_grad():
            module(inputs.detach().clone())
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return False
    return True


def check_numbers(logits: Tensor) -> None:
    """Raises `DomainError` where the logits are not real floating-point numbers."""
    if logits.layout is not torch.strided:
        raise DomainError("the model returned a sparse tensor; return its logits dense: logits.to_dense().")
    if not logits.is_floating_point():
        kind = str(logits.dtype).removeprefix("torch.")
        raise DomainError(
            f"the model returned {kind} values; logits are floating-point numbers."
            " Return them before they are compared, rounded to integers or made complex."
        )


def _reaches(logits: Tensor, inputs: Tensor) -> bool:
    """False where the graph ends elsewhere, or holds an operation that torch cannot differentiate."""
    try:
        (grad,) = torch.autograd.grad(logits.sum(), inputs, retain_graph=True, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # floor division: "derivative for aten::floor_divide is not implemented"; or a backward of its own
        return False
    return grad is not None


@cache
def keep_freed_memory() -> None:
    """Let glibc learn from one large block, once a process. The block is not written to, so it takes no
    memory.

    glibc returns the top of its heap to the system as soon as twice the largest block it has mapped and freed
    is free there, and then takes it again page by page. A convolutional net's backward frees and takes some
    tens of megabytes each time: 28,000 page faults for ten backwards of 1,000 digits, 300 ms of processor
    time where 190 were enough. Whether it happens depends on what the process did before, so times could not
    be compared either. A process whose environment sets MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_
    keeps what was set; other allocators take no notice.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
