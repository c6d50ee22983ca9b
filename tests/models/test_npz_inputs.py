"""Inputs from NumPy archives: honest files load, others are refused with the reason."""

from __future__ import annotations

from dataclasses import replace
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


@pytest.mark.parametrize(
    "keys",
    [
        ("inputs", "labels"),
        ("x", "y"),
        ("X", "Y"),
        ("x_test", "y_test"),
        ("images", "labels"),
        ("data", "targets"),
    ],
)
def test_inputs_and_labels_are_read_under_either_name(tmp_path: Path, keys: tuple[str, str]) -> None:
    labels = np.array([0, 1, 2, 0, 1], dtype=np.int32)
    given = NpzInputs()(save(tmp_path, **{keys[0]: GOOD, keys[1]: labels}), MODEL)
    assert torch.equal(given.inputs, torch.from_numpy(GOOD))
    assert given.labels is not None
    assert given.labels.tolist() == labels.tolist()
    assert list(given.names) == [f"batch.npz:{row}" for row in range(5)]


@pytest.mark.parametrize("kind", ["f2", "f4", ">f4", "f8", "u1", "i8", "u2"])
def test_inputs_keep_their_own_number_type_where_torch_has_it(tmp_path: Path, kind: str) -> None:
    values = np.arange(20).reshape(5, 4).astype(kind)
    given = NpzInputs()(save(tmp_path, x=values), replace(MODEL, bounds=(0.0, 20.0))).inputs
    assert given.tolist() == values.tolist()
    kept = {"f2": torch.float16, "f4": torch.float32, "u1": torch.uint8, "i8": torch.int64}
    assert given.dtype == kept.get(kind, torch.float64)


def test_without_labels_none_are_made_up(tmp_path: Path) -> None:
    assert NpzInputs()(save(tmp_path, x=GOOD), MODEL).labels is None


def test_a_selection_keeps_the_rows_own_numbers(tmp_path: Path) -> None:
    given = NpzInputs()(save(tmp_path, x=GOOD, y=np.arange(5) % 3) + ":1-2,4", MODEL)
    assert torch.equal(given.inputs, torch.from_numpy(GOOD[[1, 2, 4]]))
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
        ({"pixels": GOOD}, "no array 'inputs' \\(or 'x', .*\\); it holds 'pixels'"),
        ({}, "it holds nothing"),
        ({"x": GOOD, "inputs": GOOD}, "holds both 'x' and 'inputs'"),
        ({"x": GOOD[:, :3]}, r"shape \(3,\), the model takes \(4,\)"),
        ({"x": GOOD.reshape(5, 2, 2)}, r"reshape them to \(N, 4\)"),
        ({"x": GOOD[:0]}, r"shape \(0, 4\)"),
        ({"x": GOOD.ravel()}, r"expected \(N, \*input\)"),
        ({"x": GOOD * 1j}, "complex128"),
        ({"x": np.array([["a"] * 4])}, "numbers were expected"),
        ({"x": np.array([[object()] * 4])}, "never unpickled"),
        ({"x": GOOD, "y": np.arange(4)}, r"5 inputs need as many labels; there are \(4,\)"),
        ({"x": GOOD, "y": np.arange(5)}, "labels run from 0 to 4, classes run from 0 to 2"),
        ({"x": GOOD, "y": np.arange(5) - 1}, "labels run from -1"),
        ({"x": GOOD, "y": np.full(5, 0.5)}, "not all whole numbers"),
        ({"x": GOOD, "y": np.array(["cat"] * 5)}, r"expected \(5,\) integers"),
        ({"x": GOOD, "y": np.full((5, 3), 0.3)}, r"argmax\(1\)"),
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


def test_training_data_beside_test_data_is_left_alone(tmp_path: Path) -> None:
    keras = save(tmp_path, x_train=GOOD, y_train=np.arange(5), x_test=GOOD[:2], y_test=np.array([2, 1]))
    given = NpzInputs()(keras, MODEL)
    assert given.labels is not None
    assert given.labels.tolist() == [2, 1]


def test_one_hot_labels_are_kept_for_the_model_to_say_how_they_are_read(tmp_path: Path) -> None:
    one_hot = np.eye(3)[[2, 0, 1, 1, 0]]
    given = NpzInputs()(save(tmp_path, x=GOOD, y=one_hot) + ":1-2", MODEL)
    assert given.labels is not None
    assert given.labels.argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("names", [("x", "y"), ("inputs", "labels"), ("x_test", "y_test")])
def test_arrays_in_files_of_their_own_are_a_batch(tmp_path: Path, names: tuple[str, str]) -> None:
    labels = np.array([0, 1, 2, 0, 1])
    np.save(tmp_path / f"{names[0]}.npy", GOOD)
    alone = NpzInputs()(f"{tmp_path}/{names[0]}.npy", MODEL)
    assert alone.labels is None
    np.save(tmp_path / f"{names[1]}.npy", labels)
    np.save(tmp_path / "other.npy", (labels + 1) % 3)
    for ref, expected in ((f"{names[0]}.npy", labels), (f"{names[0]}.npy,{tmp_path}/other.npy", labels + 1)):
        given = NpzInputs()(f"{tmp_path}/{ref}:1-3", MODEL)
        assert torch.equal(given.inputs, torch.from_numpy(GOOD[1:4]))
        assert given.labels is not None
        assert given.labels.tolist() == (expected[1:4] % 3).tolist()


def test_a_lone_array_that_cannot_be_read_says_what_the_file_is(tmp_path: Path) -> None:
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"one plain NumPy array.*what torch.save wrote"):
        NpzInputs()(f"{tmp_path}/x.npy", MODEL)
    with pytest.raises(UsageError, match="no NumPy array"):
        NpzInputs()(f"{tmp_path}/z.npy", MODEL)


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
