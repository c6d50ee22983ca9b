"""What the plugin tests share: a sound plugin's source, and the type of the fixture that installs one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Install = Callable[..., Path]

GOOD = '''
from dataclasses import dataclass
from typing import ClassVar
from falsefloor.api import option

@dataclass(frozen=True)
class Constant:
    """The same radius for every input."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("linf", "l2"))
    value: float = option(0.5, help="the radius", gt=0)

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        raise NotImplementedError
'''
