"""The Context that the core hands to estimators: randomness, room, progress and notes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LOGGER = logging.getLogger("falsefloor.plugins")
"""What estimators are handed; in a worker it writes to the run's worker.log."""
ROWS = 4096
"""Rows a forward takes at first: small models gain nothing past this on a core; halved on out-of-memory."""

Sink = Callable[[int, int, dict[str, list[float]]], None]
"""Where progress goes: done, total and one number an input of each series."""


def generators(inputs: Tensor, *, seed: int, norm: str) -> list[torch.Generator]:
    """One CPU generator an input, seeded from (study seed, norm, digest of the input) and nothing else.

    So every subject and estimator looks at the same points, and an input's result does not depend on the
    inputs beside it.
    """
    made = []
    for row in inputs.detach().cpu().double():
        digest = hashlib.sha256(f"{seed}|{norm}|".encode() + row.numpy().tobytes()).digest()
        made.append(torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1))
    return made


def ignore_progress(_done: int, _total: int, _series: dict[str, list[float]]) -> None:
    """The progress sink of callers who do not watch."""


@dataclass
class RunContext:
    """`falsefloor.api.Context`; notes are collected as (code, message, mask or None)."""

    generators: Sequence[torch.Generator]
    rows: int = ROWS
    sink: Sink = ignore_progress
    notes: list[tuple[str, str, list[bool] | None]] = field(default_factory=list)
    logger: logging.Logger = LOGGER

    def progress(self, done: int, total: int, /, **series: Tensor) -> None:
        self.sink(
            done, total, {name: values.detach().double().cpu().tolist() for name, values in series.items()}
        )

    def warn(self, code: str, message: str, *, inputs: Tensor | None = None) -> None:
        self.notes.append((code, message, None if inputs is None else inputs.bool().cpu().tolist()))
