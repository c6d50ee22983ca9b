"""The check that gives the project its name: a false floor behind a staircase must not pass for a true one.

The estimate is judged as in a study, by our own checks on what was observed, beside an upper bound that is
known to be there. A radius that no point contradicts is right, however it was found.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from falsefloor.api import Estimate, Estimator, Facts, Norm, NotApplicable, Record, Subject
from falsefloor.checks.contradiction import BLIND
from falsefloor.checks.judge import judge
from falsefloor.engine.arrays import scalar
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.contract import check_estimate, described
from falsefloor.engine.elsewhere import chain
from falsefloor.plugins.loading import load
from falsefloor.plugins.names import discover
from falsefloor.subjects.observe import observe
from falsefloor.subjects.settle import Settled, settle
from falsefloor.subjects.trap import plant
from falsefloor.testing.common import require
from falsefloor.testing.problems import CLASSES, Problem, Stairs, Watched, linear

WALK = 600
"""Points on each line from an input to where the linear model without its staircase would change its mind."""
REACH = 3.0
"""How far the lines go, in exact distances of the model without its staircase."""


def behind_a_staircase(estimator: Estimator, norm: Norm) -> None:
    """Raises `UnmetError` where an estimate on a staircase is wrong and would nevertheless be held."""
    problem = linear()
    subject = problem.subject([(Stairs(), "input")])
    before = problem.inputs.clone()
    context = RunContext(generators(before, seed=0, norm=norm))
    estimate = estimator(subject, problem.inputs.clone(), problem.labels, norm=norm, context=context)
    check_estimate(
        estimate, before, before, problem.labels, claim=estimator.claim, name=type(estimator).__name__
    )
    if estimator.claim == "upper_bound":
        _true_witnesses(estimate, problem, subject, norm)
        return
    nearest = _counterexamples(problem, subject, norm)
    observations = observe(
        subject,
        problem.subject(),
        problem.inputs,
        problem.labels,
        norm=norm,
        generators=generators(before, seed=1, norm=norm),
    )
    checks = [load("check", plugin.name) for plugin in discover() if plugin.own and plugin.kind == "check"]
    for at, observation in enumerate(observations):
        radius, ceiling = float(estimate.radius[at]), float(nearest.radius[at])
        if radius <= ceiling * (1 + 1e-6):
            continue
        require(
            estimator.claim != "lower_bound" or described(estimator, name=type(estimator).__name__),
            f"certifies {radius:.4g} behind a staircase where an adversarial input lies at {ceiling:.4g};"
            " raise NotApplicable where something stands in the way that it has no bound for",
        )
        upper = Record("attack", "upper_bound", "autograd", ceiling, witness="known")
        evidence = {name: scalar(values[at]) for name, values in estimate.evidence.items()}
        judged = Record(type(estimator).__name__, estimator.claim, "autograd", radius, evidence)
        observed = {**observation.facts, "arrays": {role: role for role in observation.arrays}}
        verdict = judge(Facts(norm, judged, [upper], observed), checks).verdict
        require(
            verdict != "held",
            f"claims {radius:.4g} behind a staircase where an adversarial input lies at {ceiling:.4g},"
            " and nothing in its evidence lets a check see it",
        )


def below_a_trap(estimator: Estimator, norm: Norm) -> None:
    """Raises `UnmetError` where a lower claim exceeds a class change planted at a verified distance (FF205).

    Nothing is masked here and the planted slope is constant: whoever misses it looks at something else than
    the subject it was given.
    """
    if estimator.claim == "upper_bound":
        raise NotApplicable("an upper bound may be loose, and a trap refutes only lower claims")
    problem = linear()
    subject = problem.subject()
    for at in range(len(problem.labels)):
        x, label = problem.inputs[at : at + 1], problem.labels[at : at + 1]
        (drawn,) = generators(x, seed=0, norm=f"trap {norm}")
        trap = plant(problem.module, [], subject, x, label, norm=norm, generator=drawn)
        require(trap is not None, "the kit could not plant a trap on its own model; please report this")
        assert trap is not None
        context = RunContext(generators(x, seed=0, norm=norm))
        estimate = estimator(_as_layers(trap.subject, x), x.clone(), label, norm=norm, context=context)
        radius = float(estimate.radius[0])
        require(
            radius <= BLIND * trap.distance,
            f"claims {radius:.4g} on a model whose class was made to change at {trap.distance:.4g}",
        )


def _as_layers(subject: Subject, like: Tensor) -> Watched:
    """The planted linear model as one linear layer: who reads layers finds what is there."""
    size = like[0].numel()
    with torch.no_grad():
        offset = subject(torch.zeros_like(like))[0].double()
        rows = subject(torch.eye(size, dtype=like.dtype).reshape(size, *like.shape[1:])).double()
    return Watched(chain([((rows - offset).T, offset)]), classes=CLASSES)


def _true_witnesses(estimate: Estimate, problem: Problem, subject: Watched, norm: Norm) -> None:
    assert estimate.witness is not None  # check_estimate refuses an upper bound without
    settled = settle(subject, problem.inputs, problem.labels, estimate.witness, norm=norm)
    found = estimate.radius.detach().cpu().isfinite()
    require(
        settled.ok.cpu()[found].all(),
        f"claims upper bounds {estimate.radius.tolist()} behind a staircase with witnesses that do not change"
        f" the class there (settled: {settled.ok.tolist()}); test them through the subject",
    )


def _counterexamples(problem: Problem, subject: Watched, norm: Norm) -> Settled:
    """The nearest settled point of another class on the lines that the model's weights point out."""
    exact = problem.distances(norm)
    directions = _directions(problem, norm)
    best: Settled | None = None
    for target in range(CLASSES):
        points = problem.inputs.clone()
        for at in range(len(points)):
            far = (exact[at] * REACH * torch.linspace(0, 1, WALK, dtype=torch.float64)).reshape(-1, 1)
            line = problem.inputs[at].flatten().double() + far * directions[at, target]
            line = line.clamp(0, 1).to(points.dtype).reshape(-1, *points.shape[1:])
            with torch.no_grad():
                flipped = subject(line).argmax(1) != problem.labels[at]
            if flipped.any():
                points[at] = line[int(flipped.to(torch.uint8).argmax())]
        settled = settle(subject, problem.inputs, problem.labels, points, norm=norm)
        if best is None:
            best = settled
        nearer = settled.radius < best.radius
        radius = torch.where(nearer, settled.radius, best.radius)
        best = replace(best, radius=radius, ok=best.ok | settled.ok)
    assert best is not None
    require(best.ok.all(), "the kit found no counterexample behind its own staircase; please report this")
    return best


def _directions(problem: Problem, norm: Norm) -> Tensor:
    """(N, K, d): the step of p-norm 1 along which the margin to each class falls fastest."""
    weight = problem.weight.double()
    slopes = weight[None, :, :] - weight[problem.labels][:, None, :]
    if norm == "linf":
        return slopes.sign()
    if norm == "l2":
        return slopes / slopes.square().sum(2, keepdim=True).sqrt().clamp_min(1e-12)
    largest = slopes.abs() == slopes.abs().amax(2, keepdim=True)
    return slopes.sign() * largest
