"""A file where another was expected: told what it is and how it is used, without reading or running it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import falsefloor as ff
from falsefloor.errors import UsageError
from falsefloor.models.export import ExportModel
from falsefloor.models.python import PythonModel
from falsefloor.models.refs import kind_of_file
from falsefloor.study.grammar import split_ref

LAYER = nn.Linear(4, 3).eval()


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in use
        torch.jit.script(LAYER).save(str(path))


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(LAYER, (torch.rand(2, 4),)), path)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "state.pt": (
        lambda path: torch.save(LAYER.state_dict(), path),
        r"python:FILE\.py:build:weights=",
    ),
    "script.pt": (scripted, "TorchScript, which is code: export"),
    "program.bin": (exported, "an exported program: as a model, export:"),
    "x.npy": (
        lambda path: np.save(path, np.zeros((2, 4))),
        "one NumPy array: as inputs, --inputs npz:.*x.npy",
    ),
    "batch.npz": (lambda path: np.savez(path, x=np.zeros((2, 4))), "as inputs, --inputs npz:.*batch.npz"),
    "net.py": (lambda path: path.write_text(""), "as a model, python:.*net.py:build"),
    "w.safetensors": (lambda path: path.write_bytes(b"12345678"), r"python:FILE\.py:build:weights="),
    "net.onnx": (lambda path: path.write_bytes(b"onnx"), "as a model, onnx:"),
    "net.h5": (lambda path: path.write_bytes(b"\x89HDF"), "Keras"),
    "table.csv": (lambda path: path.write_text("a,b"), "csv:.*:label=COLUMN"),
    "old.pkl": (lambda path: path.write_bytes(b"\x80\x04."), "a pickle, which is never read"),
    "broken.pt": (lambda path: path.write_bytes(b"PK\x03\x04half"), "truncated"),
    "study.toml": (lambda path: path.write_text(""), "falsefloor run .*study.toml"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_scheme_is_told_what_it_is(tmp_path: Path, name: str) -> None:
    write, said = FILES[name]
    write(tmp_path / name)
    with pytest.raises(UsageError, match=said):
        split_ref(str(tmp_path / name))


def test_folders_are_told_by_what_lies_in_them(tmp_path: Path) -> None:
    assert kind_of_file(str(tmp_path)) == ""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    assert "images:" in kind_of_file(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert "Hugging Face" in kind_of_file(str(tmp_path))


def test_a_file_under_the_wrong_scheme_is_told_what_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    torch.save(LAYER.state_dict(), state)
    with pytest.raises(UsageError, match=r"no exported program.*weights without a model"):
        ExportModel()(str(state))
    with pytest.raises(UsageError, match=r"no Python file.*weights without a model"):
        PythonModel()(str(state))
    live: Any = str(state)
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module.*weights without a model"):
        ff.evaluate(live, torch.rand(2, 4))


@pytest.mark.parametrize("ref", ["", "nothing", "digits", "x\0y", "~nobody-here/x", "a:b"])
def test_what_is_no_file_is_told_nothing_of(ref: str) -> None:
    assert kind_of_file(ref) == ""


def test_a_partial_named_build_is_a_factory(tmp_path: Path) -> None:
    (tmp_path / "partial_net.py").write_text(
        "from functools import partial\nfrom torch import nn\nbuild = partial(nn.Linear, 4, 3)\n"
    )
    loaded = PythonModel()(f"{tmp_path}/partial_net.py")
    assert isinstance(loaded.module, nn.Linear)
