"""The conformance kit of maskers: modules that wrap a part wherever a study places them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from falsefloor.api import Masker, NotApplicable
from falsefloor.subjects.compose import compose
from falsefloor.testing.common import common_cases, own_randomness, quiet, untouched
from falsefloor.testing.problems import CLASSES, SHAPE, linear
from falsefloor.testing.results import Case, Result, require, run_cases

PLACES = ("input", "logits", "model", "1")
"""Both ends, the whole, and the linear layer of the kit's model."""


def check_masker(
    masker: Masker, *, expected_failures: Mapping[str, str] | None = None, raises: bool = True
) -> list[Result]:
    """Run every check on a masker; arguments and errors as for `check_estimator`."""
    name = type(masker).__name__
    return run_cases(masker_cases(masker), expected_failures=expected_failures, raises=raises, name=name)


def masker_cases(masker: Masker) -> list[Case]:
    """The named checks, not yet run."""
    cases = common_cases("masker", masker)
    cases += [Case(f"works at {place}", _bind(_place, masker, place)) for place in PLACES]
    return cases + [Case(str(check.__doc__), _bind(check, masker)) for check in _CHECKS]


def _bind(check: Callable[..., None], *args: object) -> Callable[[], None]:
    return lambda: check(*args)


def _place(masker: Masker, place: str) -> None:
    for dtype in (torch.float32, torch.float64):
        problem = linear(dtype)
        subject = problem.subject([(masker, place)])
        inputs = problem.inputs.clone().requires_grad_()
        logits = subject(inputs)
        require(logits.dtype == dtype, f"turns {dtype} into {logits.dtype} at {place}; cast back")
        require(logits.isfinite().all(), f"gives logits that are not finite at {place}: {logits.tolist()}")
        (gradient,) = torch.autograd.grad(logits.sum(), inputs)
        require(gradient.shape == inputs.shape, f"gives gradients {tuple(gradient.shape)} at {place}")


def _wrapped(masker: Masker) -> nn.Module:
    found = masker(nn.Identity())
    require(isinstance(found, nn.Module), f"returns {type(found).__name__}, not an nn.Module")
    return found.eval()


def _points() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(48, *SHAPE, generator=generator)


def _shape(masker: Masker) -> None:
    """keeps the shape of images and of logits"""
    part = _wrapped(masker)
    for points in (_points(), torch.randn(16, CLASSES, generator=torch.Generator().manual_seed(1))):
        out = part(points)
        require(isinstance(out, Tensor), f"returns {type(out).__name__} around an Identity, not a tensor")
        require(out.shape == points.shape, f"turns {tuple(points.shape)} into {tuple(out.shape)}")


def _untouched(masker: Masker) -> None:
    """leaves the model and the tensors it gets as they were"""
    problem, points = linear(), _points()
    before = points.clone()
    with untouched(problem.module):
        compose(problem.module, [(masker, "1"), (masker, "model")])
    _wrapped(masker)(points)
    require(torch.equal(points, before), "writes into its input; torch operations that end in _ do that")


def _neighbours(masker: Masker) -> None:
    """one row does not depend on the others"""
    part, points = _wrapped(masker), _points()
    whole = part(points)
    for start in range(0, len(points), 16):
        alone = part(points[start : start + 16])
        require(torch.equal(alone, whole[start : start + 16]), "gives a row other values in another batch")


def _deterministic(masker: Masker) -> None:
    """same input, same output, no global randomness"""
    part, points = _wrapped(masker), _points()
    with own_randomness():
        first = part(points)
    require(torch.equal(first, part(points)), "gives other values when it is called again")


def _prints(masker: Masker) -> None:
    """prints nothing"""
    with quiet():
        _wrapped(masker)(_points())


def _fresh(masker: Masker) -> None:
    """two placements share nothing"""
    first, second = _wrapped(masker), _wrapped(masker)
    shared = {id(module) for module in first.modules()} & {id(module) for module in second.modules()}
    require(not shared, "returns the same module twice; make a new one at every call")
    stack = [(masker, place) for place in ("input", "1", "logits")]
    require(linear().subject(stack)(linear().inputs).isfinite().all(), "cannot be stacked with itself")


def _displacement(masker: Masker) -> None:
    """moves nothing farther than its displacement says"""
    offered = getattr(masker, "displacement", None)
    if offered is None:
        raise NotApplicable("no displacement() is offered")
    limit = offered()
    if limit is None:
        raise NotApplicable("displacement() knows no bound")
    number = isinstance(limit, int | float) and not isinstance(limit, bool) and 0 <= limit < math.inf
    require(number, f"displacement() is {limit!r}; expected a number from 0, or None")
    points = torch.linspace(0, 1, 20_000)[:, None]
    moved = float((_wrapped(masker)(points) - points).abs().max())
    # float32 puts a value on the wrong side of a step by its rounding
    require(moved <= limit * (1 + 1e-4) + 1e-6, f"moves a value in [0, 1] by {moved:.6g}, says {limit:.6g}")


_CHECKS = (_shape, _untouched, _neighbours, _deterministic, _prints, _fresh, _displacement)
