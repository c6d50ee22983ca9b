"""The conformance kit of maskers: modules that wrap a part wherever a study places them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from falsefloor.api import Masker, NotApplicable
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.elsewhere import digest
from falsefloor.engine.prepare import digest_state
from falsefloor.subjects.compose import compose
from falsefloor.testing.common import Case, Result, bound, common_cases, elsewhere, require, run_cases
from falsefloor.testing.drawn import kit_seed, linears
from falsefloor.testing.problems import CLASSES, SHAPE, linear
from falsefloor.testing.watches import own_randomness, process_as_it_was, quiet, untouched

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
    cases += [replace(bound(_place, masker, place), name=f"works at {place}") for place in PLACES]
    return cases + [bound(check, masker) for check in _CHECKS]


def _ready(masker: Masker, inputs: Tensor | None = None) -> Masker:
    """The masker that is placed: what one that learns became on these inputs (N, *input), or the kit's."""
    calibrate = getattr(masker, "calibrate", None)
    if not callable(calibrate):
        return masker
    seen = linear().inputs if inputs is None else inputs
    made: Masker = calibrate(seen.clone(), RunContext(generators(seen, seed=0, norm="calibrate")))
    return made


def _place(masker: Masker, place: str) -> None:
    masker = _ready(masker)
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
    found = _ready(masker)(nn.Identity())
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
    before, masker = points.clone(), _ready(masker)
    with untouched(problem.module):
        compose(problem.module, [(masker, "1"), (masker, "model")])
    _wrapped(masker)(points)
    require(torch.equal(points, before), "writes into its input; torch operations that end in _ do that")


def _neighbours(masker: Masker) -> None:
    """one row does not depend on the others"""
    part = _wrapped(masker)
    for points in (_points(), *_drawn()):
        whole = part(points)
        for start in range(0, len(points), 16):
            alone = part(points[start : start + 16])
            require(
                torch.equal(alone, whole[start : start + 16]), "gives a row other values in another batch"
            )


def _deterministic(masker: Masker) -> None:
    """same input, same output, no global randomness"""
    part, points = _wrapped(masker), _points()
    with own_randomness(), process_as_it_was():
        first = part(points)
    with untouched(part):
        for _ in range(40):
            again = part(points)
    require(torch.equal(first, again), "gives other values when it is called again")
    with torch.no_grad():
        unrecorded = part(points)
    followed = part(points.clone().requires_grad_())
    same = torch.equal(first, unrecorded) and torch.equal(first, followed)
    require(same, "gives other values where gradients are recorded; change the backward only")


def _prints(masker: Masker) -> None:
    """prints nothing"""
    with quiet():
        _wrapped(masker)(_points())


def _fresh(masker: Masker) -> None:
    """two placements share nothing"""
    first, second = _wrapped(masker), _wrapped(masker)
    shared = {id(module) for module in first.modules()} & {id(module) for module in second.modules()}
    require(not shared, "returns the same module twice; make a new one at every call")
    stack = [(_ready(masker), place) for place in ("input", "1", "logits")]
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
    line, part = torch.linspace(0, 1, 20_000)[:, None], _wrapped(masker)
    moved = max(float((part(points) - points).abs().max()) for points in (line, _points(), *_drawn()))
    # float32 puts a value on the wrong side of a step by its rounding
    require(moved <= limit * (1 + 1e-4) + 1e-6, f"moves a value in [0, 1] by {moved:.6g}, says {limit:.6g}")


def _drawn() -> list[Tensor]:
    """Points of 2 to 784 coordinates, drawn anew."""
    generator = torch.Generator().manual_seed(kit_seed())
    return [torch.rand(32, *shape, generator=generator) for shape in ((2,), (16,), (1, 28, 28))]


def _sizes(masker: Masker) -> str:
    """works on inputs of 2 to 784 coordinates"""
    for points in _drawn():
        out = _wrapped(masker)(points)
        require(out.shape == points.shape, f"turns {tuple(points.shape)} into {tuple(out.shape)}")
        require(out.isfinite().all(), f"gives values that are not finite on inputs {tuple(points.shape)}")
    return f"2, 16 and 784 coordinates; seed {kit_seed()}"


def _elsewhere(masker: Masker) -> str:
    """the same in another process, on another day"""
    points = _drawn()[1]
    answer = elsewhere("masker", masker, **linears(kit_seed())[0].to_json() | {"inputs": points.tolist()})
    if "declined" in answer:
        raise NotApplicable(answer["declined"])
    with torch.no_grad():
        same = answer["digest"] == digest(_ready(masker, points)(nn.Identity()).eval()(points))
    require(same, f"gives other values in another process, with another clock; seed {kit_seed()}")
    return f"16 coordinates; seed {kit_seed()}"


def _learns(masker: Masker) -> None:
    """learns the same from the same inputs, and keeps what it learnt"""
    if not callable(getattr(masker, "calibrate", None)):
        raise NotApplicable("no calibrate() is offered")
    points = _points()
    with quiet(), own_randomness():
        parts = [_ready(masker, seen)(nn.Identity()).eval() for seen in (points, points, points * 0.25)]
    states = [digest_state(part) for part in parts]
    require(states[0] == states[1], "learns something else from the same inputs")
    differs = not torch.equal(parts[0](points), parts[2](points))
    require(
        not differs or states[0] != states[2],
        "learnt something that is no parameter and no buffer, so that nobody would know it changed",
    )
    require(len(parts[0].state_dict()), "keeps nothing of what it learnt; register it as a buffer")


_CHECKS: tuple[Callable[[Masker], str | None], ...] = (
    _sizes,
    _elsewhere,
    _learns,
    _shape,
    _untouched,
    _neighbours,
    _deterministic,
    _prints,
    _fresh,
    _displacement,
)
