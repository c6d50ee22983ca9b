"""The ImageNet plan of docs/scaling.md: passes by the counts of cost.py, days on cards that nobody tried.

python benchmarks/plan.py [--write]
"""

from __future__ import annotations

import sys

from pages import put, table

TARGETS = 10
PASSES = {"clever": 3_636 + 130_643 // 99 * TARGETS, "finite-difference": 53_184, "attack": 22_970 + 3_574}
"""Rows forwards and backwards, of 784 coordinates and a hundred classes; see cost.py."""
OBSERVATION = 3_281 + 467
MASKERS, CARDS = 10, 64
FLOP, PEAK, SHARE = 8.2e9, 67e12, 0.4
"""Of a forward of ResNet-50; of an H100-class card in float32; of which we assume so much to be reached."""


def main(*, write: bool) -> None:
    each = sum(PASSES.values()) + OBSERVATION
    rate = PEAK * SHARE / FLOP
    print(f"{each:,} passes an input and masker, {rate:,.0f} passes a second")
    rows = []
    for inputs in (50_000, 1_000, 100):
        seconds = inputs * MASKERS * each / rate
        rows.append((f"{inputs:,} inputs", _time(seconds), _time(seconds / CARDS)))
    text = table(("", "one card", f"{CARDS} cards"), rows)
    print(text)
    if write:
        put("plan", text)


def _time(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * unit:
            value = seconds / unit
            return f"{value:.0f} {name}" if value >= 10 else f"{value:.1f} {name}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    main(write="--write" in sys.argv)
