"""The conformance kit of gradient sources: same forward, another backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from falsefloor.api import GradientSource
from falsefloor.testing.common import common_cases, own_randomness, quiet, untouched
from falsefloor.testing.problems import SHAPE, Stairs, Watched, linear
from falsefloor.testing.results import Case, Result, require, run_cases

SLOPES = 0.02
"""Relative error of a linear model's gradient: secants of float32 logits reach 1e-3."""


def check_gradient_source(
    source: GradientSource, *, expected_failures: Mapping[str, str] | None = None, raises: bool = True
) -> list[Result]:
    """Run every check on a gradient source; arguments and errors as for `check_estimator`."""
    name = type(source).__name__
    return run_cases(gradient_cases(source), expected_failures=expected_failures, raises=raises, name=name)


def gradient_cases(source: GradientSource) -> list[Case]:
    """The named checks, not yet run."""
    return common_cases("gradient", source) + [
        Case(str(check.__doc__), _bind(check, source)) for check in _CHECKS
    ]


def _bind(check: Callable[[GradientSource], None], source: GradientSource) -> Callable[[], None]:
    return lambda: check(source)


def _gradient(source: GradientSource, subject: Watched, points: Tensor) -> tuple[Tensor, Tensor]:
    """(logits, gradient of the first logit minus the second) through the source."""
    inputs = points.clone().requires_grad_()
    logits = source(subject)(inputs)
    (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), inputs)
    return logits.detach(), gradient


def _points(count: int = 32) -> Tensor:
    return 0.2 + 0.6 * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def _forward(source: GradientSource) -> None:
    """the forward is the subject's own"""
    for stack in ((), ((Stairs(), "input"),)):
        subject, points = linear().subject(stack), _points()
        with torch.no_grad():
            bare, through = subject(points), source(subject)(points)
        require(
            torch.equal(bare, through) and torch.equal(_gradient(source, subject, points)[0], bare),
            "returns other logits than the subject; change the backward only",
        )


def _linear(source: GradientSource) -> None:
    """right on a linear model"""
    problem = linear()
    exact = (problem.weight[0] - problem.weight[1]).reshape(SHAPE)
    _, gradient = _gradient(source, problem.subject(), _points())
    error = float((gradient - exact).flatten(1).norm(dim=1).max() / exact.norm())
    require(
        error <= SLOPES, f"is {error:.3g} off a linear model's gradient; at most {SLOPES}, relative, is right"
    )


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
    with own_randomness():
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


_CHECKS = (_forward, _linear, _finite, _neighbours, _deterministic, _model, _double, _prints)
