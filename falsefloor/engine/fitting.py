"""Whether a model, its inputs, its bounds and the memory fit each other, asked before anything is computed.

Linux hands out more memory than there is, so that a forward that is too large is killed and raises nothing
that could be caught. A model of 64 inputs takes thousands of rows a forward, one of 224 × 224 pixels sixteen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.engine.context import ROWS
from falsefloor.errors import DomainError
from falsefloor.subjects.subject import FILL, check_numbers

BUDGET = 2**30
"""Bytes of one graph on a CPU. Two can be alive at once, and a convolution's own buffers come on top."""


def count_classes(module: nn.Module, points: Tensor) -> int:
    """The number of logits of one input. Raises `DomainError` for anything else than (1, classes) of them."""
    logits = _one_answer(module, points[:1])
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or not logits.numel():
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DomainError(
            f"the model returned {shape} for one input; expected one tensor of logits (1, classes)."
            " Wrap it so that it returns logits alone."
        )
    check_numbers(logits)
    return int(logits.shape[1])


def _one_answer(module: nn.Module, point: Tensor) -> Any:
    """What the model returns for ``point`` (1, *input): asked alone or, where it takes no single input, in a
    filled batch, of which the first row counts.

    Raises `DomainError` with what the model raised.
    """
    first: Exception | None = None
    for count in (1, FILL):
        try:
            with torch.no_grad():
                answer = module(point.repeat(count, *([1] * (point.ndim - 1))))
            return answer[:1] if count > 1 and isinstance(answer, Tensor) and answer.ndim else answer
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            first = first or error
    assert first is not None
    hint = (
        ". Models are asked under torch.no_grad(): a forward that takes gradients needs torch.enable_grad()."
        if "does not require grad" in str(first)
        else ""
    )
    said = f"{type(first).__name__}: {str(first)[:300]}"
    raise DomainError(f"the model fails on inputs of shape {tuple(point.shape)}: {said}{hint}")


def check_bounds(bounds: Any, shape: tuple[int, ...]) -> None:
    """Raises `DomainError` where bounds are not two corners of a box for inputs of this shape."""
    try:
        low, high = (torch.as_tensor(corner).double() for corner in bounds)
        widths = (high - low).expand(shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(
            "bounds are (lowest, highest), two numbers or two tensors that broadcast to an input"
            f" {shape}; these are {bounds!r:.200}."
        ) from error
    if not bool((high >= low).all()) or not bool((widths > 0).any()):
        raise DomainError(
            f"the lowest value of the bounds must lie below the highest; these are {bounds!r:.200}."
        )


def bytes_a_row(module: nn.Module, point: Tensor) -> int:
    """Bytes that autograd keeps for one row, ``point`` (1, *input); weights and buffers are not counted.

    0 where the model cannot be asked: whoever asks it next tells why.
    """
    own = {t.data_ptr() for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.nbytes)
        return tensor

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            leaf = point.detach().clone().requires_grad_(True)
            logits = module(leaf.clone())  # a leaf may not be written into
    except Exception:  # it may take no batch of one, or fail on this input
        return 0
    # the graph must live until here, or its memory would be counted under the same address twice
    return sum(kept.values()) + (logits.nbytes if isinstance(logits, Tensor) else 0)


def rows_that_fit(module: nn.Module, point: Tensor) -> int:
    """Rows of one forward with its graph, a multiple of 16 from 16 to 4,096."""
    each = max(1, bytes_a_row(module, point))
    budget = torch.cuda.mem_get_info(point.device)[0] // 4 if point.is_cuda else BUDGET
    return max(FILL, min(ROWS, budget // each // FILL * FILL))
