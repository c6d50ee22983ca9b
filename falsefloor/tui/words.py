"""Numbers, durations and names as the app writes them."""

from __future__ import annotations

from falsefloor.errors import UsageError
from falsefloor.report.text import clean
from falsefloor.study.grammar import parse_stack, show_value

SHORT = {"finite-difference": "fin.diff", "sigmoid-staircase": "sigstair", "straight-through": "through"}


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
