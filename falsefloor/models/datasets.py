"""Inputs from Python code (`python:FILE.py:factory`): a data set as torchvision has them, or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.python import made_by
from falsefloor.models.refs import PART, select

MOST = 100
"""Items of a data set that are taken where no rows are named."""
HOW = (
    "expected a data set of (input, label) items, a pair (inputs, labels), a tensor of inputs or a"
    " falsefloor.api.LabelledInputs"
)


@dataclass(frozen=True)
class PythonInputs:
    """`python:FILE.py:factory[:0-9]`: what the factory returns; the file's code runs.

    Of a data set the first 100 items are taken unless rows are named. Its items are tensors or arrays;
    pictures need a transform to tensors. Raises `UsageError` and `DomainError`.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, _model: LoadedModel, /) -> LabelledInputs:
        head, _, tail = ref.rpartition(":")
        rows = tail if head and all(PART.fullmatch(part) for part in tail.split(",")) else ""
        place = head if rows else ref
        found = made_by(place)
        if isinstance(found, LabelledInputs):
            inputs, labels = found.inputs, found.labels
        elif isinstance(found, tuple | list) and len(found) == 2 and _is_batch(found[0]):
            inputs, labels = torch.as_tensor(found[0]), torch.as_tensor(found[1])
        elif _is_batch(found):
            inputs, labels = torch.as_tensor(found), None
        elif hasattr(found, "__len__") and hasattr(found, "__getitem__"):
            return _items(found, rows, place)
        else:
            raise DomainError(f"{place} gives {type(found).__name__}; {HOW}.")
        chosen = select(rows, count=len(inputs), what=place) if rows else list(range(len(inputs)))
        return LabelledInputs(
            inputs[chosen], None if labels is None else labels[chosen], [f"{place}:{row}" for row in chosen]
        )


def _is_batch(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) and value.ndim >= 2


def _items(dataset: Any, rows: str, place: str) -> LabelledInputs:
    count = len(dataset)
    if not count:
        raise DomainError(f"{place} gives an empty {type(dataset).__name__}; {HOW}.")
    chosen = select(rows, count=count, what=place) if rows else list(range(min(count, MOST)))
    inputs: list[Tensor] = []
    labels: list[Any] = []
    for row in chosen:
        try:
            item = dataset[row]
        except Exception as error:
            raise UsageError(
                f"item {row} of {place} cannot be read: {type(error).__name__}: {error}"
            ) from error
        pair = isinstance(item, tuple | list) and len(item) >= 2
        value = item[0] if pair else item
        if not isinstance(value, Tensor | np.ndarray):
            raise DomainError(
                f"item {row} of {place} holds {type(value).__name__}; give the data set a transform to"
                " tensors, such as torchvision.transforms.ToTensor()."
            )
        inputs.append(torch.as_tensor(value))
        labels.append(item[1] if pair else None)
    shapes = {tuple(one.shape) for one in inputs}
    if len(shapes) > 1:
        some = ", ".join(map(str, sorted(shapes)[:3]))
        raise DomainError(
            f"the items of {place} have different shapes: {some} …; resize or crop them to one."
        )
    return LabelledInputs(torch.stack(inputs), _labels(labels, place), [f"{place}:{row}" for row in chosen])


def _labels(labels: Sequence[Any], place: str) -> Tensor | None:
    if all(label is None for label in labels):
        return None
    try:
        return torch.stack([torch.as_tensor(label) for label in labels])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(f"the labels of {place} cannot be read as numbers: {error}.") from error
