"""What a type checker must refuse, one mistake a line that says so.

Checked by strict mypy in test_typed_contract.py, and run by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from falsefloor.api import Claim, Context, Estimate, Estimator, Finding, Masker, Norm, Subject, option


@dataclass(frozen=True)
class Reordered:
    """Takes labels before inputs by name, and no context."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "certified"  # mistake: no such claim
    norms: ClassVar[frozenset[Norm]] = frozenset(("l2",))
    value: int = option("many", help="a number")  # mistake: a word where a number is wanted

    def __call__(self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm) -> Estimate:
        return Estimate(radius=0.5)  # mistake: not a tensor


class Renamed:
    """An estimator's name for what a masker does."""

    api_version: ClassVar[int] = 1

    def wrap(self, part: nn.Module, /) -> nn.Module:
        return part


def use(context: Context) -> None:
    context.progress(done=1, total=2)  # mistake: positional only


estimator: Estimator = Reordered()  # mistake: it takes no context
masker: Masker = Renamed()  # mistake: not callable
finding = Finding("X", "fatal", "message")  # mistake: no such severity
