"""Several labels at once, each present or not: a radius is how far the first of them is from changing."""

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

DRAWN = torch.Generator().manual_seed(4)
WEIGHT, THREE = torch.randn(4, 8, generator=DRAWN), 0.35 + 0.3 * torch.rand(3, 8, generator=DRAWN)
POINTS = THREE[:2]
CHEAP = [
    "clever:batches=4,samples=8",
    "finite-difference:batches=1,samples=2",
    "attack:steps=8,restarts=1,rounds=0",
]


def model() -> nn.Linear:
    made = nn.Linear(8, 4, bias=False)
    made.weight.data = WEIGHT.clone()
    return made


PRESENT = (POINTS @ WEIGHT.T > 0).long()
EACH = (POINTS @ WEIGHT.T).abs() / WEIGHT.abs().sum(1)


def judged(made: nn.Module, labels: Any = None, points: Tensor = POINTS, **options: Any) -> ff.Results:
    options = {"estimators": CHEAP} | options
    return ff.evaluate(made, points, labels, multilabel=True, recover="off", progress=False, **options)


def radii(results: ff.Results, estimator: str) -> list[float]:
    return [one["radius"] for one in results.estimates if one["estimator"] == estimator]


@pytest.mark.parametrize("labels", [None, PRESENT])
def test_the_nearest_change_of_any_label_is_found(labels: Any) -> None:
    results = judged(model(), labels)
    for name in ("clever", "finite-difference", "attack"):
        assert radii(results, name) == pytest.approx(EACH.amin(1).tolist(), rel=1e-4)
    assert {one["verdict"] for one in results.estimates} == {"held"}
    assert any("each" in said or "several labels" in said for said in results.document["run"]["said"])


@pytest.mark.parametrize("labels", [PRESENT.double(), PRESENT.bool().numpy(), PRESENT.tolist()])
def test_sets_may_be_floats_truths_or_lists(labels: Any) -> None:
    results = judged(model(), labels, estimators=CHEAP[::2])
    assert radii(results, "clever") == pytest.approx(EACH.amin(1).tolist(), rel=1e-4)
    assert {one["verdict"] for one in results.estimates} == {"held"}


def test_probabilities_are_present_above_one_half() -> None:
    results = judged(nn.Sequential(model(), nn.Sigmoid()), estimators=CHEAP[2:])
    assert radii(results, "attack") == pytest.approx(EACH.amin(1).tolist(), rel=1e-4)
    assert any("probability is above 0.5" in said for said in results.document["run"]["said"])


def test_one_label_alone_is_a_target() -> None:
    results = judged(model(), target=2, estimators=CHEAP[:1], ceiling=False)
    assert radii(results, "clever") == pytest.approx(EACH[:, 2].tolist(), rel=1e-4)


def test_another_set_than_the_models_is_misclassified_and_said_first() -> None:
    other = (THREE @ WEIGHT.T > 0).long()
    other[:2, 0] = 1 - other[:2, 0]
    results = judged(model(), other, THREE, estimators=CHEAP[:1], ceiling=False)
    assert [radius == 0 for radius in radii(results, "clever")] == [True, True, False]
    assert results.document["run"]["said"][0].startswith("1 of 3 inputs have just the labels")


@pytest.mark.parametrize(
    "labels,said",
    [
        ([0, 1], r"\(2, 4\) zeros and ones.*int64 \(2,\)"),
        (torch.rand(2, 4), "zeros and ones.*float32"),
        (PRESENT[:, :3], r"\(2, 4\) zeros and ones"),
    ],
)
def test_labels_that_are_no_sets_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        judged(model(), labels)


def test_sets_of_labels_are_refused_without_the_option_with_the_option() -> None:
    both = torch.ones(2, 4)
    with pytest.raises(UsageError, match=r"multilabel=True in Python, --multilabel yes.*multilabel = true"):
        ff.evaluate(model(), POINTS, both, estimators=CHEAP, progress=False)


def test_one_logit_is_no_set() -> None:
    def one(inputs: Tensor) -> Tensor:
        return inputs.sum(1, keepdim=True)

    with pytest.raises(UsageError, match="one label: leave multilabel out"):
        ff.evaluate(one, POINTS, multilabel=True, estimators=CHEAP, progress=False)


def test_it_is_asked_for_in_every_form(tmp_path: Path) -> None:
    code = "import torch\n\n\ndef build():\n    torch.manual_seed(0)\n    return torch.nn.Linear(8, 4)\n"
    (tmp_path / "net.py").write_text(code)
    (tmp_path / "declared.py").write_text(code + "\n\nmultilabel = True\n")
    np.savez(tmp_path / "batch.npz", x=POINTS.numpy(), y=np.ones((2, 4), int))
    file, inputs = f"python:{tmp_path}/net.py:build", f"npz:{tmp_path}/batch.npz"
    (spec,) = build_study(None, models=[file], multilabel="yes", inputs=inputs).models
    for table in (model_json(spec), {"use": f"python:{tmp_path}/declared.py"}):
        assert Session().prepared(table, inputs).facts["classes"] == 5
    with pytest.raises(UsageError, match="multilabel"):
        Session().prepared({"use": file}, inputs)
