"""Bounds, units, grids and fixed features: exact distances, in Python and on the command line."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.cli.studies import build_study
from falsefloor.engine.arrays import unpack_tensor
from falsefloor.engine.domain import mixed_units
from falsefloor.errors import UsageError
from falsefloor.models.factory import described
from falsefloor.study.file import study_from, write_study
from falsefloor.study.units import model_json

SEEDED = torch.Generator().manual_seed(5)
WEIGHT = torch.randn(3, 6, generator=SEEDED)
POINTS = 0.35 + 0.3 * torch.rand(2, 6, generator=SEEDED)
ESTIMATORS = [
    "clever:batches=4,samples=16",
    "finite-difference:batches=2,samples=2",
    "attack:steps=8,restarts=1,rounds=0",
]
SCALE = torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 8.0])


def linear(factor: float = 1.0) -> nn.Linear:
    layer = nn.Linear(6, 3, bias=False)
    layer.weight.data = WEIGHT * factor
    return layer


def exact(points: Tensor, weight: Tensor, *, norm: str = "linf") -> list[float]:
    """To the nearest other class; a feature of weight 0 is one that may not change."""
    logits = points @ WEIGHT.T
    top = logits.argmax(1)
    gaps = logits.gather(1, top[:, None]) - logits
    sizes = torch.linalg.vector_norm(weight[top][:, None] - weight, 1 if norm == "linf" else 2, dim=2)
    return (gaps / sizes).nan_to_num(torch.inf).amin(1).tolist()


def judged(model: nn.Module, points: Tensor, **options: Any) -> ff.Results:
    options = {"bounds": (-5, 5), "estimators": ESTIMATORS} | options
    return ff.evaluate(model, points, recover="off", progress=False, **options)


def radii(results: ff.Results, name: str) -> list[float]:
    return [one["radius"] for one in results.estimates if one["estimator"] == name]


def witnesses(results: ff.Results) -> list[Tensor]:
    with results.reader() as reader:
        stored = [reader.array(one["witness"]) for one in results.estimates if one["estimator"] == "attack"]
    return [unpack_tensor(one) for one in stored if one is not None]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_distances_are_in_units_of_the_scale_and_witnesses_in_the_inputs_own(norm: Any) -> None:
    results = judged(linear(), POINTS, scale=SCALE.tolist(), norm=norm)
    for name in ("clever", "finite-difference", "attack"):
        assert radii(results, name) == pytest.approx(exact(POINTS, WEIGHT * SCALE, norm=norm), rel=1e-3)
    order = torch.inf if norm == "linf" else 2
    away = [
        float(torch.linalg.vector_norm((w.double() - x.double()) / SCALE.double(), order))
        for w, x in zip(witnesses(results), POINTS, strict=True)
    ]
    assert radii(results, "attack") == pytest.approx(away, rel=1e-6)
    assert "units of scale, 0.1 to 8" in str(results.document["run"]["said"])


def test_features_that_may_not_change_stay_as_they_are() -> None:
    free = WEIGHT.clone()
    free[:, [0, 3]] = 0
    results = judged(linear(), POINTS, immutable=[0, 3], estimators=[*ESTIMATORS, "milp"])
    for name in ("clever", "finite-difference", "attack", "milp"):
        assert radii(results, name) == pytest.approx(exact(POINTS, free), rel=1e-3)
    assert {one["verdict"] for one in results.estimates} == {"held"}
    for witness, point in zip(witnesses(results), POINTS, strict=True):
        assert torch.equal(witness[[0, 3]], point[[0, 3]])


def test_a_ceiling_of_discrete_features_lies_on_their_grid() -> None:
    points = (POINTS * 100).round()
    results = judged(linear(0.01), points, bounds=(0, 100), step=[1, 1, 1, 0, 0, 0])
    for witness, point in zip(witnesses(results), points, strict=True):
        moved = (witness - point)[:3]
        assert torch.equal(moved, moved.round())
    below = exact(points / 100, WEIGHT / 100)
    assert radii(results, "clever") == pytest.approx(below, rel=1e-3)
    assert all(top >= low * (1 - 1e-6) for top, low in zip(radii(results, "attack"), below, strict=True))


def test_token_ids_are_a_whole_number_away_once_they_are_declared() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(20, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.head(self.embedding(ids.long()).mean(1))
            return logits

    torch.manual_seed(0)
    results = judged(
        Tokens(), torch.randint(1, 19, (2, 5)), bounds=(0, 19), step=1, estimators=ESTIMATORS[2:]
    )
    assert all(radius == int(radius) >= 1 for radius in radii(results, "attack") if radius != "inf")


UNITS = torch.tensor([[0.5, 1200.0], [0.3, 400.0]], dtype=torch.float64)


def test_one_range_over_different_units_is_said() -> None:
    low, high = torch.tensor(0.0), torch.tensor(2000.0)
    assert "--bounds LO:HI" in mixed_units(UNITS, low, high)[0]
    assert not mixed_units(UNITS / UNITS.amax(0), low, high)
    assert not mixed_units(UNITS, torch.zeros(2), torch.tensor([1.0, 2000.0]))
    assert not mixed_units(UNITS, low, torch.tensor(255.0))


@pytest.mark.parametrize(
    "options,said",
    [
        ({"bounds": ([0, 0], [1, 1])}, r"bounds are \(2,\) numbers; expected one for all, 6"),
        ({"bounds": (0, "high")}, "bounds are 'high', not numbers"),
        ({"bounds": ([0] * 6, [1, 1, 1, 1, 1, -1])}, "must lie below"),
        ({"bounds": (0, float("nan"))}, "bounds are partly NaN"),
        ({"scale": 0}, "scale is .* above 0"),
        ({"scale": [1, 2]}, "scale is .2,. numbers"),
        ({"step": -1}, "step is the grid"),
        ({"immutable": [6]}, "0 to 5"),
        ({"immutable": [0.5]}, "0 to 5"),
    ],
)
def test_what_fits_no_feature_is_refused_with_what_was_seen(options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        judged(linear(), POINTS, **options)


@pytest.mark.parametrize(
    "flags,spec",
    [
        ({"bounds": "0:1,-5:5"}, {"bounds": [[0.0, 1.0], [-5.0, 5.0]]}),
        ({"bounds": "lo.npy,hi.npy"}, {"bounds": ["lo.npy", "hi.npy"]}),
        (
            {"scale": "0.1,8", "step": "1", "immutable": "0,3"},
            {"scale": [0.1, 8], "step": [1], "immutable": [0, 3]},
        ),
        ({"scale": "s.npy"}, {"scale": ["s.npy"]}),
    ],
)
def test_the_command_line_and_a_file_say_the_same(flags: dict[str, str], spec: dict[str, Any]) -> None:
    study = build_study(None, models=["python:a.py"], **flags)
    assert model_json(study.models[0]) == {"use": "python:a.py", **spec}
    assert study_from({"models": study.to_json()["models"]}) == study
    assert build_study(None, models=["python:a.py"], **dict(_pairs(study.command()))) == study
    assert study_from(tomllib.loads(write_study(study))) == study


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    known = ("bounds", "scale", "step", "immutable")
    return [(a[2:], b) for a, b in pairwise(words) if a[2:] in known]


@pytest.mark.parametrize("bounds", ["1,0", "0:1,2", "0", "a.npy", "lo.npy,1", "0:1:2,3:4", "1:0", "nan,1"])
def test_bounds_that_are_no_box_are_refused_with_the_forms_there_are(bounds: str) -> None:
    with pytest.raises(UsageError, match=r"LO:HI|numbers joined"):
        build_study(None, models=["python:a.py"], bounds=bounds)


def test_a_factory_declares_lists_beside_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "scale.npy", SCALE.numpy())
    names = {
        "bounds": ([0] * 6, [1.0] * 6),
        "scale": str(tmp_path / "scale.npy"),
        "immutable": (0,),
        "step": 1,
    }
    loaded = described(linear(), names)
    assert [end.tolist() for end in loaded.bounds] == [[0] * 6, [1] * 6]  # type: ignore[union-attr]
    assert (loaded.scale, loaded.step) == (str(tmp_path / "scale.npy"), 1)
    with pytest.raises(UsageError, match="model declares bounds"):
        described(linear(), {"bounds": (0, 1, 2)})


def test_one_target_is_the_distance_to_that_class() -> None:
    points = POINTS[:1]
    label = int((points @ WEIGHT.T).argmax())
    for target in {0, 1, 2} - {label}:
        way = WEIGHT[label] - WEIGHT[target]
        away = float((points @ way).abs() / way.abs().sum())
        results = judged(linear(), points, target=target)
        for name in ("clever", "finite-difference", "attack"):
            assert radii(results, name) == pytest.approx([away], rel=1e-3)
        assert {one["verdict"] for one in results.estimates} == {"held"}
    skipped = judged(linear(), points, target=label).estimates
    assert {one["status"] for one in skipped} == {"skipped"}
    with pytest.raises(UsageError, match="no class of this model"):
        judged(linear(), points, target=3)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_finite_difference_is_above_a_verified_distance_where_one_range_covers_several_units(
    activation: type[nn.Module], norm: Any
) -> None:
    low, high = torch.tensor([18.0, 0, 0, 0, 1]), torch.tensor([90.0, 250_000, 1, 60, 7])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), activation(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    points = low + torch.rand(3, 5, generator=torch.Generator().manual_seed(2)) * (high - low)
    names = ["finite-difference", "attack:steps=20,restarts=2,rounds=1"]
    options = {"estimators": names, "recover": "off", "progress": False}
    results = ff.evaluate(
        lambda x: net((x - low) / (high - low) * 4 - 2), points, bounds=(0, 250_000), norm=norm, **options
    )
    assert any("different units" in said for said in results.document["run"]["said"])
    for claimed, verified in zip(radii(results, "finite-difference"), radii(results, "attack"), strict=True):
        assert 0 < claimed <= verified * (1 + 1e-6)
