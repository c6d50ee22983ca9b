"""What each estimate cost: the estimator's own account where it adds up, the mean where it does not.

A batched estimator spends more on some inputs than on others. The mean of a chunk would make an input's
stored cost depend on its neighbours, so an estimator may say itself whom it asked for; its word counts only
where its sum is what the subject counted.
"""

from __future__ import annotations

from falsefloor.api import Estimate
from falsefloor.engine.tensors import scalar

ACCOUNT = ("queries_forward", "queries_backward")
"""Evidence that is an account of queries, (N,) each; read here and not stored as evidence."""


def queries(estimate: Estimate, *, forward: int, backward: int, count: int) -> list[tuple[int, int]]:
    """(forward, backward) of each of ``count`` inputs, of the totals that the subject counted."""
    columns = []
    for name, total in zip(ACCOUNT, (forward, backward), strict=True):
        told = estimate.evidence.get(name)
        each = [] if told is None else [scalar(value) for value in told]
        whole = [int(n) for n in each if isinstance(n, float) and n >= 0 and n.is_integer()]
        columns.append(whole if len(whole) == count and sum(whole) == total else [total // count] * count)
    return list(zip(*columns, strict=True))


__all__ = ["ACCOUNT", "queries"]
