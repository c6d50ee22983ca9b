"""Models from a user's own code: found, run once, described, and every way to fail told apart."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

from falsefloor.errors import DomainError, FalsefloorError, UsageError
from falsefloor.models.python import PythonModel

NET = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.layer = nn.Linear(width, 3)

        def forward(self, x):
            return self.layer(x)
"""


def write(folder: Path, code: str, *, name: str = "net.py") -> str:
    (folder / name).write_text(dedent(code), encoding="utf-8")
    return str(folder / name)


def test_a_factory_in_a_file_is_called(tmp_path: Path) -> None:
    file = write(tmp_path, NET + "\n    def make():\n        return Net(5)\n")
    loaded = PythonModel()(f"{file}:make")
    assert loaded.module(torch.rand(2, 5)).shape == (2, 3)
    assert loaded.files == (file,)
    assert (loaded.classes, loaded.input_shape) == (0, ())


def test_a_class_counts_as_a_factory_and_the_only_candidate_needs_no_name(tmp_path: Path) -> None:
    file = write(tmp_path, NET)
    assert type(PythonModel()(file).module).__name__ == "Net"
    assert type(PythonModel()(f"{file}:Net").module).__name__ == "Net"


def test_build_is_preferred_where_no_name_is_given(tmp_path: Path) -> None:
    file = write(tmp_path, NET + "\n    def build():\n        return Net(7)\n")
    assert PythonModel()(file).module(torch.rand(1, 7)).shape == (1, 3)


def test_a_model_that_stands_in_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path, "from torch import nn\nclassifier = nn.Sequential(nn.Linear(2, 2))\n")
    assert isinstance(PythonModel()(f"{file}:classifier").module, nn.Sequential)


def test_what_the_model_declares_comes_before_what_the_code_declares(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        NET
        + """
    classes = ["cat", "dog", "cow"]
    input_shape = (9,)
    bounds = (-1, 1)
    units = "volt"

    def build():
        net = Net()
        net.input_shape = (4,)
        return net
    """,
    )
    loaded = PythonModel()(file)
    assert (loaded.classes, loaded.input_shape, loaded.bounds, loaded.units) == (3, (4,), (-1, 1), "volt")


def test_a_layer_called_classes_is_no_declaration(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        NET
        + "\n    def build():\n        net = Net()\n        net.classes = net.layer\n        return net\n",
    )
    assert PythonModel()(file).classes == 0


def test_a_loaded_model_is_kept_and_gains_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        NET
        + """
    from falsefloor.api import LoadedModel

    def build():
        return LoadedModel(Net(), classes=3, input_shape=(4,), bounds=(0.0, 2.0), files=("weights.bin",))
    """,
    )
    loaded = PythonModel()(file)
    assert (loaded.bounds, loaded.files) == ((0.0, 2.0), ("weights.bin", file))


def test_modules_beside_the_file_are_found_and_belong_to_its_identity(tmp_path: Path) -> None:
    beside = write(tmp_path, NET, name="beside_for_test.py")
    file = write(tmp_path, "from beside_for_test import Net\ndef build():\n    return Net()\n")
    for _ in range(2):  # the second time the neighbour is in sys.modules already
        assert PythonModel()(file).files == (file, beside)
    assert str(tmp_path) not in sys.path


def test_an_edited_file_is_run_again_even_if_neither_its_second_nor_its_size_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = write(tmp_path, NET)
    PythonModel()(file)
    time = Path(file).stat().st_mtime
    write(tmp_path, NET.replace("width=4", "width=5"))
    os.utime(file, (time, time))
    assert PythonModel()(file).module(torch.rand(1, 5)).shape == (1, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["net.py"], "nothing is left beside it"


def test_a_model_from_a_file_can_be_copied(tmp_path: Path) -> None:
    loaded = PythonModel()(write(tmp_path, NET))
    assert copy.deepcopy(loaded.module)(torch.zeros(1, 4)).shape == (1, 3)


def test_an_installed_module_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo_for_test").mkdir()
    write(tmp_path / "zoo_for_test", "")
    file = write(tmp_path / "zoo_for_test", NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = PythonModel()("zoo_for_test.net:Net")
    assert loaded.files == (file,)


@pytest.mark.parametrize(
    "code,factory,complaint",
    [
        (NET, ":Nett", "has no 'Nett'. Did you mean 'Net'"),
        ("x = 1", "", "no 'build' and not exactly one model.*There is none"),
        (NET + "\n    class Other(Net): pass\n", "", "There are: Net, Other"),
        ("def build(): raise RuntimeError('no weights')", "", "RuntimeError: no weights at .*net.py, line 1"),
        ("def build(): import surely_missing.part", "", "needs the package 'surely_missing'"),
        ("import surely_missing", "", "needs the package 'surely_missing'"),
        ("def build(:", "", "invalid syntax in .*net.py, line 1"),
        ("import sys; sys.exit(3)", "", "SystemExit: 3 at .*net.py, line 1"),
        ("def build(): raise SystemExit", "", "SystemExit: no reason given"),
        ("def build(): return 7", "", "gives int; expected a torch.nn.Module"),
        ("def build(width): return width", ":build", "TypeError.*missing 1 required positional"),
    ],
)
def test_code_that_gives_no_model_says_why(tmp_path: Path, code: str, factory: str, complaint: str) -> None:
    file = write(tmp_path, code)
    with pytest.raises(UsageError, match=complaint):
        PythonModel()(file + factory)


def test_a_failed_file_leaves_no_trace(tmp_path: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(UsageError):
        PythonModel()(write(tmp_path, "raise ValueError('half way')"))
    assert not [name for name in set(sys.modules) - before if name.startswith("falsefloor_model")]


@pytest.mark.parametrize(
    "line,complaint",
    [
        ("classes = -1", "classes = -1"),
        ("classes = True", "classes = True"),
        ("input_shape = (0, 3)", r"input_shape = \(0, 3\)"),
        ("bounds = (0, 1, 2)", "expected \\(lowest, highest\\)"),
    ],
)
def test_a_declaration_of_the_wrong_kind_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(DomainError, match=complaint):
        PythonModel()(write(tmp_path, f"{dedent(NET)}\n{line}\n"))


@pytest.mark.parametrize(
    "ref,complaint",
    [
        ("surely_missing.net:build", "no Python module 'surely_missing.net'"),
        ("torch.surely_missing:build", "no Python module 'torch.surely_missing'"),
        ("nowhere/net.py:build", "no Python file nowhere/net.py: its folder"),
        (":build", "write python:FILE.py:factory"),
        ("", "write python:FILE.py:factory"),
    ],
)
def test_a_place_that_does_not_exist_is_named(ref: str, complaint: str) -> None:
    with pytest.raises(FalsefloorError, match=complaint):
        PythonModel()(ref)


def test_a_misspelt_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, NET)
    with pytest.raises(UsageError, match=r"'nett\.py'.*Did you mean 'net\.py'"):
        PythonModel()(str(tmp_path / "nett.py"))
