"""The one small interface between the supervisor and whatever computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from falsefloor.store.records import UnitResult


@dataclass(frozen=True)
class Started:
    """A unit is being computed now."""

    unit: int


@dataclass(frozen=True)
class Progressed:
    """A running unit moved. radius: the numbers that move, one an input, perhaps none yet."""

    unit: int
    done: int
    total: int
    radius: Sequence[float]


@dataclass(frozen=True)
class Finished:
    """A unit is done, in whatever status; delivered at least once."""

    unit: int
    result: UnitResult


@dataclass(frozen=True)
class Lost:
    """Who computed this unit went away. It may be submitted again unless ``final``.

    reason: why, where this unit may be to blame; empty where it only waited behind another.
    """

    unit: int
    reason: str
    final: bool = False


Event = Started | Progressed | Finished | Lost
Stopped = Callable[[], bool]
"""Whether the user cancelled; asked while something long is waited for."""
SILENCE = 3600.0
"""Seconds without a sign of life after which a unit hangs, where the study sets no ``time_limit``. An honest
unit reports progress many times a minute, so that a long one is not stopped by this; a limit on the whole is
the study's to set."""


class StoppedError(Exception):
    """Raised by `Executor.prepare` where the user cancelled meanwhile."""


def overdue(limit: float, *, began: float, heard: float, now: float) -> str | None:
    """Why a unit is to be stopped now, or None. limit: the study's ``time_limit``, 0 for none."""
    if limit and now - began > limit:
        return f"stopped at its time limit of {limit:g} seconds; --time-limit gives it more"
    if not limit and now - heard > SILENCE:
        return f"stopped after {SILENCE:g} seconds without a sign of life; --time-limit gives it more"
    return None


class Executor(Protocol):
    """Computes units. `submit` never blocks; `capacity` says how many more it wants now."""

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        """Load a model with its inputs and make every part ready: stacks, and the plugins of units by kind,
        use and params. Returns {"facts", "fingerprint", "device",
        "versions", "threads"}, or {"error", "exit_code"}. Raises `StoppedError` soon after ``stopped()``."""
        ...

    @property
    def capacity(self) -> int: ...
    def submit(self, unit: int, spec: Mapping[str, Any]) -> None: ...
    def events(self, timeout: float) -> list[Event]:
        """What happened; waits up to ``timeout`` seconds for the first."""
        ...

    def cancel(self) -> None:
        """Stop what runs; every submitted unit still ends in an event."""
        ...

    def close(self) -> None:
        """Leave nothing behind that computes."""
        ...
