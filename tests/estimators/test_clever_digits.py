"""CLEVER on the embedded digits: below the exact distance, steady over seeds, in constant memory."""

import json
from pathlib import Path

import pytest
import torch

from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.maskers.sigmoid import SigmoidStaircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

EXACT = Path(__file__).parent.parent / "data" / "exact_linf.json"


def digits(name: str = "mlp") -> ModelSubject:
    loaded = DigitsModel()(name)
    return ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)


def radii(clever: Clever, chosen: list[int], *, seed: int = 0, norm: str = "linf") -> torch.Tensor:
    images, labels = load_split(held_out=True)
    inputs = images[chosen]
    context = RunContext(generators(inputs, seed=seed, norm=norm))
    return clever(digits(), inputs, labels[chosen], norm=norm, context=context).radius  # type: ignore[arg-type]


def test_the_auto_radius_is_close_below_the_exact_distance() -> None:
    rows = [row for row in json.loads(EXACT.read_text())["digits"] if row["gap"] < 1e-4][8:20]
    exact = torch.tensor([row["distance"] for row in rows], dtype=torch.float64)
    ratio = radii(Clever(), [row["input"] for row in rows]) / exact
    assert ratio.median() >= 0.94
    assert ratio.max() <= 1


def test_seeds_agree_within_a_third() -> None:
    found = torch.stack([radii(Clever(samples=100, radius=0.3), [0, 1], seed=seed) for seed in range(4)])
    assert (found.amax(dim=0) / found.amin(dim=0) <= 1.3).all()


@pytest.mark.slow
def test_twenty_four_seeds_agree_within_a_third_on_twenty_inputs() -> None:
    clever = Clever(samples=100, radius=0.3, box=False, directed=False)
    found = torch.stack([radii(clever, list(range(20)), seed=seed) for seed in range(24)])
    assert (found.amax(dim=0) / found.amin(dim=0) <= 1.3).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_ball_that_only_its_fit_failed_leaves_the_class_that_binds(norm: str) -> None:
    images, labels = (part[:5] for part in load_split(held_out=True))
    loaded = DigitsModel()("mlp")
    masked = compose(loaded.module, [(SigmoidStaircase(c=255, gain=4000.0), "input")])
    subject = ModelSubject(masked, classes=loaded.classes, bounds=loaded.bounds)
    context = RunContext(generators(images, seed=0, norm=norm))
    found = Clever()(subject, images, labels, norm=norm, context=context)  # type: ignore[arg-type]
    assert (found.radius > 0).all() and (found.evidence["targets_covered"] == 9).all()
