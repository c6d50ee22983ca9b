"""The four plugins keep the contract, and each is right where the answer is known."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from falsefloor_spheres.disagreement import Disagreement
from falsefloor_spheres.kwta import KWinners
from falsefloor_spheres.model import BOUNDARY, Spheres
from falsefloor_spheres.points import Points
from torch import nn

from falsefloor.api import Facts, LoadedModel, Record
from falsefloor.testing import parametrize_with_checks

MODEL = Spheres()("8")


@parametrize_with_checks("model", [Spheres()], "8")
def test_the_model_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks("input", [Points(), Points(seed=3)], "0-9", MODEL)
def test_the_points_keep_the_contract(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks("masker", [KWinners(), KWinners(share=0.1)])
def test_the_masker_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def floors(radius: float, *, claim: str = "lower_estimate") -> Facts:
    other = Record("clever", "lower_estimate", "autograd", 0.1)
    return Facts("l2", Record("mine", claim, "autograd", radius), [other], {})  # type: ignore[arg-type]


@parametrize_with_checks("check", [Disagreement()], [floors(0.5), floors(0.2)])
def test_the_check_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_every_entry_point_names_its_class() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    loaded = {
        (group, name): EntryPoint(name, target, group).load()
        for group, points in project["project"]["entry-points"].items()
        for name, target in points.items()
    }
    assert loaded == {
        ("falsefloor.models", "spheres"): Spheres,
        ("falsefloor.inputs", "spheres"): Points,
        ("falsefloor.maskers", "kwta"): KWinners,
        ("falsefloor.checks", "disagreement"): Disagreement,
    }


def test_every_point_is_classified_and_lies_at_the_known_distance() -> None:
    given = Points()("0-99", MODEL)
    assert given.labels is not None
    assert torch.equal(MODEL.module(given.inputs).argmax(1), given.labels)
    distance = (torch.linalg.vector_norm(given.inputs, dim=1) - BOUNDARY).abs()
    assert torch.allclose(distance, torch.tensor(0.15), atol=1e-6)


def test_a_point_is_the_same_alone_and_among_others() -> None:
    assert torch.equal(Points()("7", MODEL).inputs[0], Points()("0-9", MODEL).inputs[7])


@pytest.mark.parametrize("ref", ["9-0", "10000", "a", "", "1-"])
def test_a_wrong_reference_is_repeated(ref: str) -> None:
    with pytest.raises(ValueError, match=f"spheres:{ref}"):
        Points()(ref, MODEL)


def test_points_for_images_are_refused() -> None:
    with pytest.raises(ValueError, match="vectors"):
        Points()("0", LoadedModel(nn.Flatten(), 2, (1, 8, 8)))


def test_the_winners_stay_and_the_others_go() -> None:
    out = KWinners(share=0.5)(nn.Identity())(torch.tensor([[0.1, 0.4, 0.3, 0.2]]))
    assert out.tolist() == [[0.0, pytest.approx(0.4), pytest.approx(0.3), 0.0]]


def test_floors_that_disagree_are_found() -> None:
    (finding,) = Disagreement()(floors(0.5))
    assert (finding.code, finding.severity) == ("FLOORS", "suspect")
    assert "clever" in finding.message


@pytest.mark.parametrize("facts", [floors(0.3), floors(0.5, claim="upper_bound")])
def test_near_misses_are_not(facts: Facts) -> None:
    assert list(Disagreement()(facts)) == []
