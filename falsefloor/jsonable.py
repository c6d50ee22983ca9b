"""Numbers as JSON documents and databases hold them: what JSON cannot write stands there as a word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

WORDS: Mapping[str, float] = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def finite(value: Any) -> Any:
    """The value with infinities and NaN as words; tuples become lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def revive(value: Any) -> Any:
    """The inverse of `finite`: the words as numbers again."""
    if isinstance(value, str):
        return WORDS.get(value, value)
    if isinstance(value, Mapping):
        return {key: revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revive(item) for item in value]
    return value


def as_number(value: object) -> float | None:
    """A stored value as a number, NaN included; None where it is none. True is no number."""
    if type(value) is float:  # nearly all are, and a judgement asks some sixty times
        return value
    if isinstance(value, str):
        return WORDS.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond the largest float
        return math.inf if value > 0 else -math.inf


def number(value: object) -> float | None:
    """As `as_number`, where NaN says nothing either: facts that a rule compares."""
    known = as_number(value)
    return None if known is None or math.isnan(known) else known
