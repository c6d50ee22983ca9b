"""CLEVER against closed forms, and on everything that is not an ordinary model."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import NORMS, Estimate
from falsefloor.engine.context import RunContext, generators
from falsefloor.errors import DomainError, UsageError
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.slopes import SHARED
from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.numerics.support import support
from falsefloor.subjects.subject import ModelSubject

RADIUS = {"linf": 0.4, "l2": 1.5, "l1": 4.0}
QUICK = {"batches": 12, "samples": 4}


class Function(nn.Module):
    """A model from a plain function of the inputs."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def linear(size: int = 12, classes: int = 4, *, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(size, classes)
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, size, generator=made))
        layer.bias.copy_(torch.randn(classes, generator=made))
    return layer


def subject(module: nn.Module, classes: int = 4) -> ModelSubject:
    return ModelSubject(module, classes=classes)


def points(count: int = 5, size: int = 12, *, seed: int = 0) -> Tensor:
    return torch.rand(count, size, generator=torch.Generator().manual_seed(seed))


def estimate(
    clever: Clever, judged: ModelSubject, inputs: Tensor, *, norm: str = "linf", labels: Tensor | None = None,
    rows: int = 4096,
) -> Estimate:  # fmt: skip
    labels = judged(inputs).argmax(dim=1) if labels is None else labels
    context = RunContext(generators(inputs, seed=0, norm=norm), rows=rows)
    return clever(judged, inputs, labels, norm=norm, context=context)  # type: ignore[arg-type]


def distance_in_box(layer: nn.Linear, x: Tensor, norm: str) -> float:
    """The exact distance of a linear model inside [0, 1]^d: the margin's fall ρ·S_ρ meets the margin."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    logits = weight @ x.double() + bias
    best = math.inf
    for j in range(len(logits)):
        c = int(logits.argmax())
        if j == c:
            continue
        g, margin = (weight[c] - weight[j]).unsqueeze(0), float(logits[c] - logits[j])

        def fall(rho: float, g: Tensor = g) -> float:
            lo, hi = torch.zeros(1).double(), torch.ones(1).double()
            return rho * float(support(g, x.double().unsqueeze(0), lo, hi, norm=norm, rho=rho))

        low, high = 0.0, float(len(x))
        if fall(high) < margin:
            continue
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if fall(middle) >= margin else (middle, high)
        best = min(best, high)
    return best


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("radius", ["auto", "fixed"])
def test_a_linear_models_distance_in_the_box_is_found_to_1e_5(norm: str, radius: str) -> None:
    layer = linear()
    inputs = points()
    clever = Clever(**QUICK, radius="auto" if radius == "auto" else 12.0)
    found = estimate(clever, subject(layer), inputs, norm=norm).radius
    expected = [distance_in_box(layer, x, norm) for x in inputs]
    assert all(math.isfinite(value) for value in expected)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_plain_form_is_margin_over_dual_norm_on_a_linear_model(norm: str) -> None:
    layer, inputs = linear(), points()
    judged = subject(layer)
    found = estimate(Clever(**QUICK, radius=50.0, box=False, directed=False), judged, inputs, norm=norm)
    logits = judged(inputs)
    labels = logits.argmax(dim=1)
    for index in range(len(inputs)):
        c = int(labels[index])
        gaps = torch.stack([layer.weight[c] - layer.weight[j] for j in range(4) if j != c])
        margins = torch.stack([logits[index, c] - logits[index, j] for j in range(4) if j != c])
        expected = (margins / vector_norm(gaps, dual(norm))).min().item()
        assert found.radius[index].item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(found.evidence["slope"], found.evidence["lipschitz"])


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_box_only_ever_raises_the_radius(norm: str) -> None:
    inputs = points()
    judged = subject(nn.Sequential(linear(), nn.Tanh(), linear(4, 4, seed=1)))
    plain, boxed = (
        estimate(Clever(**QUICK, radius=RADIUS[norm], box=box, fit="max"), judged, inputs, norm=norm).radius
        for box in (False, True)
    )
    assert (boxed >= plain * (1 - 1e-6)).all()
    assert norm != "linf" or (boxed > plain * 1.01).any()


def test_every_estimate_carries_the_whole_evidence_and_small_curves() -> None:
    found = estimate(Clever(batches=700, samples=1), subject(linear()), points(2))
    given = {"directed_maximum", "dropped_distance", "fit_location", "fit_scale", "curvature"}
    assert set(found.evidence) == {*SHARED, *given, "queries_forward", "queries_backward"}
    assert all(len(values) == 2 for values in found.evidence.values())
    assert sum(curve[0].numel() for curve in found.curves.values()) <= 1024
    assert set(found.curves) == {"maxima", "score", "ball_radius", "ball_slope"}


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_an_input_gets_the_same_bits_whatever_shares_its_batch(norm: str, chunk: int) -> None:
    judged = subject(nn.Sequential(linear(12, 20), nn.ReLU(), linear(20, 4, seed=1)))
    inputs = points(3)
    together = estimate(Clever(**QUICK), judged, inputs, norm=norm)
    apart = [estimate(Clever(**QUICK), judged, piece, norm=norm) for piece in torch.split(inputs, chunk)]
    assert torch.equal(together.radius, torch.cat([each.radius for each in apart]))
    for name in ("lipschitz", "slope", "gradient_norm_median"):
        assert torch.equal(
            together.evidence[name], torch.cat([torch.as_tensor(e.evidence[name]) for e in apart])
        )


def test_less_room_moves_last_bits_only() -> None:
    judged = subject(nn.Sequential(linear(12, 20), nn.ReLU(), linear(20, 4, seed=1)))
    wide, narrow = (estimate(Clever(**QUICK), judged, points(3), rows=rows).radius for rows in (4096, 7))
    assert narrow.tolist() == pytest.approx(wide.tolist(), rel=1e-5)


def test_a_tie_gives_zero_and_a_misclassified_input_too() -> None:
    judged = subject(Function(lambda x: torch.stack([x.sum(1), x.sum(1), x.sum(1) - 1], dim=1)), 3)
    assert estimate(Clever(**QUICK), judged, points(2), labels=torch.tensor([0, 2])).radius.tolist() == [0, 0]


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_a_constant_model_gives_the_cap_and_says_so(norm: str) -> None:
    judged = subject(Function(lambda x: torch.tensor([1.0, 0.0, 0.5]).expand(len(x), 3)), 3)
    fixed = estimate(Clever(**QUICK, radius=0.25), judged, points(2), norm=norm)
    assert fixed.radius.tolist() == [0.25, 0.25] and fixed.evidence["capped"].tolist() == [1, 1]  # type: ignore[union-attr]
    assert fixed.evidence["zero_share"].tolist() == [1, 1] == fixed.evidence["vanished_share"].tolist()  # type: ignore[union-attr]
    auto = estimate(Clever(**QUICK), judged, points(2), norm=norm)
    top = {"linf": 1.0, "l2": math.sqrt(12), "l1": 12.0}[norm]
    assert auto.radius.tolist() == pytest.approx([top, top]) and auto.evidence["cap"][0] == pytest.approx(top)


def test_a_staircase_hides_everything_and_the_evidence_shows_it() -> None:
    layer = linear()
    judged = subject(Function(lambda x: layer(torch.ceil(16 * x) / 16)))
    found = estimate(Clever(**QUICK), judged, points(2))
    assert found.evidence["capped"].tolist() == [1, 1] and found.evidence["lipschitz"].tolist() == [0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("radius", ["auto", 0.3])
def test_an_infinite_gradient_gives_zero_and_is_counted(radius: float) -> None:
    judged = subject(Function(lambda x: torch.stack([1 + (x * 0).sqrt().sum(1), x.sum(1) * 0], dim=1)), 2)
    found = estimate(Clever(**QUICK, radius=radius), judged, points(2))
    assert found.radius.tolist() == [0, 0]
    assert found.evidence["nonfinite_share"].tolist() == [1, 1]  # type: ignore[union-attr]
    assert found.evidence["lipschitz"].tolist() == [math.inf, math.inf]  # type: ignore[union-attr]


def test_one_class_is_refused_with_a_way_out() -> None:
    with pytest.raises(DomainError, match="two logits"):
        estimate(Clever(), subject(linear(12, 1), 1), points(1))


def test_two_classes_have_one_target() -> None:
    layer = linear(12, 2)
    found = estimate(Clever(**QUICK), subject(layer, 2), points(3))
    assert found.radius.tolist() == pytest.approx(
        [distance_in_box(layer, x, "linf") for x in points(3)], rel=1e-5
    )
    assert found.evidence["targets_covered"].tolist() == [1, 1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(("batches", "samples"), [(1, 1), (1, 30), (30, 1), (2, 1500)])
def test_any_budget_works(batches: int, samples: int) -> None:
    found = estimate(Clever(batches=batches, samples=samples, radius=0.2), subject(linear()), points(1))
    assert found.curves["maxima"].shape == (1, batches) and found.radius.item() > 0


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-5), (torch.float16, 0.02)])
def test_other_precisions_work(dtype: torch.dtype, rel: float) -> None:
    layer = linear()
    expected = estimate(Clever(**QUICK), subject(layer), points(2)).radius
    judged = subject(linear().to(dtype))
    found = estimate(Clever(**QUICK), judged, points(2).to(dtype)).radius
    assert found.tolist() == pytest.approx(expected.tolist(), rel=rel)


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 2, 3, 2)])
def test_any_input_shape_works(shape: tuple[int, ...]) -> None:
    layer = linear()
    judged = subject(nn.Sequential(nn.Flatten(), layer))
    found = estimate(Clever(**QUICK), judged, points(2).reshape(2, *shape)).radius
    assert found.tolist() == pytest.approx([distance_in_box(layer, x, "linf") for x in points(2)], rel=1e-5)


def test_a_race_and_the_nearest_two_agree_with_all_targets() -> None:
    judged = subject(nn.Sequential(linear(12, 20), nn.ReLU(), linear(20, 40, seed=1)), 40)
    every, race, two = (
        estimate(Clever(**QUICK, targets=targets), judged, points(3)) for targets in ("all", "race", 2)
    )  # type: ignore[arg-type]
    assert race.radius.tolist() == pytest.approx(every.radius.tolist(), rel=0.02)
    assert (race.evidence["targets_covered"] < 39).any()  # type: ignore[operator]
    dropped = race.evidence["dropped_distance"]
    farther = dropped >= 1.5 * race.radius  # type: ignore[operator]
    assert (farther | torch.as_tensor(dropped).isnan()).all(), "a race drops what it measured to be farther"
    shown = two.evidence["dropped_distance"] >= 1.5 * two.radius  # type: ignore[operator]
    assert 0 < shown.sum() < 3, "the nearest two are shown to suffice where the third is far behind"
    assert two.radius[shown].tolist() == pytest.approx(every.radius[shown].tolist(), rel=0.02)
    assert every.evidence["targets_covered"].tolist() == [39] * 3  # type: ignore[union-attr]
    assert two.evidence["targets_covered"].tolist() == [2] * 3  # type: ignore[union-attr]
    # fewer targets can only claim more
    assert (two.radius >= every.radius * (1 - 1e-3)).all()


def test_second_order_is_exact_on_a_quadratic_bowl() -> None:
    # m = 1 - ‖x - x₀‖²: the slope at x₀ is 0, the curvature 2, the distance 1
    centre = torch.full((12,), 0.5)
    judged = subject(
        Function(lambda x: torch.stack([1 - (x - centre).square().sum(1), x[:, 0] * 0], dim=1)), 2
    )
    found = estimate(Clever(**QUICK, order=2, radius=3.0), judged, centre.unsqueeze(0), norm="l2")
    assert found.radius.item() == pytest.approx(1, rel=1e-5)
    assert found.evidence["curvature"].item() == pytest.approx(2, rel=1e-5)  # type: ignore[union-attr]


def test_second_order_says_where_it_does_not_apply() -> None:
    relu = subject(nn.Sequential(linear(12, 8), nn.ReLU(), linear(8, 4, seed=1)))
    with pytest.raises(DomainError, match="piecewise linear"):
        estimate(Clever(**QUICK, order=2), relu, points(1), norm="l2")
    with pytest.raises(UsageError, match="l2 only"):
        estimate(Clever(**QUICK, order=2), relu, points(1), norm="linf")


def test_progress_moves_towards_the_total_and_shows_radii() -> None:
    seen: list[tuple[int, int, dict[str, list[float]]]] = []
    inputs = points(3)
    context = RunContext(generators(inputs, seed=0, norm="linf"), sink=lambda *report: seen.append(report))
    judged = subject(linear())
    Clever(**QUICK)(judged, inputs, judged(inputs).argmax(1), norm="linf", context=context)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][0] == seen[-1][1] and all(value > 0 for value in seen[-1][2]["radius"])


def test_every_parameter_says_what_it_is() -> None:
    for parameter in dataclasses.fields(Clever):
        assert parameter.metadata["falsefloor"]["help"]
    assert Clever(batches=500, samples=1024, radius=5.0, box=False, directed=False) != Clever()
