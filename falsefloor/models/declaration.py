"""What a bare `nn.Module` says of itself: the attributes that make a `LoadedModel` of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError

VALUES = ("bounds", "scale", "step", "immutable")
"""May be tensors, which other names are buffers of the model."""


def described(
    made: nn.Module | LoadedModel, names: Mapping[str, Any], /, *, files: tuple[str, ...] = ()
) -> LoadedModel:
    """``made`` with what it declares, else with what ``names`` holds under the same name.

    ``input_shape``: sizes of one input, () if unknown. ``classes``: their number, or a list of their names;
    0 if unknown. ``bounds``: (lowest, highest) of the domain, each a number or one for each feature.
    ``units``: words. ``inputs``: a reference. ``output``: the name or number of the logits among several
    values. ``scale``, ``step``, ``immutable``, ``at``, ``multilabel``: see `LoadedModel`.
    Layers and methods that happen to have such a name are no declarations. Raises DomainError.
    """
    if isinstance(made, LoadedModel):
        return dataclasses.replace(made, files=tuple(dict.fromkeys((*made.files, *files))))

    def declared(name: str, unknown: Any) -> Any:
        for value in (getattr(made, name, None), names.get(name)):
            plain = name in VALUES or not isinstance(value, Tensor)
            if value is not None and plain and not callable(value):
                return value
        return unknown

    inputs, output = declared("inputs", None), declared("output", None)
    at = declared("at", None)
    bounds = declared("bounds", (-inf, inf) if isinstance(at, str) else (0.0, 1.0))
    return LoadedModel(
        module=made,
        classes=_classes(declared("classes", 0)),
        input_shape=_shape(declared("input_shape", ())),
        bounds=_bounds(bounds),
        units=str(declared("units", "")),
        inputs=inputs if isinstance(inputs, str) else None,
        files=files,
        output=output if isinstance(output, str | int) and not isinstance(output, bool) else None,
        at=at if isinstance(at, str) and at else None,
        multilabel=declared("multilabel", False) is True,
        **{name: _values(name, declared(name, None)) for name in ("scale", "step", "immutable")},
    )


def _classes(value: Any) -> int:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise DomainError(f"The model declares classes = {value!r}; expected a number, or a list of their names.")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, Sequence) and all(isinstance(size, int) and size > 0 for size in value):
        return tuple(value)
    raise DomainError(
        f"The model declares input_shape = {value!r}; expected the sizes of one input, such as (3, 32, 32)."
    )


def _bounds(value: Any) -> tuple[float | Tensor, float | Tensor]:
    pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if pair and not any(isinstance(end, bool) for end in value):
        low, high = (end if isinstance(end, float | int) else _values("bounds", end) for end in value)
        return low, high
    raise DomainError(
        f"The model declares bounds = {value!r}; expected (lowest, highest): two numbers, or two lists or"
        " tensors with one for each feature."
    )


def _values(name: str, value: Any) -> Any:
    """Numbers as they stand or, of a list or an array, as a tensor; the name of a file is kept."""
    if value is None or isinstance(value, float | int | str | Tensor):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(
            f"The model declares {name} = {value!r:.200}; expected numbers, one for all or for each feature."
        ) from error
