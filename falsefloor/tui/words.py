"""Numbers, durations and names as the app writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from falsefloor.errors import UsageError
from falsefloor.study.grammar import parse_stack, show_value
from falsefloor.tui.glyphs import Glyphs, clean

SHORT = {"finite-difference": "fin.diff", "sigmoid-staircase": "sigstair", "straight-through": "through"}
NORMS = {"linf": "the largest change of a coordinate", "l2": "Euclidean length", "l1": "sum of changes"}


def number(value: float) -> str:
    """A radius in few letters: 0.0320, 1.2e-05, 12.5, inf."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:.4g}" if 10 <= abs(value) < 1e5 else f"{value:.1e}"


def relation(claim: str, capped: bool, glyphs: Glyphs) -> str:
    """What a radius says of the distance: about at least, at least, at most."""
    if claim == "upper_bound":
        return glyphs.at_most
    return glyphs.at_least if capped or claim == "lower_bound" else glyphs.about_at_least


def radius(value: float, claim: str, capped: bool, glyphs: Glyphs) -> str:
    """A radius with its relation; an upper bound that was not found is said in words."""
    if claim == "upper_bound" and math.isinf(value):
        return "none found"
    return relation(claim, capped, glyphs) + number(value)


def ratio(value: float, glyphs: Glyphs) -> str:
    """How many times the unmasked number: ×9.38, ×1.00, ×0.01, ×1e-04."""
    if value >= 1000 or 0 < value < 0.01:
        return f"{glyphs.times}{value:.0e}"
    return f"{glyphs.times}{value:.1f}" if value >= 10 else f"{glyphs.times}{value:.2f}"


def verdict(word: str | None) -> str:
    """The verdict as a word that needs no colour: the worst one in capitals."""
    return "" if word is None else word.upper() if word == "refuted" else word


def clock(seconds: float) -> str:
    """00:01:12, or 3d 04:00:00."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    shown = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {shown}" if days else shown


def roughly(seconds: float) -> str:
    """A duration in one unit: 40 s, 3 min, 2.5 h, 4 days."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s" if seconds >= 1 else "under a second"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def many(count: int, noun: str) -> str:
    """1 input, 2,300 inputs."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def magnitude(value: float) -> str:
    """A count or a rate in three digits: 950, 12.3k, 4.1M."""
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def short_spec(text: str) -> str:
    """`ramp:c=255,delta=0.2` as `ramp 255 0.2`: the keys are left out where there is little room."""
    try:
        specs = parse_stack(text)
    except UsageError:
        return clean(text)
    parts = []
    for spec in specs:
        values = [("@" if key == "at" else "") + show_value(value) for key, value in spec.params.items()]
        parts.append(" ".join([SHORT.get(spec.name, spec.name), *values]))
    return clean("+".join(parts))


def short_labels(labels: list[str]) -> dict[str, str]:
    """Short forms that still differ from each other; the full label where they would not."""
    short = {label: short_spec(label) for label in labels}
    taken = list(short.values())
    return {label: s if taken.count(s) == 1 else clean(label) for label, s in short.items()}


def value(given: Any) -> str:
    """One stored fact as text: numbers short, lists by their beginning."""
    if isinstance(given, bool) or given is None:
        return {True: "yes", False: "no", None: "none"}[given]
    if isinstance(given, int):
        return f"{given:,}"
    if isinstance(given, float):
        return number(given)
    if isinstance(given, Mapping):
        return clean(", ".join(f"{key} {value(item)}" for key, item in given.items()))
    if isinstance(given, list | tuple):
        shown = ", ".join(value(item) for item in given[:6])
        return clean(shown) + (f", and {len(given) - 6} more" if len(given) > 6 else "")
    return clean(str(given))


__all__ = [
    "NORMS",
    "clock",
    "magnitude",
    "many",
    "number",
    "radius",
    "ratio",
    "relation",
    "roughly",
    "short_labels",
    "short_spec",
    "value",
    "verdict",
]
