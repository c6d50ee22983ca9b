"""An estimator at work on one problem after another, in one norm: its claims against known distances,
drawn networks, and another process on another day.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from unittest import mock

import torch
from torch import Tensor, nn

from falsefloor.api import Estimate, Estimator, Norm, NotApplicable
from falsefloor.engine.context import ROWS, RunContext, generators
from falsefloor.engine.contract import check_estimate, described
from falsefloor.engine.elsewhere import clock_ahead
from falsefloor.subjects.settle import settle
from falsefloor.testing.common import elsewhere, require
from falsefloor.testing.drawn import Drawn, linears, relus, ridges, stored, told
from falsefloor.testing.problems import Problem, Watched, linear
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


NEARLY = 1e-6
"""Relative: what the order of sums may move between two processes."""


def drawn_linear(trial: Trial) -> str:
    """right on linear models drawn anew"""
    return _against(trial, linears(trial.seed))


def curved(trial: Trial) -> str:
    """right on ReLU networks"""
    if trial.about is not None:
        raise NotApplicable(f"its claims are about another function: {trial.about}")
    return _against(trial, (*stored(), *relus(trial.seed)), useful=True)


def proves(trial: Trial) -> str:
    """proves what it certifies"""
    if trial.estimator.claim != "lower_bound":
        raise NotApplicable("nothing is said to be proven")
    if trial.about is not None:
        raise NotApplicable(f"its claims are about another function: {trial.about}")
    told = _against(trial, ridges(trial.seed, trial.norm))
    first, nearer, near = _cut(trial)
    subject = Watched(nn.Sequential(first.module, Added(nearer)), classes=len(nearer))
    with suppress(NotApplicable):
        estimate = trial.run(first, subject=subject)
        slack = 5 * first.slack(trial.norm)
        trial.held(estimate, near[trial.norm], what="a model with a layer that nobody knows", slack=slack)
    return told


class Added(nn.Module):
    """Adds to the logits what is given: a layer of a kind that no certificate can know."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, logits: Tensor) -> Tensor:
        return logits + self.get_buffer("values")


def says_something(trial: Trial) -> str:
    """says more than nothing"""
    problems = [one for one in linears(trial.seed) if "inside" in one.name]
    radii, exact = [], []
    for problem in problems:
        try:
            radii.append(float(trial.run(problem).radius[0]))
            exact.append(float(problem.near[trial.norm][0]))
        except NotApplicable:
            continue
    if len(radii) < 2:
        raise NotApplicable("it declines most linear models")
    shown = f"radii {[f'{r:.3g}' for r in radii]} where the distances are {[f'{e:.3g}' for e in exact]}"
    if trial.estimator.claim == "upper_bound":
        require(
            any(r != float("inf") for r in radii), f"finds nothing on any linear model; seed {trial.seed}"
        )
    else:
        require(any(radii), f"is useless: it claims 0 everywhere; seed {trial.seed}")
    told = [radius for radius in radii if radius != float("inf")]  # inf: an upper bound found nothing
    same = len(told) > 1 and max(told) - min(told) <= 1e-9 * max(told)
    require(not same, f"says the same of every model: {shown}; seed {trial.seed}")
    return f"{shown}; seed {trial.seed}"


def forgets(trial: Trial) -> str:
    """forgets one model when it sees another"""
    first, nearer, near = _cut(trial)
    trial.run(first)
    weight, bias = first.layers[0]
    name, layers = f"{first.name}, its margin cut to a fifth", [(weight, bias + nearer)]
    second = Drawn(name, layers, first.inputs, first.labels, near, exact=True)
    return _against(trial, (second,), shown=5 * first.slack(trial.norm))


def _cut(trial: Trial) -> tuple[Drawn, Tensor, dict[Norm, Tensor]]:
    """A linear problem, what its logits lack for its margin to be cut to a fifth, and its distances then."""
    first = linears(trial.seed)[2]
    (weight, bias), x = first.layers[0], first.inputs[0].flatten()
    own = int(first.labels[0])
    lead = (weight[own] - weight[1 - own]) @ x + bias[own] - bias[1 - own]
    nearer = torch.zeros_like(bias)
    nearer[1 - own] = 0.8 * float(lead)
    return first, nearer, {norm: 0.2 * far for norm, far in first.near.items()}


def same_elsewhere(trial: Trial) -> str:
    """the same in another process, on another day"""
    problem = linears(trial.seed)[3]
    here = trial.run(problem).radius.detach().double().cpu()
    try:
        answer = elsewhere("estimator", trial.estimator, norm=trial.norm, **problem.to_json())
    except NotApplicable as reason:
        with clock_ahead(), mock.patch.object(os, "getpid", return_value=os.getpid() + 1):
            there = trial.run(problem).radius.detach().double().cpu()
        require(torch.equal(here, there), f"says {here.tolist()}, with another clock {there.tolist()}")
        return f"{problem.name}, with another clock only: {reason}"
    if "declined" in answer:
        raise NotApplicable(answer["declined"])
    there = torch.tensor(answer["radii"], dtype=torch.float64)
    close = torch.isclose(here, there, rtol=NEARLY, atol=0.0).all()
    require(
        close,
        f"says {here.tolist()} here and {there.tolist()} in another process, with another clock, hash seed"
        f" and generators, where no kit is loaded; seed {trial.seed}",
    )
    return f"{problem.name}, with another clock, hash seed and generators; seed {trial.seed}"


def _against(trial: Trial, problems: Iterable[Drawn], *, shown: float = 0.0, useful: bool = False) -> str:
    """Every claim on every problem; what was declined is said. Raises `NotApplicable` where all was.

    useful: one claim at least must say more than nothing.
    """
    tried, declined, telling = [], [], False
    for problem in problems:
        try:
            estimate = trial.run(problem)
        except NotApplicable as error:
            declined.append(str(error))
            continue
        tried.append(problem)
        telling |= bool((estimate.radius.isfinite() & (estimate.radius > 0)).any())
        near, what = problem.near[trial.norm], f"a network of {problem.name}; seed {trial.seed}"
        if trial.estimator.claim == "upper_bound":
            assert estimate.witness is not None  # check_estimate refuses an upper bound without
            settled = settle(
                problem.subject(), problem.inputs, problem.labels, estimate.witness, norm=trial.norm
            )
            radius = estimate.radius.detach().double().cpu()
            found = radius.isfinite()
            require(
                settled.ok.cpu()[found].all(),
                f"has witnesses outside the domain, or of the same class, on {what}",
            )
            real = settled.radius.cpu()
            lowest = real * (1 - 10 * ROUNDING) - problem.slack(trial.norm) - 1e-6
            require(
                (radius[found] >= lowest[found]).all(),
                f"says {radius.tolist()}, its witnesses lie at {real.tolist()} on {what}",
            )
            continue
        proven = trial.estimator.claim == "lower_bound" or len(problem.layers) == 1
        slack = shown + problem.slack(trial.norm)
        trial.held(estimate, near, what=what, slack=slack, loose=1.0 if proven else LOOSE)
    if not tried:
        raise NotApplicable(declined[0] if declined else "there is nothing to try")
    upper = trial.estimator.claim == "upper_bound"
    nothing = "finds nothing" if upper else "is useless: it claims 0"
    require(telling or not useful, f"{nothing} on every network with ReLUs; seed {trial.seed}")
    more = f"; {len(declined)} declined" if declined else ""
    return f"{told(tried)}{more}; seed {trial.seed}"
