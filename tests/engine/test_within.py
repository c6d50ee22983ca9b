"""A model judged at a place inside it: distances are in the space of the values there, and this is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.cli.studies import build_study
from falsefloor.engine.session import Session
from falsefloor.errors import UsageError
from falsefloor.study.units import model_json

IDS = torch.tensor([[3, 7, 9, 0, 0], [4, 4, 8, 1, 6]])
CHEAP = [
    "clever:batches=6,samples=12",
    "finite-difference:batches=1,samples=2",
    "attack:steps=8,restarts=1,rounds=0",
]
CODE = """
import torch
from torch import nn


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(20, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, ids):
        seen = (ids != 0).float()[..., None]
        return self.head((self.words(ids) * seen).sum(1) / seen.sum(1).clamp(min=1))


build = Mean
"""


def model() -> nn.Module:
    names: dict[str, Any] = {}
    exec(CODE, names)
    made: nn.Module = names["build"]()
    return made


def exact(made: Any) -> list[float]:
    """In the largest coordinate: the mean over tokens moves as far as every one of them does."""
    logits, weight = made(IDS).detach(), made.head.weight.detach()
    top = logits.argmax(1)
    gaps = logits.gather(1, top[:, None]) - logits
    found: Tensor = (gaps / (weight[top][:, None] - weight).abs().sum(2)).nan_to_num(torch.inf).amin(1)
    return [float(one) for one in found]


def judged(made: nn.Module, inputs: Tensor = IDS, **options: Any) -> ff.Results:
    return ff.evaluate(made, inputs, estimators=CHEAP, recover="off", progress=False, **options)


@pytest.mark.parametrize("place", ["words", "embedding"])
def test_tokens_are_judged_behind_their_embedding(place: str) -> None:
    made = model()
    results = judged(made, at=place)
    assert {one["verdict"] for one in results.estimates} == {"held"}
    for name in ("clever", "attack"):
        found = [one["radius"] for one in results.estimates if one["estimator"] == name]
        assert found == pytest.approx(exact(made), rel=1e-4), (
            "padding, which the model sees beside, is masked"
        )
    assert any("moved is the output of words, (5, 4)" in said for said in results.document["run"]["said"])


def test_any_submodule_is_judged_at_its_input_with_the_names_that_maskers_know() -> None:
    torch.manual_seed(1)
    made = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    points = torch.rand(2, 6)
    inside = judged(made, points, at="2", bounds=(-1, 1), maskers=["none", "staircase:c=255,at=2"])
    alone = judged(made[2], made[:2](points).detach(), bounds=(-1, 1))
    bare = [one for one in inside.estimates if one["masker"] == "none"]
    assert [one["radius"] for one in bare] == pytest.approx([one["radius"] for one in alone.estimates])
    masked = [one for one in inside.estimates if one["masker"] != "none" and one["estimator"] == "clever"]
    assert {one["verdict"] for one in masked} == {"refuted"}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.layer(self.layer(inputs))
        return found


@pytest.mark.parametrize(
    "made,inputs,place,said",
    [
        (model(), IDS, "word", "no submodule 'word'.*words"),
        (Twice(), torch.rand(2, 3), "layer", "asks layer 2 times.*Name another: at='NAME' in Python, --at"),
        (nn.Sequential(nn.Identity(), model()), IDS, "1", "int64.*embeddings are 1.words"),
        (nn.Sequential(nn.Identity(), model()), IDS, "1.words.nothing", "no submodule"),
    ],
)
def test_a_place_that_cannot_be_moved_is_refused_with_others(
    made: nn.Module, inputs: Tensor, place: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        judged(made, inputs, at=place)


def test_the_place_is_named_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "declared.py").write_text(CODE + "\nat = 'words'\n")
    np.savez(tmp_path / "ids.npz", x=IDS.numpy())
    file, inputs = f"python:{tmp_path}/net.py:build", f"npz:{tmp_path}/ids.npz"
    (spec,) = build_study(None, models=[file], at="words", inputs=inputs).models
    assert spec.name.endswith(", at words")
    told = []
    for table in (
        model_json(spec),
        {"use": f"{file}:at=words"},
        {"use": f"python:{tmp_path}/declared.py"},
    ):
        found = Session().prepared(table, inputs)
        assert found.facts["shape"] == [5, 4]
        assert found.facts["units"] == "values at the output of words"
        told.append(found.facts["said"])
    assert told[0] == told[1] == told[2]


def test_bounds_beside_the_place_are_of_the_place(tmp_path: Path) -> None:
    (tmp_path / "declared.py").write_text(CODE + "\nat, bounds = 'words', (-4, 4)\n")
    np.savez(tmp_path / "ids.npz", x=IDS.numpy())
    found = Session().prepared({"use": f"python:{tmp_path}/declared.py"}, f"npz:{tmp_path}/ids.npz")
    assert found.facts["bounds"] == [-4, 4]
