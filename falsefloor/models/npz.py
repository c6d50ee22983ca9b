"""Inputs from a NumPy archive (`npz:FILE`): arrays only, nothing in it is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.refs import existing_file, select

INPUT_KEYS = ("inputs", "x")
LABEL_KEYS = ("labels", "y")
BYTE_WHITE = 255


@dataclass(frozen=True)
class NpzInputs:
    """`npz:FILE.npz`, or `npz:FILE.npz:0-9`: (N, *input) under "inputs" or "x", (N,) under "labels" or "y".

    Without labels the model's own answers are taken. Values are used as they stand, in the model's floating
    point type. Raises UsageError for a file that cannot be read, DomainError for arrays that do not fit.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        head, colon, tail = ref.rpartition(":")
        name, chosen = (head, tail) if colon and not tail.endswith(".npz") else (ref, "")
        path = existing_file(name, kind="NumPy archive", form="npz:FILE.npz or npz:FILE.npz:0-9")
        arrays = _read(path)
        inputs = _inputs(_pick(arrays, INPUT_KEYS, path), path, model)
        labels = _labels(arrays, path, count=len(inputs), classes=model.classes)
        rows = select(chosen, count=len(inputs), what=str(path)) if chosen else list(range(len(inputs)))
        return LabelledInputs(
            inputs=inputs[rows],
            labels=None if labels is None else labels[rows],
            names=[f"{path.name}:{row}" for row in rows],
        )


def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:  # ours, so that it is closed where numpy fails half way
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array without a name")
            return {key: file[key] if key in INPUT_KEYS + LABEL_KEYS else np.empty(0) for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read as a NumPy archive of plain arrays: {error} "
            "(objects are never unpickled). Write it with numpy.savez(FILE, inputs=…, labels=…)."
        ) from error


def _pick(arrays: Mapping[str, NDArray[Any]], keys: tuple[str, str], path: Path) -> NDArray[Any]:
    found = [key for key in keys if key in arrays]
    if len(found) == 1:
        return arrays[found[0]]
    if found:
        raise UsageError(f"{path} holds both {keys[0]!r} and {keys[1]!r}; keep one.")
    there = ", ".join(map(repr, arrays)) or "nothing"
    raise UsageError(f"{path} has no array {keys[0]!r} (or {keys[1]!r}); it holds {there}.")


def _inputs(array: NDArray[Any], path: Path, model: LoadedModel) -> Tensor:
    if array.dtype.kind not in "fiub":
        raise DomainError(f"{path}: the inputs are of type {array.dtype}; numbers were expected.")
    if array.ndim < 2 or len(array) == 0:
        raise DomainError(
            f"{path}: the inputs have shape {array.shape}; expected (N, *input) with N of at least 1."
        )
    shape = tuple(array.shape[1:])
    if model.input_shape and shape != tuple(model.input_shape):
        same = np.prod(shape) == np.prod(model.input_shape)
        advice = (
            f"reshape them to (N, {str(tuple(model.input_shape)).strip('()').rstrip(',')})"
            if same
            else "name others"
        )
        raise DomainError(
            f"{path}: one input has shape {shape}, the model takes {tuple(model.input_shape)}; {advice}."
        )
    upper = model.bounds[1]
    if array.dtype == np.uint8 and isinstance(upper, float | int) and array.max() > upper:
        raise DomainError(
            f"{path}: the inputs are bytes up to {array.max()}, the model's domain ends at {upper:g}. "
            f"Divide by {BYTE_WHITE} before saving, or declare the bounds 0,{BYTE_WHITE}."
        )
    kinds = (value.dtype for value in model.module.state_dict().values() if value.is_floating_point())
    return torch.from_numpy(np.ascontiguousarray(array)).to(next(kinds, torch.float32))


def _labels(arrays: Mapping[str, NDArray[Any]], path: Path, *, count: int, classes: int) -> Tensor | None:
    if not any(key in arrays for key in LABEL_KEYS):
        return None
    array = _pick(arrays, LABEL_KEYS, path)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DomainError(
            f"{path}: the labels are {array.dtype} of shape {array.shape}; expected ({count},) integers."
        )
    if len(array) != count:
        raise DomainError(f"{path}: there are {count} inputs but {len(array)} labels.")
    if array.min() < 0 or (classes and array.max() >= classes):
        known = f"0 to {classes - 1}" if classes else "0 and up"
        raise DomainError(f"{path}: labels run from {array.min()} to {array.max()}, the classes are {known}.")
    return torch.from_numpy(array.astype(np.int64))
