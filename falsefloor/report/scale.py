"""Where a value stands along one side of a picture: the same place, whoever paints.

A logarithm has no zero, and in this tool a zero is often the finding: a masked gradient is exactly 0. So a
logarithmic side that meets zeros is broken, with a row of their own below the break.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ZEROS, BREAK, FIRST = 0.05, 0.11, 0.16
"""Shares of a broken side: the row of zeros, the middle of the break, where the logarithm begins."""
MOST_TICKS = 6
DECADE = 10.0
"""A logarithmic side spans at least this factor, or rounding errors would look like mountains."""
DEEPEST = 1e290
"""What is this much smaller than the largest stands at the bottom."""
LARGEST, TINY = 1e300, 1e-307

Tick = tuple[float, str]
"""A share of the side, and what is written there."""


@dataclass(frozen=True)
class Scale:
    """One side, from ``low`` to ``high``. zeros: a logarithmic side with a row for zeros below a break."""

    name: str
    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    log: bool = False
    zeros: bool = False

    def at(self, value: float) -> float | None:
        """The share of the side, 0 to 1; None for what has no place there."""
        if (
            not math.isfinite(value)
            or (self.log and value < 0)
            or (self.log and not value and not self.zeros)
        ):
            return None
        if not self.log:
            return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        if value == 0:
            return ZEROS
        start = FIRST if self.zeros else 0.0
        share = (math.log(value) - math.log(self.low)) / math.log(self.high / self.low)
        return start + (1 - start) * min(1.0, max(0.0, share))


def logarithmic(name: str, values: Iterable[float]) -> Scale:
    """A side on which all the values that are not negative have their place."""
    known = [value for value in values if 0 <= value < LARGEST]
    positive = [value for value in known if value > 1 / LARGEST] or [1.0]
    high = max(positive)
    low = max(min(positive), high / DEEPEST)
    middle, half = math.sqrt(low) * math.sqrt(high), math.sqrt(max(high / low, DECADE)) ** 1.08
    low, high = max(middle / half, TINY), min(middle * half, 1 / TINY)
    bare = Scale(name, low, high, log=True, zeros=0.0 in known)
    return replace(bare, ticks=(*((ZEROS, "0"),) * bare.zeros, *_ticks(bare, _decades(low, high))))


def linear(name: str, values: Iterable[float], *, zero: bool = False) -> Scale:
    """A side with round numbers. ``zero``: it begins there."""
    known = [value for value in values if abs(value) < LARGEST] or [0.0]
    low, high = min([0.0, *known] if zero else known), max(known)
    if high - low <= max(1 / LARGEST, 1e-9 * max(abs(low), abs(high))):
        high = low + (abs(low) if abs(low) > 1 / LARGEST else 1.0)
    # what is drawn keeps off the edges
    room = 0.04 * (high - low)
    low, high = low if zero else low - room, high + room
    bare = Scale(name, low, high)
    return replace(bare, ticks=_ticks(bare, _round(low, high)))


def named(name: str, places: Sequence[str]) -> Scale:
    """A side with a place for each name, the first on top: the n-th (from 0) lies at the value -n."""
    bare = Scale(name, 0.5 - max(1, len(places)), 0.5)
    return replace(bare, ticks=tuple((bare.at(-n) or 0.0, word) for n, word in enumerate(places)))


def _ticks(side: Scale, values: Iterable[float]) -> tuple[Tick, ...]:
    return tuple((at, short(value)) for value in values if (at := side.at(value)) is not None)


def short(value: float) -> str:
    """A tick's number in few letters: 1e-6, 0.01, 60000, 1e5."""
    if not value or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.4g}'):g}"
    digits, power = f"{value:.2e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten, thinned out where they are many, with their doubles and fives where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) <= 3 else (1.0,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    found = [value for value in found if low <= value <= high]
    return found[:: math.ceil(len(found) / MOST_TICKS)]


def _round(low: float, high: float) -> list[float]:
    span = high - low
    step = 10 ** math.floor(math.log10(span / (MOST_TICKS - 1)))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= MOST_TICKS - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]
