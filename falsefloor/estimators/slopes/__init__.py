"""What every estimator of margin over slope has in common: one input's view, the search, what it tells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Generator, Tensor

from falsefloor.api import Context, Estimate, Norm, Subject
from falsefloor.errors import DomainError
from falsefloor.estimators.account import Queries, column
from falsefloor.evidence import WORDS, Evidence
from falsefloor.numerics.balls import diameter, sample, working
from falsefloor.numerics.margins import margins
from falsefloor.numerics.secants import Boxed

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
    def boxed(self) -> Boxed:
        """The subject as secants take it."""
        return Boxed(self.subject, *self.subject.bounds, self.rows)

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


SHARED = (
    "target",
    "margin",
    "lipschitz",
    "slope",
    "sampling_radius",
    "cap",
    "capped",
    "gradient_norm_median",
    "gradient_norm_max",
    "zero_share",
    "vanished_share",
    "nonfinite_share",
    "distinct_maxima",
    "maximum",
    "maximum_half",
    "fit",
    "fit_reason",
    "fit_shape",
    "interval_low",
    "interval_high",
    "targets_covered",
)
"""Evidence that both estimators of slopes give, NaN where a number does not apply."""


@dataclass(frozen=True)
class Outcome:
    """One input's result: radius in input units, evidence under the shared names, own facts, curves."""

    radius: float
    evidence: Evidence
    own: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """What every Estimate of one estimator carries: names of shared evidence, own ones, curves by length."""

    shared: Sequence[str]
    own: Sequence[str]
    curves: Mapping[str, int]

    def assemble(self, outcomes: Sequence[Outcome], queries: Queries, *, like: Tensor) -> Estimate:
        """Outcomes of N inputs, and what each cost, as an Estimate on the device of ``like``.

        A number that was not said is NaN. Longer curves are thinned evenly, their last value kept.
        """

        def numbers(values: Sequence[float | None]) -> Tensor:
            return column([math.nan if value is None else value for value in values], like)

        evidence: dict[str, Tensor | Sequence[str]] = {}
        for name in self.shared:
            values = [getattr(outcome.evidence, name) for outcome in outcomes]
            evidence[name] = values if name in WORDS else numbers(values)
        evidence |= {name: numbers([outcome.own.get(name) for outcome in outcomes]) for name in self.own}
        evidence |= queries.evidence()
        curves = {
            name: torch.stack([_fitted(outcome.curves.get(name, ()), length) for outcome in outcomes])
            for name, length in self.curves.items()
        }
        return Estimate(column([outcome.radius for outcome in outcomes], like), evidence, curves)


def _fitted(values: Sequence[float], length: int) -> Tensor:
    if len(values) > length:
        values = [values[at * len(values) // length - 1] for at in range(1, length + 1)]
    return torch.tensor([*values, *[math.nan] * (length - len(values))], dtype=torch.float32)


class Progress:
    """What a call over several inputs tells as it goes, one after the other, each ``share`` of work."""

    def __init__(self, context: Context, *, share: int, count: int) -> None:
        self._context, self._share, self._total = context, share, share * count
        self._done = self._finished = 0
        # what is not known yet is NaN: 0 would be read as a radius
        self._radii = torch.full((count,), torch.nan, dtype=torch.float64)

    def tick(self, work: int) -> None:
        """So much more of this input's work is done."""
        self._done += work
        self._context.progress(min(self._done, self._total), self._total, radius=self._radii)

    def reached(self, radius: float, *, work: int = 0) -> None:
        """This input's best radius so far, after so much more work."""
        self._radii[self._finished] = radius
        self.tick(work)

    def finish(self, radius: float) -> None:
        """This input's radius; the next one's turn."""
        self._done = (self._finished + 1) * self._share
        self.reached(radius)
        self._finished += 1


def estimate(
    one: Callable[[View, Generator, Progress], Outcome],
    form: Form,
    subject: Subject,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: Norm,
    context: Context,
    cap: float,
    share: int,
) -> Estimate:
    """Ask ``one`` for each of inputs (N, *input) whose label (N,) wins; elsewhere the radius is 0.

    ``cap`` is the largest radius that ``one`` may return, ``share`` how much work an input is at most. What
    an input costs is told as its own.
    """
    queries = Queries(subject, len(inputs))
    everyone = torch.arange(len(inputs), device=subject.device)
    with torch.no_grad(), queries.of(everyone):
        logits = torch.cat([subject(piece) for piece in torch.split(inputs, max(1, context.rows))])
    table = margins(logits.to(working(logits.dtype)), labels.to(logits.device)) - _coarse(subject, logits)
    progress = Progress(context, share=share, count=len(inputs))
    outcomes = []
    for index, centre in enumerate(inputs):
        with queries.of(everyone[index : index + 1]):
            label = int(labels[index])
            view = View.of(subject, centre, label, table[index], norm=norm, rows=context.rows)
            if bool((view.margin > 0).all()):
                outcomes.append(one(view, context.generators[index], progress))
            else:
                outcomes.append(_nothing_to_lose(view, cap))
        progress.finish(outcomes[-1].radius)
    return form.assemble(outcomes, queries, like=inputs)


def _coarse(subject: Subject, logits: Tensor) -> Tensor | float:
    """What of the margins may be half precision's rounding, one unit of the largest logit: (N, 1), else 0."""
    resolution = getattr(subject, "resolution", None) or logits.dtype
    if torch.finfo(resolution).bits > 16:
        return 0.0
    return torch.finfo(resolution).eps * logits.to(working(logits.dtype)).abs().amax(1, keepdim=True)


def _nothing_to_lose(view: View, cap: float) -> Outcome:
    """The label does not win: radius 0, and nothing was looked at."""
    reason = "no positive margin"
    said = view.told(view.nearest, radius=0.0, cap=cap)
    return Outcome(0.0, replace(said, fit="none", fit_reason=reason, step_reason=f"refused: {reason}"))
