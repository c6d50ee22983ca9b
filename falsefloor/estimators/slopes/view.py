"""One input as its margins see it: where every estimator of slopes looks from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Generator, Tensor

from falsefloor.api import Norm, Subject
from falsefloor.errors import DomainError
from falsefloor.evidence import Evidence
from falsefloor.numerics.balls import diameter, sample, working

VANISHED = 1e-3
"""A slope counts as vanished where, times the domain's diameter, it is at most this share of the margin."""


@dataclass(frozen=True)
class View:
    """One input and its margins.

    centre (*input); label; targets (T,) classes other than the label; margin (T,), in float32 at least; rows:
    how many points one forward may take.
    """

    subject: Subject
    centre: Tensor
    label: int
    targets: Tensor
    margin: Tensor
    norm: Norm
    rows: int

    @classmethod
    def of(
        cls, subject: Subject, centre: Tensor, label: int, margins: Tensor, *, norm: Norm, rows: int
    ) -> View:
        """The view of all classes other than the label; margins (K,), whatever at the label's own place."""
        others = torch.tensor([k for k in range(subject.classes) if k != label], device=centre.device)
        return cls(subject, centre, label, others, margins[others], norm, max(1, rows))

    @cached_property
    def seeds(self) -> Tensor:
        """(T, K): what a backward starts from. +1 and -1 give the margin's gradient itself, K - 1 backwards
        instead of K."""
        table = torch.zeros(len(self.targets), self.subject.classes, device=self.centre.device)
        table.scatter_(1, self.targets.reshape(-1, 1), -1.0)[:, self.label] = 1
        return table

    @cached_property
    def room(self) -> tuple[Tensor, Tensor]:
        """(d,) each: how far each coordinate can fall and rise inside the domain."""
        lo, hi = self.subject.bounds
        dtype = working(self.centre.dtype)
        return (self.centre - lo).reshape(-1).to(dtype), (hi - self.centre).reshape(-1).to(dtype)

    @cached_property
    def across(self) -> float:
        """The domain's diameter in the norm."""
        lo, hi = self.subject.bounds
        return diameter(lo, hi, tuple(self.centre.shape), self.norm)

    @cached_property
    def nearest(self) -> int:
        """The slot of the smallest margin; one that is NaN comes before all."""
        return int(self.margin.nan_to_num(nan=-torch.inf).argmin())

    def only(self, slots: Tensor) -> View:
        """The same input with some of its targets."""
        return dataclasses.replace(self, targets=self.targets[slots], margin=self.margin[slots])

    def sample(self, radius: float, count: int, generator: Generator) -> Tensor:
        """(count, *input): random points of the ball inside the domain (see `numerics.balls.sample`)."""
        lo, hi = self.subject.bounds
        middle = self.centre.unsqueeze(0)
        return sample(
            middle, norm=self.norm, radius=radius, count=count, generators=[generator], lo=lo, hi=hi
        )[0]

    def told(self, slot: int, *, radius: float, cap: float) -> Evidence:
        """What evidence says of any radius that this target decided."""
        return Evidence(
            target=float(self.targets[slot]),
            targets_covered=float(len(self.targets)),
            margin=float(self.margin[slot]),
            cap=cap,
            capped=float(radius >= cap),
        )


def farthest(subject: Subject, inputs: Tensor, *, norm: Norm, radius: float | Literal["auto"]) -> float:
    """The largest radius that may be returned: the one asked for, or the domain's diameter for "auto"."""
    lo, hi = subject.bounds
    return diameter(lo, hi, tuple(inputs.shape[1:]), norm) if radius == "auto" else float(radius)


def need_rivals(subject: Subject, name: str) -> None:
    """Raises `DomainError` for a model with fewer than two classes, which has no margins."""
    if subject.classes < 2:
        raise DomainError(
            f"{name} compares a class with the others, and this model has one class."
            " Give it two logits, for example (0, f)."
        )
