"""Forwards that survive bad subjects: rows that raise become NaN, so that the other inputs go on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from falsefloor.errors import DomainError
from falsefloor.subjects.subject import FILL, ModelSubject


class Guarded:
    """Evaluates many points an input, in blocks, and remembers what the subject raised for which row.

    rows: how many points one forward may take. A subject that raises is asked again in halves, so a few bad
    rows among thousands cost a few dozen forwards. Out-of-memory and a wrong output shape are not the input's
    fault and pass through. ``forwards`` and ``backwards`` count the rows asked for, each once.
    """

    def __init__(self, subject: ModelSubject, *, rows: int) -> None:
        self.subject = subject
        self.rows = max(FILL, rows - rows % FILL)
        self.forwards = 0
        self.backwards = 0

    def __call__(self, points: Tensor) -> Tensor:
        """Logits (N, M, K) of points (N, M, *input), without gradients."""
        flat = points.flatten(0, 1)
        self.forwards += len(flat)
        with torch.no_grad():
            parts = [self._survive(part)[0] for part in torch.split(flat, self.rows)]
        return torch.cat(parts).reshape(*points.shape[:2], self.subject.classes)

    def first(self, inputs: Tensor) -> tuple[Tensor, list[str | None]]:
        """Logits (N, K) of the inputs themselves, and what each row raised."""
        errors: list[str | None] = []
        parts = []
        self.forwards += len(inputs)
        with torch.no_grad():
            for part in torch.split(inputs, self.rows):
                logits, raised = self._survive(part)
                parts.append(logits)
                errors.extend(raised)
        return torch.cat(parts), errors

    def regrouped(self, inputs: Tensor) -> Tensor:
        """Logits (N, K), each row in other company than its own forward's (`ModelSubject.regrouped`)."""
        self.forwards += len(inputs)
        size = self.rows if self.subject.apart(inputs) else 1
        with torch.no_grad():
            parts = [self._survive(part, self.subject.regrouped)[0] for part in torch.split(inputs, size)]
        return torch.cat(parts)

    def _survive(
        self, points: Tensor, ask: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, list[str | None]]:
        ask = ask or self.subject
        try:
            return ask(points).detach(), [None] * len(points)
        except (DomainError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if len(points) == 1:
                lost = torch.full(
                    (1, self.subject.classes), torch.nan, device=points.device, dtype=self.subject.dtype
                )
                return lost, [f"{type(error).__name__}: {error}"[:300]]
        half = len(points) // 2
        left, left_errors = self._survive(points[:half], ask)
        right, right_errors = self._survive(points[half:], ask)
        return torch.cat([left, right]), left_errors + right_errors
