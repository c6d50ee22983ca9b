"""The transformations that hide a gradient: each takes a part of a model and returns it wrapped.

Source of all of them: Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial
Perturbation Size" (arXiv 1804.07870). t is the part's output; derivatives are whatever torch's own
operations give, because that is the subject of study.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any


def __getattr__(name: str) -> Any:
    """`falsefloor.maskers.Staircase` and every other installed class of its kind, imported when asked for."""
    offered = {point.attr: point for point in entry_points(group=__name__)}
    if name not in offered:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(offered))}"
        )
    return offered[name].load()


def __dir__() -> list[str]:
    return sorted({*globals(), *(point.attr for point in entry_points(group=__name__))})
