"""From one input's result to an Estimate of all: an estimator of slopes is asked input by input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from falsefloor.api import Context, Estimate, Norm, Subject
from falsefloor.estimators.account import Queries
from falsefloor.estimators.slopes.view import View
from falsefloor.evidence import WORDS, Evidence
from falsefloor.numerics.balls import working
from falsefloor.numerics.margins import margins

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

        def column(values: Sequence[float | None]) -> Tensor:
            known = [math.nan if value is None else value for value in values]
            return torch.tensor(known, dtype=torch.float64, device=like.device)

        evidence: dict[str, Tensor | Sequence[str]] = {}
        for name in self.shared:
            values = [getattr(outcome.evidence, name) for outcome in outcomes]
            evidence[name] = values if name in WORDS else column(values)
        evidence |= {name: column([outcome.own.get(name) for outcome in outcomes]) for name in self.own}
        evidence |= queries.evidence()
        curves = {
            name: torch.stack([_fitted(outcome.curves.get(name, ()), length) for outcome in outcomes])
            for name, length in self.curves.items()
        }
        return Estimate(column([outcome.radius for outcome in outcomes]), evidence, curves)


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
