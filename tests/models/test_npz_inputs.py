"""Inputs from NumPy archives: honest files load, others are refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from falsefloor.api import LoadedModel
from falsefloor.errors import UsageError
from falsefloor.models.npz import NpzInputs

MODEL = LoadedModel(module=nn.Linear(4, 3), classes=3, input_shape=(4,))
GOOD = np.linspace(0, 1, 20, dtype=np.float64).reshape(5, 4)


def save(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "batch.npz", **arrays)
    return str(folder / "batch.npz")


@pytest.mark.parametrize("keys", [("inputs", "labels"), ("x", "y")])
def test_inputs_and_labels_are_read_under_either_name(tmp_path: Path, keys: tuple[str, str]) -> None:
    labels = np.array([0, 1, 2, 0, 1], dtype=np.int32)
    given = NpzInputs()(save(tmp_path, **{keys[0]: GOOD, keys[1]: labels}), MODEL)
    assert given.inputs.dtype == torch.float32
    assert torch.equal(given.inputs, torch.from_numpy(GOOD).float())
    assert given.labels is not None
    assert given.labels.tolist() == labels.tolist()
    assert list(given.names) == [f"batch.npz:{row}" for row in range(5)]


def test_inputs_take_the_models_own_precision(tmp_path: Path) -> None:
    double = LoadedModel(module=nn.Linear(4, 3).double(), classes=3, input_shape=(4,))
    assert torch.equal(NpzInputs()(save(tmp_path, x=GOOD), double).inputs, torch.from_numpy(GOOD))


def test_without_labels_none_are_made_up(tmp_path: Path) -> None:
    assert NpzInputs()(save(tmp_path, x=GOOD), MODEL).labels is None


def test_a_selection_keeps_the_rows_own_numbers(tmp_path: Path) -> None:
    given = NpzInputs()(save(tmp_path, x=GOOD, y=np.arange(5) % 3) + ":1-2,4", MODEL)
    assert torch.equal(given.inputs, torch.from_numpy(GOOD[[1, 2, 4]]).float())
    assert given.labels is not None
    assert given.labels.tolist() == [1, 2, 1]
    assert list(given.names) == ["batch.npz:1", "batch.npz:2", "batch.npz:4"]


def test_a_model_of_unknown_shape_and_classes_takes_what_comes(tmp_path: Path) -> None:
    unknown = LoadedModel(module=nn.Identity(), classes=0, input_shape=())
    assert NpzInputs()(save(tmp_path, x=GOOD, y=np.full(5, 99)), unknown).inputs.shape == (5, 4)


def test_values_that_are_not_finite_are_left_to_be_judged(tmp_path: Path) -> None:
    assert torch.isnan(NpzInputs()(save(tmp_path, x=GOOD * np.nan), MODEL).inputs).all()


@pytest.mark.parametrize(
    "arrays,complaint",
    [
        ({"pixels": GOOD}, "no array 'inputs' \\(or 'x'\\); it holds 'pixels'"),
        ({}, "it holds nothing"),
        ({"x": GOOD, "inputs": GOOD}, "holds both 'inputs' and 'x'"),
        ({"x": GOOD[:, :3]}, r"shape \(3,\), the model takes \(4,\)"),
        ({"x": GOOD.reshape(5, 2, 2)}, r"reshape them to \(N, 4\)"),
        ({"x": GOOD[:0]}, r"shape \(0, 4\)"),
        ({"x": GOOD.ravel()}, r"expected \(N, \*input\)"),
        ({"x": GOOD * 1j}, "complex128"),
        ({"x": np.array([["a"] * 4])}, "numbers were expected"),
        ({"x": np.array([[object()] * 4])}, "never unpickled"),
        ({"x": GOOD, "y": np.arange(4)}, "5 inputs but 4 labels"),
        ({"x": GOOD, "y": np.arange(5)}, "labels run from 0 to 4, the classes are 0 to 2"),
        ({"x": GOOD, "y": np.arange(5) - 1}, "labels run from -1"),
        ({"x": GOOD, "y": np.zeros(5)}, r"expected \(5,\) integers"),
        ({"x": (GOOD * 255).astype(np.uint8)}, "bytes up to 255, the model's domain ends at 1"),
    ],
)
def test_arrays_that_do_not_fit_say_what_was_found(
    tmp_path: Path, arrays: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        NpzInputs()(save(tmp_path, **arrays), MODEL)


def test_bytes_are_welcome_where_the_domain_is_bytes(tmp_path: Path) -> None:
    bytes_model = LoadedModel(module=nn.Linear(4, 3), classes=3, input_shape=(4,), bounds=(0.0, 255.0))
    given = NpzInputs()(save(tmp_path, x=np.full((1, 4), 200, dtype=np.uint8)), bytes_model)
    assert given.inputs.tolist() == [[200.0] * 4]


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    whole = Path(save(tmp_path, x=GOOD)).read_bytes()
    np.save(tmp_path / "single.npy", GOOD)
    broken = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"1,2,3\n",
        "single": (tmp_path / "single.npy").read_bytes(),
        "flipped": whole[:200] + bytes(byte ^ 255 for byte in whole[200:260]) + whole[260:],
    }
    for name, content in broken.items():
        file = tmp_path / f"{name}.npz"
        file.write_bytes(content)
        with pytest.raises(UsageError, match=str(file)):
            NpzInputs()(str(file), MODEL)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    save(tmp_path, x=GOOD)
    with pytest.raises(UsageError, match=r"'bach\.npz'.*Did you mean 'batch\.npz'"):
        NpzInputs()(str(tmp_path / "bach.npz") + ":0-1", MODEL)
