"""The conformance kit of gradient sources: same forward, another backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from falsefloor.api import GradientSource, NotApplicable
from falsefloor.engine.elsewhere import digest
from falsefloor.testing.common import Case, Result, bound, common_cases, elsewhere, require, run_cases
from falsefloor.testing.drawn import LARGEST, Drawn, kit_seed, linears, stored, told
from falsefloor.testing.problems import SHAPE, Stairs, Watched, linear
from falsefloor.testing.watches import own_randomness, process_as_it_was, quiet, untouched

SLOPES = 0.02
"""Relative error of a linear model's gradient: secants of float32 logits reach 1e-3."""

BENT = 0.5
"""The same on networks of ReLUs, in the median, and along a gradient of many coordinates: a source may
average over kinks, or over directions (secants of 784 coordinates: 0.94 to 1.04 times as steep, 4 seeds)."""


def check_gradient_source(
    source: GradientSource, *, expected_failures: Mapping[str, str] | None = None, raises: bool = True
) -> list[Result]:
    """Run every check on a gradient source; arguments and errors as for `check_estimator`."""
    name = type(source).__name__
    return run_cases(gradient_cases(source), expected_failures=expected_failures, raises=raises, name=name)


def gradient_cases(source: GradientSource) -> list[Case]:
    """The named checks, not yet run."""
    return common_cases("gradient", source) + [bound(check, source) for check in _CHECKS]


def _gradient(source: GradientSource, subject: Watched, points: Tensor) -> tuple[Tensor, Tensor]:
    """(logits, gradient of the first logit minus the second) through the source."""
    return _slope(source(subject), points)


def _slope(through: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    inputs = points.clone().requires_grad_()
    logits = through(inputs)
    (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), inputs)
    return logits.detach(), gradient


def _points(count: int = 32) -> Tensor:
    return 0.2 + 0.6 * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def _forward(source: GradientSource) -> None:
    """the forward is the subject's own"""
    own: list[tuple[Watched, Tensor]] = [(one.subject(), one.inputs) for one in _networks()]
    for stack in ((), ((Stairs(), "input"),)):
        own.append((linear().subject(stack), _points()))
    for subject, points in own:
        with torch.no_grad():
            bare, through = subject(points), source(subject)(points)
        require(
            torch.equal(bare, through) and torch.equal(_gradient(source, subject, points)[0], bare),
            "returns other logits than the subject; change the backward only",
        )


def _linear(source: GradientSource) -> str:
    """right on a linear model"""
    problem = linear()
    known = [(problem.weight[0] - problem.weight[1], problem.subject(), _points())]
    # away from the walls: differences need room on both sides
    drawn = [one for one in linears(kit_seed()) if "inside" in one.name]
    known += [(one.layers[0][0][0] - one.layers[0][0][1], one.subject(), one.inputs) for one in drawn]
    for slope, subject, points in known:
        exact = slope.reshape(points.shape[1:])
        _, gradient = _gradient(source, subject, points)
        if exact.numel() == LARGEST:  # differences along some directions are right on average only
            share = float((gradient * exact).sum() / exact.square().sum())
            wrong = f"rises {share:.3g} times as fast along a linear model's gradient as the model"
            require(abs(share - 1) <= BENT, f"{wrong}; seed {kit_seed()}")
            continue
        error = float((gradient - exact).flatten(1).norm(dim=1).max() / exact.norm())
        wrong = f"is {error:.3g} off a linear model's gradient; at most {SLOPES}, relative, is right"
        require(error <= SLOPES, f"{wrong}; seed {kit_seed()}")
    return f"{told(drawn)}; seed {kit_seed()}"


def _curved(source: GradientSource) -> str:
    """near the function's own slope on ReLU networks"""
    errors: list[float] = []
    for one in stored():
        subject = one.subject()
        _, exact = _slope(subject, one.inputs)
        _, gradient = _gradient(source, subject, one.inputs)
        errors += ((gradient - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).tolist()
    # between two kinks the slope is one number, whatever a source averages over
    middle = sorted(errors)[len(errors) // 2]
    wrong = f"is {middle:.3g} off the slope of networks of ReLUs that nothing masks, in the median"
    require(middle <= BENT, f"{wrong}; at most {BENT}, relative, is near")
    return f"{told(stored())}; {middle:.3g} off in the median"


def _networks() -> list[Drawn]:
    return [one for one in (*linears(kit_seed()), *stored()) if one.inputs[0].numel() < 100]


def _elsewhere(source: GradientSource) -> str:
    """the same in another process, on another day"""
    problem = linears(kit_seed())[3]
    answer = elsewhere("gradient", source, **problem.to_json())
    if "declined" in answer:
        raise NotApplicable(answer["declined"])
    points = problem.inputs.clone().requires_grad_()
    logits = source(problem.subject())(points)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), points)
    same = answer["digest"] == digest(logits) + digest(gradient)
    require(same, f"gives other values in another process, with another clock; seed {kit_seed()}")
    return f"{problem.name}; seed {kit_seed()}"


def _finite(source: GradientSource) -> None:
    """gives finite gradients with and without a staircase"""
    for subject in (linear().subject(), linear().subject([(Stairs(), "input")])):
        _, gradient = _gradient(source, subject, _points())
        require(gradient.shape == (32, *SHAPE), f"gives gradients {tuple(gradient.shape)}")
        require(gradient.isfinite().all(), "gives gradients that are not finite")


def _neighbours(source: GradientSource) -> None:
    """one row does not depend on the others"""
    subject, points = linear().subject([(Stairs(), "input")]), _points()
    whole = _gradient(source, subject, points)[1]
    again = _gradient(source, subject, points[:16])[1]
    require(torch.equal(whole[:16], again), "gives an input another gradient in another batch")


def _deterministic(source: GradientSource) -> None:
    """same input, same gradient, no global randomness"""
    subject, points = linear().subject([(Stairs(), "input")]), _points()
    with own_randomness(), process_as_it_was():
        first = _gradient(source, subject, points)[1]
    require(
        torch.equal(first, _gradient(source, subject, points)[1]), "gives other gradients when called again"
    )


def _model(source: GradientSource) -> None:
    """the model is left as it was"""
    subject = linear().subject()
    with untouched(subject):
        _gradient(source, subject, _points())


def _double(source: GradientSource) -> None:
    """keeps float64"""
    problem = linear(torch.float64)
    logits, gradient = _gradient(source, problem.subject(), _points().double())
    require(logits.dtype == gradient.dtype == torch.float64, f"turns float64 into {gradient.dtype}")


def _prints(source: GradientSource) -> None:
    """prints nothing"""
    with quiet():
        _gradient(source, linear().subject(), _points())


_CHECKS: tuple[Callable[[GradientSource], str | None], ...] = (
    _forward,
    _linear,
    _curved,
    _elsewhere,
    _finite,
    _neighbours,
    _deterministic,
    _model,
    _double,
    _prints,
)
