"""Out-of-memory, and what to do about it: the same work again with half the rows a forward."""

from __future__ import annotations

import torch

from falsefloor.engine.session import Session


def is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (isinstance(error, RuntimeError) and "not enough memory" in str(error))


def less_room(session: Session, error: BaseException) -> bool:
    """Whether it is worth trying again: after out-of-memory, with half the rows a forward."""
    if not is_out_of_memory(error) or session.rows <= 1:
        return False
    session.rows //= 2
    if session.device.type == "cuda":
        torch.cuda.empty_cache()
    return True


__all__ = ["is_out_of_memory", "less_room"]
