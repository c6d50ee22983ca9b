"""The words of a judgement, their order, and the place that an estimate is named by."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias, get_args

from falsefloor.api import Severity

Verdict: TypeAlias = Literal["refuted", "suspect", "vacuous", "unchecked", "held"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""Of an estimate that came back, gravest first."""
STATES = ("failed", "skipped", "cancelled")
"""What became of an estimate that did not come back."""
MISCLASSIFIED = "FF601 misclassified"
"""The reason of an estimate of an input that is not classified as labelled: nothing is said of it."""
SEVERITIES: tuple[Severity, ...] = ("refuted", "suspect", "vacuous", "error", "note")
"""Of findings, gravest first."""
ORDER = (
    *("refuted", "suspect", "failed", "vacuous", "error"),
    *("unchecked", "held", "note", "skipped", "cancelled"),
)
"""All of these words, gravest first: a missing number is worse than a useless one, and better than one with
evidence against it."""
LOWER = ("lower_estimate", "lower_bound")
"""Claims from below; the other is `upper_bound`."""


class Place(NamedTuple):
    """Where an estimate stands. Without a label it names a subject's input, without an input a whole cell."""

    model: str
    masker: str
    norm: str
    label: str = ""
    input: int = -1

    @property
    def subject(self) -> Place:
        """The same input of the same subject, whoever estimates: what bears on each other."""
        return self._replace(label="")

    @property
    def cell(self) -> Place:
        """The same estimator over all inputs."""
        return self._replace(input=-1)

    @property
    def one(self) -> int | None:
        """The input, None where it stands for all."""
        return self.input if self.input >= 0 else None


def rank(word: str | None) -> int:
    """The place of a verdict, a state or a severity in `ORDER`; unknown words come last."""
    return ORDER.index(word) if word in ORDER else len(ORDER)


def worst(found: Collection[str]) -> str | None:
    """The gravest of these verdicts and states; None where there is none that is known."""
    return min((word for word in found if word in ORDER), key=rank, default=None)


def nearer(claimed: float, found: float) -> str:
    """How much nearer a point lies than claimed, where four digits show no difference; else nothing."""
    share = 1 - found / claimed
    return f", {100 * share:.1g} % nearer" if 0 < share < 0.002 else ""


def is_lower(claim: str) -> bool:
    """Whether a claim is from below."""
    return claim in LOWER
