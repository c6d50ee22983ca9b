"""Which input an estimator's queries were spent on.

A subject counts what it is asked; only the estimator knows on whose behalf. Told to the core as evidence
(``queries_forward``, ``queries_backward``), an input's cost no longer depends on the inputs beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from falsefloor.api import Subject


class Queries:
    """Counts for N inputs, read off a subject that offers ``forward_queries`` and ``backward_queries``.

    Where it offers none, or the rows of one call cost unequally, nothing is told: the core then divides the
    whole by the inputs.
    """

    def __init__(self, subject: Subject, count: int) -> None:
        self._subject = subject
        self._known = self._read() is not None
        self._spent = torch.zeros(2, count, dtype=torch.int64, device=subject.device)

    @contextmanager
    def of(self, who: Tensor) -> Iterator[None]:
        """What is asked inside is shared evenly by the rows ``who`` (R,), numbers of inputs, repeats
        allowed."""
        before = self._read()
        yield
        after = self._read()
        if before is None or after is None:
            return
        for kind, (then, now) in enumerate(zip(before, after, strict=True)):
            each, rest = divmod(now - then, max(len(who), 1))
            if rest:
                self._known = False
            elif each:
                self._spent[kind].index_add_(0, who, torch.full_like(who, each))

    def evidence(self) -> dict[str, Tensor]:
        """(N,) each, or nothing where it is not known."""
        if not self._known:
            return {}
        return {"queries_forward": self._spent[0].clone(), "queries_backward": self._spent[1].clone()}

    def _read(self) -> tuple[int, int] | None:
        forward = getattr(self._subject, "forward_queries", None)
        backward = getattr(self._subject, "backward_queries", None)
        return (forward, backward) if isinstance(forward, int) and isinstance(backward, int) else None


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """One number an input, (N,) float64, on the device of ``like``."""
    return torch.tensor(values, dtype=torch.float64, device=like.device)
