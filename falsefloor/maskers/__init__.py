"""The transformations that hide a gradient: each takes a part of a model and returns it wrapped.

Source of all of them: Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial
Perturbation Size" (arXiv 1804.07870). t is the part's output; derivatives are whatever torch's own
operations give, because that is the subject of study.
"""

from __future__ import annotations

from typing import Any

from falsefloor import installed, load_class


def __getattr__(name: str) -> Any:
    """`falsefloor.maskers.Staircase` and every other installed class of its kind, imported when asked for."""
    return load_class(__name__, name)


def __dir__() -> list[str]:
    return sorted(installed(__name__))
