"""Claims held against networks that were drawn for this run, and against another process on another day."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from unittest import mock

import torch
from torch import Tensor, nn

from falsefloor.api import Norm, NotApplicable
from falsefloor.engine.elsewhere import clock_ahead
from falsefloor.subjects.settle import settle
from falsefloor.testing.common import elsewhere
from falsefloor.testing.drawn import Drawn, linears, relus, ridges, stored, told
from falsefloor.testing.problems import Watched
from falsefloor.testing.results import require
from falsefloor.testing.trial import LOOSE, ROUNDING, Trial

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
