"""An estimator at work on one problem after another, in one norm, and what it was held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.api import Estimate, Estimator, Norm, NotApplicable
from falsefloor.engine.context import ROWS, RunContext, generators
from falsefloor.engine.contract import check_estimate, described
from falsefloor.testing.drawn import Drawn
from falsefloor.testing.problems import Problem, Watched, linear
from falsefloor.testing.results import require
from falsefloor.testing.watches import noted, process_as_it_was, untouched

ROUNDING = 1e-4
"""Relative; what float32 and a witness's settling may move a radius on a model of six dimensions."""
LOOSE = 3.0
"""An estimate may be off by this much on a curved network: one gradient at the input was, by 1.94 at most, on
those that are stored."""


@dataclass
class Trial:
    """seed: of the networks that are drawn. answered, declined: problems so far. touched: what was changed in
    the model or the process, by whichever call."""

    estimator: Estimator
    norm: Norm
    seed: int
    kept: list[Estimate] = field(default_factory=list)
    answered: int = 0
    declined: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    @property
    def about(self) -> str | None:
        """The other function that its claims are about, if they are."""
        return described(self.estimator, name=self.name)

    def run(
        self,
        problem: Problem | Drawn | None = None,
        *,
        subject: Watched | None = None,
        rows: int = ROWS,
        sink: Callable[[int, int, dict[str, list[float]]], None] | None = None,
        chosen: slice | list[int] = slice(None),
    ) -> Estimate:
        problem = problem or linear()
        inputs, labels = problem.inputs[chosen].clone(), problem.labels[chosen].clone()
        context = RunContext(generators(inputs, seed=0, norm=self.norm), rows=rows)
        if sink is not None:
            context.sink = sink
        before, classes = inputs.clone(), labels.clone()
        subject = subject or problem.subject()
        try:
            with noted(self.touched), process_as_it_was(), noted(self.touched), untouched(subject):
                estimate = self.estimator(subject, inputs, labels, norm=self.norm, context=context)
        except NotApplicable as error:
            self.declined.append(str(error))
            raise
        self.answered += 1
        check_estimate(estimate, inputs, before, labels, claim=self.estimator.claim, name=self.name)
        require(torch.equal(labels, classes), "changes the labels it was given; work on a copy")
        return estimate

    def plain(self) -> Estimate:
        """The estimate on the linear problem; computed once."""
        if not self.kept:
            self.kept.append(self.run())
        return self.kept[0]

    def right(self, estimate: Estimate, problem: Problem) -> None:
        """Held against the closed form: a lower claim never above, an upper claim never below."""
        self.held(estimate, problem.distances(self.norm), what="a linear model")

    def held(
        self, estimate: Estimate, exact: Tensor, *, what: str, slack: float = 0.0, loose: float = 1.0
    ) -> None:
        """A lower claim never above ``loose`` times these distances, an upper one never below them."""
        exact = exact.cpu()
        radius = estimate.radius.detach().double().cpu()
        if self.estimator.claim == "upper_bound":
            wrong, side = radius < exact * (1 - ROUNDING) - slack, "below"
        else:
            wrong, side = radius > exact * loose * (1 + ROUNDING) + slack, "above"
        times = f"{loose:g} times " if loose > 1 and side == "above" else ""
        require(
            not wrong.any(),
            f"claims {self.estimator.claim} {radius.tolist()}, {side} {times}the exact distances"
            f" {exact.tolist()} of {what}",
        )
