"""Models and inputs that nobody hopes for: each is decided on purpose, the same way for every estimator."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import falsefloor
from falsefloor.api import Estimate, Estimator, Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.errors import DomainError, UsageError
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference import FiniteDifference
from falsefloor.subjects.subject import ModelSubject

ESTIMATORS: dict[str, Estimator] = {
    "clever": Clever(batches=4, samples=5),
    "finite-difference": FiniteDifference(batches=1, samples=2),
    "attack": Attack(steps=8, restarts=1, rounds=0),
}
SPECS = (
    "clever:batches=4,samples=5",
    "finite-difference:batches=1,samples=2",
    "attack:steps=6,restarts=1,rounds=0",
)
LOWER = ("clever", "finite-difference")
POINTS = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))


class Made(nn.Module):
    """A model from a function of (N, *input)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def half(x: Tensor) -> Tensor:
    """Two classes, by the first coordinate: the distance to the other is |x₀ - 0.5| in every norm."""
    return torch.stack([x[:, 0] - 0.5, 0.5 - x[:, 0]], 1)


def direct(
    estimator: Estimator, function: Callable[[Tensor], Tensor], labels: Sequence[int], *, classes: int,
    norm: Norm = "linf", points: Tensor = POINTS,
) -> Estimate:  # fmt: skip
    """The estimator itself, without the core that keeps most of this away from it."""
    subject = ModelSubject(Made(function), classes=classes)
    context = RunContext(generators(points, seed=0, norm=norm))
    return estimator(subject, points, torch.tensor(labels), norm=norm, context=context)


def judged(
    model: nn.Module, points: Tensor = POINTS, labels: Tensor | None = None, **more: Any
) -> dict[str, list[dict[str, Any]]]:
    """The records of every estimator, through the core."""
    results = falsefloor.evaluate(
        model, points, labels, estimators=SPECS, recover="off", progress=False, **more
    )
    return {name: [row for row in results.estimates if row["estimator"] == name] for name in ESTIMATORS}


def codes(row: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in row["warnings"]}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_class_is_an_error_that_says_what_to_do(name: str) -> None:
    with pytest.raises(DomainError, match=r"one class.*logit|model has 1.*logit"):
        direct(ESTIMATORS[name], lambda x: x[:, :1], [0, 0], classes=1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_two_classes_have_one_target_and_its_distance(name: str, norm: Norm) -> None:
    labels = half(POINTS).argmax(1)
    found = direct(ESTIMATORS[name], half, labels.tolist(), classes=2, norm=norm)
    assert found.radius.tolist() == pytest.approx((POINTS[:, 0] - 0.5).abs().tolist(), rel=1e-3)
    covered = found.evidence["targets_covered"]
    assert isinstance(covered, Tensor)
    assert covered.tolist() == [1.0] * 2


def test_identical_logits_are_ties_at_distance_zero() -> None:
    for rows in judged(Made(lambda x: x[:, :1].expand(-1, 3) * 1)).values():
        assert [row["radius"] for row in rows] == [0.0] * 2
        # and nothing about a witness: the input itself is the point
        assert all("FF601" in codes(row) and "FF504" not in codes(row) for row in rows)


@pytest.mark.parametrize("name", LOWER)
def test_a_lower_claim_about_a_tie_or_a_wrong_label_is_zero_without_the_core_too(name: str) -> None:
    tied = direct(ESTIMATORS[name], lambda x: x[:, :1].expand(-1, 3) * 1, [0, 2], classes=3)
    wrong = direct(ESTIMATORS[name], half, (1 - half(POINTS).argmax(1)).tolist(), classes=2)
    assert tied.radius.tolist() == wrong.radius.tolist() == [0.0] * 2


def test_the_attacks_nearest_point_of_a_wrong_label_is_the_input() -> None:
    wrong = direct(ESTIMATORS["attack"], half, (1 - half(POINTS).argmax(1)).tolist(), classes=2)
    assert wrong.radius.tolist() == [0.0] * 2
    assert wrong.witness is not None
    assert torch.equal(wrong.witness, POINTS)


@pytest.mark.parametrize("graph", [True, False], ids=["zero gradient", "cut graph"])
def test_a_constant_model_gives_the_cap_in_doubt_and_no_ceiling(graph: bool) -> None:
    lead = torch.tensor([1.0, 0.0, -1.0])
    model = Made(lambda x: lead + 0 * x[:, :3] if graph else lead.expand(len(x), 3))
    found = judged(model)
    for name in LOWER:
        assert [row["radius"] for row in found[name]] == [1.0] * 2
        assert all(row["capped"] and row["verdict"] == "suspect" for row in found[name])
        assert all({"FF101", "FF303"} <= codes(row) for row in found[name])
    assert [row["radius"] for row in found["attack"]] == ["inf"] * 2
    assert all("FF501" in codes(row) for row in found["attack"])


def test_an_infinite_gradient_never_becomes_a_radius_above_the_ceiling() -> None:
    points = torch.zeros(2, 6)
    model = Made(lambda x: torch.stack([1 + x[:, 0].sqrt(), 1.5 - x[:, 1] + 0 * x[:, 0]], 1))
    found = judged(model, points)
    assert [row["radius"] for row in found["clever"]] == [0.0] * 2
    assert all(row["evidence"]["nonfinite_share"] >= 0 for row in found["clever"])
    assert all(row["verdict"] == "vacuous" for row in found["clever"]), "a floor of 0 says nothing"
    for below, above in zip(found["finite-difference"], found["attack"], strict=True):
        assert below["radius"] <= above["radius"] < math.inf


def test_logits_that_are_not_finite_fail_the_input_and_name_the_warning() -> None:
    for rows in judged(Made(lambda x: torch.stack([x[:, 0] / 0.0, 0 * x[:, 0]], 1))).values():
        assert {row["status"] for row in rows} == {"failed"}
        assert all("FF403" in row["error"] for row in rows)


def test_a_wrong_label_is_zero_and_says_so() -> None:
    wrong = 1 - half(POINTS).argmax(1)
    for rows in judged(Made(half), labels=wrong).values():
        assert [row["radius"] for row in rows] == [0.0] * 2
        assert all("FF601" in codes(row) for row in rows)


@pytest.mark.parametrize("radius", ["0", "-0.1", "nan", "0.0", "-inf"])
@pytest.mark.parametrize("name", LOWER)
def test_a_radius_that_is_none_is_refused_before_anything_runs(name: str, radius: str) -> None:
    with pytest.raises(UsageError, match="radius"):
        falsefloor.evaluate(Made(half), POINTS, estimators=[f"{name}:radius={radius}"], progress=False)


@pytest.mark.parametrize("spec", ["clever:batches=0", "finite-difference:samples=0", "attack:restarts=0"])
def test_a_budget_of_nothing_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="0"):
        falsefloor.evaluate(Made(half), POINTS, estimators=[spec], progress=False)


@pytest.mark.parametrize("estimator", [Clever(batches=1, samples=1), FiniteDifference(batches=1, samples=1)])
def test_one_batch_of_one_sample_is_enough_for_a_linear_model(estimator: Estimator) -> None:
    found = direct(estimator, half, half(POINTS).argmax(1).tolist(), classes=2)
    assert found.radius.tolist() == pytest.approx((POINTS[:, 0] - 0.5).abs().tolist(), rel=1e-3)


@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float64, 1e-5), (torch.float16, 0.3), (torch.bfloat16, 0.9)]
)
def test_models_in_other_precisions_are_bracketed(dtype: torch.dtype, within: float) -> None:
    """The ceiling must lead by 64 roundings of the largest logit: 0.06 of it in float16, half in bfloat16."""
    layer = nn.Linear(6, 3)
    layer.weight.data = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    layer.bias.data.zero_()
    found = judged(layer.to(dtype), POINTS.to(dtype))
    for name in LOWER:
        for below, above in zip(found[name], found["attack"], strict=True):
            assert (1 - within) * above["radius"] <= below["radius"] <= above["radius"] * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(1,), (5, 6), (2, 3, 4)], ids=["scalar", "embeddings", "volume"])
def test_inputs_need_not_be_images(shape: tuple[int, ...]) -> None:
    drawn = torch.Generator().manual_seed(2)
    points = torch.rand(2, *shape, generator=drawn)
    layer = nn.Linear(math.prod(shape), 2)
    layer.weight.data = torch.randn(2, math.prod(shape), generator=drawn)
    with torch.no_grad():
        # the boundary runs between the two inputs
        layer.bias.data = -layer(points.flatten(1)).mean(0) + layer.bias
    found = judged(nn.Sequential(nn.Flatten(), layer), points)
    for name in LOWER:
        for below, above in zip(found[name], found["attack"], strict=True):
            assert 0.99 * above["radius"] <= below["radius"] <= above["radius"] * (1 + 1e-6)


def test_a_sequence_model_over_embeddings_is_bracketed() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, dropout=0.0)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(30, 3)).eval()
    found = judged(model, torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(3)))
    for below, above in zip(found["clever"], found["attack"], strict=True):
        assert 0.5 * above["radius"] <= below["radius"] <= above["radius"]


def test_a_model_whose_answer_depends_on_the_batch_is_told_apart() -> None:
    weight = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for rows in judged(Made(lambda x: (x - x.mean(0, keepdim=True)) @ weight)).values():
        assert all("FF105" in codes(row) and row["verdict"] in ("suspect", "refuted") for row in rows)


def test_a_model_in_training_mode_is_put_in_eval_mode_and_said_so() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)).train()
    for rows in judged(model).values():
        assert all(row["status"] == "ok" and "FF603" in codes(row) for row in rows)
    assert model.training


def test_a_model_that_answers_in_more_precision_than_it_is_asked_in_is_bracketed() -> None:
    weight = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    found = judged(Made(lambda x: (x @ weight).double()))
    for name in LOWER:
        for below, above in zip(found[name], found["attack"], strict=True):
            assert 0.99 * above["radius"] <= below["radius"] <= above["radius"] * (1 + 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_attack_needs_no_bounds(norm: Norm) -> None:
    rows = judged(Made(half), bounds=(-math.inf, math.inf), norm=norm)["attack"]
    assert [row["radius"] for row in rows] == pytest.approx((POINTS[:, 0] - 0.5).abs().tolist(), rel=1e-3)


def test_a_tie_is_called_a_tie() -> None:
    for rows in judged(Made(lambda x: x[:, :1] * torch.tensor([1.0, 1.0, 0.0]))).values():
        assert all(row["warnings"][0]["message"] == "classes 0 and 1 tie: the distance is 0" for row in rows)


def test_a_claim_of_zero_is_not_compared_by_a_ratio() -> None:
    steep = Made(lambda x: torch.stack([x.sqrt().sum(1), torch.ones(len(x))], 1))
    rows = judged(steep, torch.zeros(1, 6))["clever"]
    said = next(w["message"] for w in rows[0]["warnings"] if w["code"] == "FF701")
    assert "inf" not in said


def only_sixteen(x: Tensor) -> Tensor:
    if len(x) % 16:
        raise ValueError("batches of 16 only")
    return half(x)


def test_a_model_that_takes_no_single_input_is_judged_and_told_apart() -> None:
    for rows in judged(Made(only_sixteen)).values():
        assert all(row["radius"] is not None for row in rows), rows[0]["error"]
        assert all("FF105" in codes(row) for row in rows)


def test_the_inputs_stay_as_they_were_where_the_model_works_in_place() -> None:
    points = POINTS.clone()
    found = judged(Made(lambda x: half(x.mul_(0.5) * 2)), points)
    assert torch.equal(points, POINTS)
    for name in ESTIMATORS:
        distances = (POINTS[:, 0] - 0.5).abs().tolist()
        assert [row["radius"] for row in found[name]] == pytest.approx(distances, rel=1e-2)


def wants_a_graph(x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(half(leaf).pow(2).sum(), leaf)
    return half(x) + slope[:, :1]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"bounds": (1, 0)}, "lowest value"),
        ({"bounds": (0, 0)}, "lowest value"),
        ({"bounds": (math.nan, 1)}, "bounds are partly NaN"),
        ({"bounds": (0,)}, "bounds are"),
        ({"bounds": ("a", "b")}, "bounds are"),
        ({"bounds": (torch.zeros(2), torch.ones(2))}, "bounds are"),
        ({"labels": ["a", "b"]}, "labels cannot be read"),
        ({"labels": [0.5, 0]}, "whole numbers"),
        ({"labels": [0, 7]}, "label 7 is not a class"),
        ({"inputs": "digits:0"}, "inputs cannot be read"),
        ({"inputs": POINTS.to(torch.complex64)}, "real numbers"),
        ({"model": 7}, "model is int"),
        ({"model": Made(lambda x: half(x) > 0)}, "returned bool"),
        ({"model": Made(lambda x: half(x)[:, :0])}, "returned (1, 0)"),
        ({"model": Made(wants_a_graph)}, "needs torch.enable_grad()"),
        ({"model": Made(lambda x: half(x / 0 if len(x) < 0 else x.nope))}, "AttributeError"),
        ({"device": "toaster"}, "the device 'toaster' cannot be used here"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_does_not_fit_is_a_usage_error_in_words(what: dict[str, Any], says: str) -> None:
    given = {"model": Made(half), "inputs": POINTS, "labels": None, "progress": False} | what
    with pytest.raises(UsageError, match=re.escape(says)):
        falsefloor.evaluate(given.pop("model"), given.pop("inputs"), given.pop("labels"), **given)
