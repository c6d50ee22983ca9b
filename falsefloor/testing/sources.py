"""The conformance kits of model and input sources: what a reference resolves to, what a wrong one says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from falsefloor.api import InputSource, LabelledInputs, LoadedModel, ModelSource, NotApplicable
from falsefloor.engine.elsewhere import clock_ahead, digest
from falsefloor.errors import FalsefloorError
from falsefloor.testing.common import Case, Result, bound, common_cases, elsewhere, require, run_cases
from falsefloor.testing.watches import quiet

ABSENT = "no-such-reference-7c1f"


def check_model_source(
    source: ModelSource, ref: str, *, expected_failures: Mapping[str, str] | None = None, raises: bool = True
) -> list[Result]:
    """Run every check on a model source with a reference that exists; the rest as for `check_estimator`."""
    name = type(source).__name__
    return run_cases(model_cases(source, ref), expected_failures=expected_failures, raises=raises, name=name)


def check_input_source(
    source: InputSource,
    ref: str,
    model: LoadedModel,
    *,
    expected_failures: Mapping[str, str] | None = None,
    raises: bool = True,
) -> list[Result]:
    """Run every check on an input source with a reference that exists for ``model``; the rest as above."""
    cases, name = input_cases(source, ref, model), type(source).__name__
    return run_cases(cases, expected_failures=expected_failures, raises=raises, name=name)


def model_cases(source: ModelSource, ref: str) -> list[Case]:
    """The named checks on a model source, not yet run."""
    checks = (_fields, _logits, _rows, _bounds, _repeats, _files, _elsewhere)
    return [
        *common_cases("model", source),
        *(bound(check, source, ref) for check in checks),
        Case("a reference that does not exist is a clear error", lambda: _absent(lambda: source(ABSENT))),
    ]


def input_cases(source: InputSource, ref: str, model: LoadedModel) -> list[Case]:
    """The named checks on an input source, not yet run."""
    return [
        *common_cases("input", source),
        *(bound(check, source, ref, model) for check in (_inputs, _labels, _names, _stable)),
        Case(
            "a reference that does not exist is a clear error", lambda: _absent(lambda: source(ABSENT, model))
        ),
    ]


def _loaded(source: ModelSource, ref: str) -> LoadedModel:
    with quiet():
        model = source(ref)
    require(isinstance(model, LoadedModel), f"returns {type(model).__name__}, not a LoadedModel")
    return model


def _corners(model: LoadedModel) -> tuple[Tensor, Tensor]:
    lower, upper = (
        torch.as_tensor(bound, dtype=torch.float64).expand(model.input_shape) for bound in model.bounds
    )
    return lower, upper


def _probe(model: LoadedModel, count: int) -> Tensor:
    lower, upper = _corners(model)
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(count, *model.input_shape, generator=generator, dtype=torch.float64)
    parameter = next(iter(model.module.parameters()), torch.zeros(0))
    return (lower + share * (upper - lower)).to(parameter.device, parameter.dtype)


def _fields(source: ModelSource, ref: str) -> None:
    """describes its model"""
    model = _loaded(source, ref)
    require(isinstance(model.module, nn.Module), f"module is {type(model.module).__name__}, not an nn.Module")
    require(isinstance(model.classes, int) and model.classes >= 2, f"classes is {model.classes!r}")
    shape = model.input_shape
    sound = isinstance(shape, tuple) and shape and all(isinstance(n, int) and n > 0 for n in shape)
    require(sound, f"input_shape is {shape!r}; expected the shape of one input")
    require(isinstance(model.units, str), f"units is {model.units!r}; expected words")


def _logits(source: ModelSource, ref: str) -> None:
    """its module maps inputs to finite logits"""
    model = _loaded(source, ref)
    for count in (1, 16):
        with torch.no_grad():
            logits = model.module.eval()(_probe(model, count))
        require(isinstance(logits, Tensor), f"the module returns {type(logits).__name__}, not logits")
        wanted = (count, model.classes)
        require(tuple(logits.shape) == wanted, f"the module returns {tuple(logits.shape)}, expected {wanted}")
        require(logits.isfinite().all(), "the module returns logits that are not finite inside its bounds")


def _rows(source: ModelSource, ref: str) -> None:
    """one row does not depend on the others"""
    model = _loaded(source, ref)
    points = _probe(model, 32)
    with torch.no_grad():
        whole, half = model.module.eval()(points), model.module.eval()(points[:16])
    # kernels of other batches move last bits
    same = torch.isclose(half.double(), whole[:16].double(), rtol=1e-3, atol=1e-3 * float(whole.abs().max()))
    require(same.all(), "gives a row other logits in another batch; a model in eval mode answers each alone")


def _bounds(source: ModelSource, ref: str) -> None:
    """its bounds are a box"""
    lower, upper = _corners(_loaded(source, ref))
    require(lower.isfinite().all() and upper.isfinite().all(), "the bounds are not finite")
    require((lower < upper).all(), "the lower bound is not below the upper one everywhere")


def _repeats(source: ModelSource, ref: str) -> None:
    """loads the same model twice"""
    first, second = _loaded(source, ref), _loaded(source, ref)
    for name in ("classes", "input_shape", "units"):
        told = getattr(first, name), getattr(second, name)
        require(told[0] == told[1], f"says {name} {told[0]!r}, and {told[1]!r} when it is loaded again")
    boxes = zip(_corners(first), _corners(second), strict=True)
    require(all(torch.equal(*pair) for pair in boxes), "has other bounds when it is loaded again")
    points = _probe(first, 16)
    with torch.no_grad():
        same = torch.equal(first.module.eval()(points), second.module.eval()(points))
    require(same, "gives other logits when it is loaded again; seed or store the weights")


def _elsewhere(source: ModelSource, ref: str) -> None:
    """loads the same model in another process, on another day"""
    model = _loaded(source, ref)
    points = _probe(model, 16).float()
    if next(iter(model.module.parameters()), points).dtype != torch.float32:
        raise NotApplicable("the model is not of float32")
    answer = elsewhere("model", source, ref=ref, inputs=points.tolist())
    with torch.no_grad():
        same = answer["digest"] == digest(model.module.eval()(points))
    require(same, "gives other logits in another process, with another clock; seed or store the weights")


def _files(source: ModelSource, ref: str) -> None:
    """names files that exist"""
    for file in _loaded(source, ref).files:
        require(Path(file).is_file(), f"names the file {file}, which does not exist")


def _absent(call: Callable[[], object]) -> None:
    try:
        call()
    except FalsefloorError as error:
        require(str(error).strip(), "raises an error without a message")
        return
    except Exception as error:
        require(
            isinstance(error, ValueError | LookupError | OSError) and ABSENT in str(error),
            f"answers a wrong reference with {type(error).__name__}: {error}; raise a ValueError"
            " that repeats the reference and says what exists",
        )
        return
    require(False, "accepts a reference that does not exist")


def _given(source: InputSource, ref: str, model: LoadedModel) -> LabelledInputs:
    with quiet():
        found = source(ref, model)
    require(isinstance(found, LabelledInputs), f"returns {type(found).__name__}, not LabelledInputs")
    return found


def _inputs(source: InputSource, ref: str, model: LoadedModel) -> None:
    """gives inputs of the model's shape inside its bounds"""
    inputs = _given(source, ref, model).inputs
    require(isinstance(inputs, Tensor) and len(inputs) > 0, "gives no inputs")
    shape = tuple(inputs.shape[1:])
    require(shape == model.input_shape, f"gives inputs {shape} for a model of {model.input_shape}")
    require(
        inputs.is_floating_point(), f"gives {inputs.dtype}; convert to floating point in the model's units"
    )
    lower, upper = _corners(model)
    inside = (inputs >= lower.to(inputs.dtype)).all() and (inputs <= upper.to(inputs.dtype)).all()
    require(inside, "gives inputs outside the model's bounds, or NaN")


def _labels(source: InputSource, ref: str, model: LoadedModel) -> None:
    """gives one label an input, or none at all"""
    found = _given(source, ref, model)
    if found.labels is None:
        raise NotApplicable("the model's own answers are the labels")
    count = len(found.inputs)
    require(
        tuple(found.labels.shape) == (count,), f"gives labels {tuple(found.labels.shape)} for {count} inputs"
    )
    whole = not found.labels.is_floating_point() and found.labels.dtype != torch.bool
    require(whole, f"gives labels of {found.labels.dtype}; expected integers")
    require(
        bool(((found.labels >= 0) & (found.labels < model.classes)).all()),
        f"gives labels {found.labels.tolist()[:20]} for {model.classes} classes",
    )


def _names(source: InputSource, ref: str, model: LoadedModel) -> None:
    """gives one name an input, or none at all"""
    found = _given(source, ref, model)
    right = len(found.names) in (0, len(found.inputs)) and all(isinstance(name, str) for name in found.names)
    require(right, f"gives {len(found.names)} names for {len(found.inputs)} inputs")


def _stable(source: InputSource, ref: str, model: LoadedModel) -> None:
    """gives the same inputs, labels and names twice, on another day too"""
    first, second = _given(source, ref, model), _given(source, ref, model)
    with clock_ahead(), mock.patch.object(os, "getpid", return_value=os.getpid() + 1):
        later = _given(source, ref, model)
    for again, where in ((second, ""), (later, " on another day, in another process")):
        require(torch.equal(first.inputs, again.inputs), f"gives other inputs for the same reference{where}")
        labels = [None if one.labels is None else one.labels.tolist() for one in (first, again)]
        require(labels[0] == labels[1], f"gives other labels for the same reference{where}")
        require([*first.names] == [*again.names], f"gives other names for the same reference{where}")
