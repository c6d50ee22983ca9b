"""What maps a subject, inputs and a norm to one radius per input, each with the claim it makes."""

from __future__ import annotations

from typing import Any

from falsefloor import installed, load_class


def __getattr__(name: str) -> Any:
    """`falsefloor.estimators.Clever` and every other installed class of its kind, imported when asked for."""
    return load_class(__name__, name)


def __dir__() -> list[str]:
    return sorted(installed(__name__))
