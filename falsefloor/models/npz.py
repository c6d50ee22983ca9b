"""Inputs from a NumPy archive (`npz:FILE`): arrays only, nothing in it is unpickled."""

from __future__ import annotations

import zipfile
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
from falsefloor.models.labels import as_classes
from falsefloor.models.refs import existing_file, refusal, select

INPUT_KEYS = ("inputs", "x", "images", "data", "x_test", "test_images")
LABEL_KEYS = ("labels", "y", "targets", "y_test", "test_labels")
LABELS_BESIDE = {"inputs": "labels", "x": "y", "images": "labels", "data": "labels", "x_test": "y_test"}
"""Of a lone array's file: the name of the labels that lie beside it."""
FORM = "npz:FILE.npz, npz:FILE.npz:0-9, npz:X.npy or npz:X.npy,Y.npy"
BYTE_WHITE = 255
KINDS = tuple(map(np.dtype, ("f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8", "?")))
"""That torch has too, in this byte order."""
LARGEST = 2**28
MOST_TIMES = 100
"""An archive may unpack to so many bytes, and to more where that is not so many times its own size."""


@dataclass(frozen=True)
class NpzInputs:
    """Arrays that numpy saved: `npz:FILE.npz[:0-9]`, `npz:X.npy[,Y.npy][:0-9]`.

    Inputs are (N, *input), labels (N,) where there are any.

    In an archive under one of `INPUT_KEYS` and `LABEL_KEYS`, however they are capitalised. Beside x.npy,
    y.npy holds the labels, and so on by `LABELS_BESIDE`, unless others are named. Without labels the model's
    own answers are taken. Values are used as they stand, in their own number type. Raises
    UsageError for a file that cannot be read, DomainError for arrays that do not fit.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        head, colon, tail = ref.rpartition(":")
        name, chosen = (head, tail) if colon and not tail.endswith((".npz", ".npy")) else (ref, "")
        path, arrays = _arrays(name)
        inputs = _inputs(_pick(arrays, INPUT_KEYS, path), path, model)
        labels = _labels(arrays, path, count=len(inputs), model=model)
        rows = select(chosen, count=len(inputs), what=str(path)) if chosen else list(range(len(inputs)))
        return LabelledInputs(
            inputs=inputs[rows],
            labels=None if labels is None else labels[rows],
            names=[f"{path.name}:{row}" for row in rows],
        )


def _arrays(name: str) -> tuple[Path, Mapping[str, NDArray[Any]]]:
    """The file of the inputs, and the arrays of an archive or a pair of files by the names of `_pick`."""
    first, comma, second = name.partition(",")
    if not (comma and first.endswith(".npy")) and not name.endswith(".npy"):
        path = existing_file(name, kind="NumPy archive", form=FORM)
        return path, _read(path)
    path = existing_file(first, kind="NumPy array", form=FORM)
    beside = path.with_name(f"{LABELS_BESIDE.get(path.stem.lower(), '')}.npy")
    other = existing_file(second, kind="NumPy array", form=FORM) if comma else beside
    labels = {"labels": _lone(other)} if comma or other.is_file() else {}
    return path, {"inputs": _lone(path), **labels}


def _lone(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                raise ValueError("it holds several arrays")
            return found
    except Exception as error:  # numpy raises whatever its readers happen to raise
        raise refusal(
            f"{path} cannot be read as one plain NumPy array: {error} (objects are never unpickled). Write it"
            " with numpy.save(FILE, array).",
            str(path),
        ) from error


def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:  # ours, so that it is closed where numpy fails half way
            _check_size(path)
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array without a name")
            known = INPUT_KEYS + LABEL_KEYS
            return {key: file[key] if key.lower() in known else np.empty(0) for key in file.files}
    except Exception as error:  # as above, and whatever its archive's
        raise refusal(
            f"{path} cannot be read as a NumPy archive of plain arrays: {error} "
            "(objects are never unpickled). Write it with numpy.savez(FILE, inputs=…, labels=…).",
            str(path),
        ) from error


def _check_size(path: Path) -> None:
    """Raises `ValueError` for an archive that would fill the memory from a small file."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    packed, whole = sum(one.compress_size for one in members), sum(one.file_size for one in members)
    if whole > LARGEST and whole > MOST_TIMES * packed:
        raise ValueError(f"its {packed:,} bytes would become {whole:,}")


def _pick(arrays: Mapping[str, NDArray[Any]], keys: tuple[str, ...], path: Path) -> NDArray[Any]:
    found = [key for key in arrays if key.lower() in keys]
    if len(found) == 1:
        return arrays[found[0]]
    if found:
        raise UsageError(f"{path} holds both {found[0]!r} and {found[1]!r}; keep one.")
    there = ", ".join(map(repr, arrays)) or "nothing"
    others = ", ".join(map(repr, keys[1:]))
    raise UsageError(f"{path} has no array {keys[0]!r} (or {others}); it holds {there}.")


def _inputs(array: NDArray[Any], path: Path, model: LoadedModel) -> Tensor:

    def wrong(said: str) -> DomainError:
        return DomainError(f"{path}: {said}")

    if array.dtype.kind not in "fiub":
        raise wrong(f"the inputs are of type {array.dtype}; numbers were expected.")
    if array.ndim < 2 or len(array) == 0:
        raise wrong(f"the inputs have shape {array.shape}; expected (N, *input) with N of at least 1.")
    shape = tuple(array.shape[1:])
    if model.input_shape and shape != tuple(model.input_shape):
        same = np.prod(shape) == np.prod(model.input_shape)
        sizes = str(tuple(model.input_shape)).strip("()").rstrip(",")
        advice = f"reshape them to (N, {sizes})" if same else "name others"
        raise wrong(f"one input has shape {shape}, the model takes {tuple(model.input_shape)}; {advice}.")
    upper = None if model.at else model.bounds[1]
    if array.dtype == np.uint8 and isinstance(upper, float | int) and array.max() > upper:
        raise wrong(
            f"the inputs are bytes up to {array.max()}, the model's domain ends at {upper:g}. "
            f"Divide by {BYTE_WHITE} before saving, or declare the bounds 0,{BYTE_WHITE}."
        )
    known = array if array.dtype in KINDS else array.astype(np.float64)
    return torch.from_numpy(np.ascontiguousarray(known))


def _labels(
    arrays: Mapping[str, NDArray[Any]], path: Path, *, count: int, model: LoadedModel
) -> Tensor | None:
    """As they stand, one-hot too, once they are known to be classes: how they are read is said later on."""
    if not any(key.lower() in LABEL_KEYS for key in arrays):
        return None
    array = _pick(arrays, LABEL_KEYS, path)
    if array.dtype.kind not in "iubf":
        raise DomainError(
            f"{path}: the labels are {array.dtype} of shape {array.shape}; expected ({count},) integers."
        )
    labels = torch.from_numpy(
        np.ascontiguousarray(array).astype(np.float64 if array.dtype.kind == "f" else np.int64)
    )
    if model.multilabel:
        return labels
    classes = max(model.classes, 2) if model.classes else 0
    try:
        as_classes(labels, count=count, classes=classes)
    except DomainError as error:
        raise DomainError(f"{path}: {error}") from error
    return labels
