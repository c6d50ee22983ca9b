"""The quantiser keeps the contract, learns what is there, and begins where its file says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from falsefloor_learned.quantiser import LearnedQuantiser, Quantised, grouped
from torch import Tensor, nn

from falsefloor.testing import parametrize_with_checks


class _Context:
    rows = 64

    def __init__(self) -> None:
        self.generators = [torch.Generator().manual_seed(0)]

    def progress(self, done: int, total: int, /, **series: Tensor) -> None:
        assert 0 < done <= total

    def warn(self, code: str, message: str, *, inputs: Tensor | None = None) -> None:
        raise AssertionError(code)


def learnt(inputs: Tensor, **options: int | str) -> Quantised:
    masker = LearnedQuantiser(**options)  # type: ignore[arg-type]
    made = masker.calibrate(inputs, _Context())(nn.Identity())  # type: ignore[arg-type]
    assert isinstance(made, Quantised)
    return made


@parametrize_with_checks("masker", [LearnedQuantiser(), LearnedQuantiser(codes=4, size=3)])
def test_it_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["falsefloor.maskers"]
    assert EntryPoint("learned-vq", points["learned-vq"], "falsefloor.maskers").load() is LearnedQuantiser


def test_two_clusters_become_two_codes() -> None:
    inputs = torch.tensor([[0.1, 0.12, 0.9], [0.88, 0.11, 0.91]])
    codes = learnt(inputs, codes=2, size=1).codes.flatten().sort().values
    assert torch.allclose(codes, torch.tensor([0.11, 0.8967]), atol=1e-3)


def test_every_group_becomes_its_nearest_code() -> None:
    module = Quantised(nn.Identity(), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert module(torch.tensor([[0.1, 0.2, 0.9, 0.8, 0.7]])).tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]


def test_a_row_is_filled_up_with_its_last_value() -> None:
    assert grouped(torch.tensor([[1.0, 2.0, 3.0]]), 2).tolist() == [[[1.0, 2.0], [3.0, 3.0]]]


def test_it_begins_with_the_codes_of_its_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "codes.txt"
    path.write_text("0.25\n0.75\n")
    assert list(LearnedQuantiser(start=str(path)).files()) == [str(path)]
    module = learnt(torch.rand(3, 4), size=1, rounds=0, start=str(path))
    assert module.codes.flatten().tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match="2 numbers a line"):
        learnt(torch.rand(3, 4), size=2, start=str(path))
