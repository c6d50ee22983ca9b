"""How much memory a forward and its graph take: what decides how many rows fit, before memory runs out.

Linux hands out more memory than there is, so that a forward that is too large is killed and raises nothing
that could be caught. A model of 64 inputs takes thousands of rows a forward, one of 224 × 224 pixels sixteen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from falsefloor.engine.context import ROWS
from falsefloor.subjects.subject import FILL

BUDGET = 2**30
"""Bytes of one graph on a CPU. Two can be alive at once, and a convolution's own buffers come on top."""


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
            logits = module(point.detach().clone().requires_grad_(True))
    except Exception:  # it may take no batch of one, or fail on this input
        return 0
    # the graph must live until here, or its memory would be counted under the same address twice
    return sum(kept.values()) + (logits.nbytes if isinstance(logits, Tensor) else 0)


def rows_that_fit(module: nn.Module, point: Tensor) -> int:
    """Rows of one forward with its graph, a multiple of 16 from 16 to 4,096."""
    each = max(1, bytes_a_row(module, point))
    budget = torch.cuda.mem_get_info(point.device)[0] // 4 if point.is_cuda else BUDGET
    return max(FILL, min(ROWS, budget // each // FILL * FILL))


__all__ = ["bytes_a_row", "rows_that_fit"]
