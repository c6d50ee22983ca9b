"""Finite differences: exact on linear models, unmoved by masks, reproducible, plain about what it did."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import Estimate, Norm, NotApplicable
from falsefloor.engine.context import RunContext, generators
from falsefloor.errors import DomainError
from falsefloor.estimators.finite_difference import FiniteDifference
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

EXACT = json.loads((Path(__file__).parent.parent / "data" / "exact_linf.json").read_text())


class Made(nn.Module):
    """A model from a function of (N, *input)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def _run(
    subject: ModelSubject,
    inputs: Tensor,
    norm: Norm = "linf",
    estimator: FiniteDifference | None = None,
    rows: int = 512,
    seed: int = 0,
) -> Estimate:
    context = RunContext(generators(inputs, seed=seed, norm=norm), rows=rows)
    with torch.no_grad():
        labels = subject(inputs).argmax(dim=1)
    return (estimator or FiniteDifference())(subject, inputs, labels, norm=norm, context=context)


def _words(estimate: Estimate, name: str) -> list[str]:
    return [str(word) for word in estimate.evidence[name]]


def _numbers(estimate: Estimate, name: str) -> list[float]:
    found = estimate.evidence[name]
    assert isinstance(found, Tensor)
    return [float(value) for value in found]


def _digits(*stack: Staircase) -> ModelSubject:
    loaded = DigitsModel()("mlp")
    return ModelSubject(compose(loaded.module, [(masker, "input") for masker in stack]), classes=10)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("radius", ["auto", 2.0])
def test_a_linear_model_far_from_the_faces_has_its_closed_form(norm: Norm, radius: float | str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 12, generator=generator)
    linear = nn.Linear(12, 3)
    linear.load_state_dict({"weight": weight, "bias": torch.zeros(3)})
    # a domain so wide that no face is reached: margin over dual norm is the distance
    subject = ModelSubject(linear, classes=3, bounds=(-20.0, 20.0))
    inputs = torch.rand(4, 12, generator=generator) - 0.5
    estimate = _run(subject, inputs, norm, FiniteDifference(radius=radius))  # type: ignore[arg-type]
    with torch.no_grad():
        logits = linear(inputs).double()
    label = logits.argmax(dim=1)
    order = {"linf": 1.0, "l2": 2.0, "l1": math.inf}[norm]
    differences = (weight[label].unsqueeze(1) - weight.unsqueeze(0)).double()
    lead = logits.gather(1, label.unsqueeze(1)) - logits
    closed = (lead / differences.norm(dim=2, p=order)).nan_to_num(nan=math.inf, posinf=math.inf)
    closed = torch.where(lead > 0, closed, math.inf).amin(dim=1)
    if radius == 2.0:
        closed = closed.clamp(max=2.0)
    assert torch.allclose(estimate.radius, closed, rtol=2e-5)


def test_no_digit_is_given_more_than_its_exact_distance() -> None:
    rows = EXACT["digits"][12:20]
    images, _ = load_split(held_out=True)
    inputs = images[[row["input"] for row in rows]]
    ratio = _run(_digits(), inputs).radius / torch.tensor([row["distance"] for row in rows])
    assert float(ratio.max()) <= 1.0
    assert float(ratio.median()) >= 0.93


@pytest.mark.parametrize("seed", [1, 2])
def test_the_digits_that_few_directed_points_gave_too_much_are_given_less(seed: int) -> None:
    # with four targets and three points a way: up to 1.026, 1.0035 and 1.0006 times their distance
    rows = [EXACT["digits"][index] for index in (22, 37, 48)]
    images, _ = load_split(held_out=True)
    estimate = _run(_digits(), images[[row["input"] for row in rows]], seed=seed)
    assert bool((estimate.radius <= torch.tensor([row["distance"] for row in rows])).all())


@pytest.fixture(scope="module")
def plain() -> Estimate:
    """Two digits without a mask."""
    images, _ = load_split(held_out=True)
    return _run(_digits(), images[:2], estimator=FiniteDifference(radius=0.3))


@pytest.mark.parametrize("levels", [16, 64, 255])
def test_a_staircase_hides_nothing_from_it(levels: int, plain: Estimate) -> None:
    images, _ = load_split(held_out=True)
    masked = _run(_digits(Staircase(c=levels)), images[:2], estimator=FiniteDifference(radius=0.3))
    same = torch.tensor(_numbers(plain, "target")) == torch.tensor(_numbers(masked, "target"))
    ratio = torch.tensor(_numbers(masked, "lipschitz")) / torch.tensor(_numbers(plain, "lipschitz"))
    assert bool(same.any())
    assert bool(((ratio[same] - 1).abs() <= 0.1).all())
    assert _words(masked, "step_reason") == ["steps"] * 2
    assert _numbers(masked, "levels") == pytest.approx([levels] * 2, rel=0.15)


def test_results_do_not_depend_on_the_inputs_beside_them() -> None:
    subject = _digits(Staircase(c=64))
    images, _ = load_split(held_out=True)
    together = _run(subject, images[:3])
    for index in (0, 2):
        alone = _run(subject, images[index : index + 1])
        assert torch.equal(alone.radius[0], together.radius[index])
        for name in ("lipschitz", "plateau_scale", "levels"):
            assert _numbers(alone, name)[0] == pytest.approx(
                _numbers(together, name)[index], rel=0, nan_ok=True
            )
        assert torch.equal(alone.curves["spectrum"][0], together.curves["spectrum"][index])


def test_a_fixed_radius_is_the_cap_and_says_so() -> None:
    images, _ = load_split(held_out=True)
    estimate = _run(_digits(), images[:2], estimator=FiniteDifference(radius=1e-3))
    assert estimate.radius.tolist() == [1e-3, 1e-3]
    assert _numbers(estimate, "capped") == [1.0, 1.0] and _numbers(estimate, "sampling_radius") == [
        1e-3,
        1e-3,
    ]


def test_a_constant_lead_gives_the_diameter_capped() -> None:
    subject = ModelSubject(Made(lambda x: torch.tensor([1.0, 0.0]) + 0 * x[:, :1]), classes=2)
    estimate = _run(subject, torch.full((1, 4), 0.5))
    assert estimate.radius.tolist() == [1.0]
    assert _numbers(estimate, "capped") == [1.0] and _numbers(estimate, "zero_share") == [1.0]
    assert _numbers(estimate, "plateau_found") == [0.0]


def test_a_tie_gives_zero_and_nothing_is_looked_at() -> None:
    subject = ModelSubject(Made(lambda x: torch.zeros(len(x), 3) + 0 * x[:, :1]), classes=3)
    estimate = _run(subject, torch.full((2, 4), 0.5))
    assert estimate.radius.tolist() == [0.0, 0.0]
    assert _words(estimate, "fit") == ["none", "none"]


def test_slopes_that_are_not_finite_give_zero_and_are_counted() -> None:
    subject = ModelSubject(
        Made(lambda x: torch.stack([1 + x[:, 0], torch.where(x[:, 1] > 0.6, torch.nan, 0.0)], dim=1)),
        classes=2,
    )
    estimate = _run(subject, torch.full((1, 2), 0.5), estimator=FiniteDifference(radius=0.4))
    assert estimate.radius.tolist() == [0.0]
    assert 0 < _numbers(estimate, "nonfinite_share")[0] < 1


def test_one_class_is_refused() -> None:
    subject = ModelSubject(nn.Linear(3, 1), classes=1)
    with pytest.raises(DomainError, match="one class"):
        _run(subject, torch.full((1, 3), 0.5))


def test_a_domain_without_bounds_needs_a_radius() -> None:
    subject = ModelSubject(nn.Linear(3, 2), classes=2, bounds=(-math.inf, math.inf))
    with pytest.raises(DomainError, match="no bounds"):
        _run(subject, torch.full((1, 3), 0.5))


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (5, 3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_shapes_and_precisions_are_taken(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).to(dtype)
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    estimate = _run(ModelSubject(model, classes=3), inputs)
    assert bool(estimate.radius.isfinite().all() and (estimate.radius > 0).all())


@pytest.mark.parametrize(("norm", "within"), [("linf", 0.15), ("l2", 0.15)])
def test_many_coordinates_are_stood_for_by_some(norm: Norm, within: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 3, 16, 16, generator=generator)
    subject = ModelSubject(Made(lambda x: x.flatten(1) @ weight.flatten(1).T), classes=3)
    inputs = 0.4 + 0.2 * torch.rand(1, 3, 16, 16, generator=generator)
    all_of_them = _run(subject, inputs, norm, FiniteDifference(coordinates=768, directed=False))
    some = _run(subject, inputs, norm, FiniteDifference(coordinates=384, queries=3072))
    assert _numbers(all_of_them, "coverage") == [1.0]
    assert _numbers(some, "coverage") == [384 / 768]
    assert torch.allclose(some.radius, all_of_them.radius, rtol=within)


def test_directed_points_are_added_where_all_of_many_coordinates_are_affordable() -> None:
    images, _ = load_split(held_out=True)
    small = DigitsModel()("mlp").module

    def large(inputs: Tensor) -> Tensor:
        return small(nn.functional.avg_pool2d(inputs, 3))  # type: ignore[no-any-return]

    # every pixel stands in nine places: the distances in the maximum norm are the small model's own
    subject = ModelSubject(Made(large), classes=10)
    rows = EXACT["digits"][:2]
    chosen = images[[row["input"] for row in rows]]
    inputs = chosen.reshape(-1, 1, 8, 8).repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    found = _run(subject, inputs)
    undirected = _run(subject, inputs, estimator=FiniteDifference(directed=False))
    assert _numbers(found, "coverage") == _numbers(undirected, "coverage") == [1.0, 1.0]
    assert bool((found.radius < undirected.radius).any())
    # the largest slope is one that was measured in full: else the constant lies below it (FF301)
    assert _numbers(found, "lipschitz") == _numbers(found, "gradient_norm_max")
    ratio = found.radius / torch.tensor([row["distance"] for row in rows])
    assert float(ratio.max()) <= 1.0
    assert float(ratio.min()) >= 0.8


def test_every_number_and_curve_is_one_an_input() -> None:
    images, _ = load_split(held_out=True)
    estimate = _run(_digits(), images[:2])
    assert all(len(values) == 2 for values in estimate.evidence.values())
    assert all(len(curve) == 2 for curve in estimate.curves.values())
    assert sum(curve[0].numel() * 4 for curve in estimate.curves.values()) <= 4096


def test_fewer_than_one_coordinate_in_a_hundred_is_no_estimate_of_all() -> None:
    subject = ModelSubject(Made(lambda x: torch.stack([1 + x.mean(1), x[:, 0]], dim=1)), classes=2)
    few = FiniteDifference(coordinates=64, queries=256, extremes=1)
    with pytest.raises(NotApplicable, match="queries=258"):
        _run(subject, torch.full((1, 12_900), 0.5), estimator=few)
    assert _run(subject, torch.full((1, 12_800), 0.5), estimator=few).radius.shape == (1,)
