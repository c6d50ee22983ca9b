"""The exact solver: known distances, certificates that hold, refusals that say why."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import Estimate, Norm, NotApplicable
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.crown import Crown
from falsefloor.estimators.milp import TOLERANCE, Milp
from falsefloor.estimators.milp.network import read_network
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.numerics.balls import sample
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

EXACT = json.loads((Path(__file__).parent.parent / "data" / "exact_linf.json").read_text())


def _run(subject: ModelSubject, inputs: Tensor, norm: Norm, **options: float) -> Estimate:
    context = RunContext(generators(inputs, seed=0, norm=norm))
    with torch.no_grad():
        labels = subject(inputs).argmax(dim=1)
    return Milp(**options)(subject, inputs, labels, norm=norm, context=context)


def _linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    return layer


def _small(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def _scanned(subject: ModelSubject, centre: Tensor, norm: Norm) -> float:
    """The distance of the nearest grid point of another class, which is never below the true one."""
    axis = torch.linspace(0, 1, 401)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        other = subject(grid).argmax(dim=1) != subject(centre).argmax(dim=1)
    apart = (grid[other] - centre).abs()
    return (
        float((apart.amax(dim=1) if norm == "linf" else apart.sum(dim=1)).min()) if len(apart) else math.inf
    )


@pytest.mark.parametrize(("norm", "distance"), [("linf", 0.1), ("l1", 0.15)])
def test_a_linear_model_has_its_closed_form(norm: Norm, distance: float) -> None:
    # the margin is 0.3 - (2a + b): linf 0.3/3, l1 0.3/2
    subject = ModelSubject(_linear([[0.0, 0.0], [2.0, 1.0]], [1.8, 0.0]), classes=2)
    estimate = _run(subject, torch.tensor([[0.5, 0.5]]), norm)
    assert float(estimate.radius[0]) == pytest.approx(distance, abs=5e-6)
    assert float(estimate.radius[0]) <= distance


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("seed", range(4))
def test_a_scan_of_the_square_finds_the_same_distance(norm: Norm, seed: int) -> None:
    subject = ModelSubject(_small(seed), classes=3)
    centre = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
    estimate = _run(subject, centre, norm)
    scanned = _scanned(subject, centre, norm)
    diameter = 1.0 if norm == "linf" else 2.0
    assert float(estimate.radius[0]) <= scanned + 1e-6
    assert min(scanned, diameter) <= float(estimate.radius[0]) + 0.005


@pytest.mark.parametrize("mode", ["ceil", "floor", "round"])
@pytest.mark.parametrize("seed", [3, 4])
def test_a_staircase_at_the_input_is_exact_too(mode: str, seed: int) -> None:
    stairs = compose(_small(seed), [(Staircase(c=10, mode=mode), "input")])
    subject = ModelSubject(stairs, classes=3)
    centre = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
    scanned = _scanned(subject, centre, "linf")
    estimate = _run(subject, centre, "linf")
    assert float(estimate.radius[0]) <= scanned + 1e-6
    # a class that holds only where both steps are left at an edge is seen by the closure and not by a scan
    assert min(scanned, 1.0) <= float(estimate.radius[0]) + 0.1


def test_a_digit_has_the_distance_on_file() -> None:
    row = min(EXACT["digits"], key=lambda digit: float(digit["distance"]))
    loaded = DigitsModel()("mlp")
    images, _ = load_split(held_out=True)
    estimate = _run(ModelSubject(loaded.module, classes=10), images[[row["input"]]], "linf")
    assert float(estimate.radius[0]) == pytest.approx(row["distance"], abs=2 * TOLERANCE)
    exact = estimate.evidence["exact"]
    assert isinstance(exact, Tensor) and exact.tolist() == [1.0]


def test_the_file_of_exact_distances_belongs_to_the_model_and_is_closed() -> None:
    weights = Path(DigitsModel()("mlp").files[0]).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == EXACT["weights"], "run benchmarks/exact.py again"
    assert len(EXACT["digits"]) >= 50
    assert all(row["exact"] and row["gap"] <= 1e-5 for row in EXACT["digits"])


def test_what_little_time_allows_is_still_a_certificate() -> None:
    row = EXACT["digits"][0]
    loaded = DigitsModel()("mlp")
    subject = ModelSubject(loaded.module, classes=10)
    images, _ = load_split(held_out=True)
    inputs = images[[row["input"]]]
    estimate = _run(subject, inputs, "linf", time_limit=0.01)
    radius = float(estimate.radius[0])
    assert 0 < radius < row["distance"]
    assert list(estimate.evidence["solver"]) == ["time limit"]
    context = RunContext(generators(inputs, seed=0, norm="linf"))
    proved = Crown()(subject, inputs, subject(inputs).argmax(1), norm="linf", context=context)
    assert radius >= float(proved.radius[0])
    points = sample(
        inputs,
        norm="linf",
        radius=radius,
        count=500,
        generators=[torch.Generator()],
        lo=subject.lower,
        hi=subject.upper,
    )
    with torch.no_grad():
        assert bool((subject(points[0]).argmax(dim=1) == row["label"]).all())


def test_convolution_pooling_and_batch_statistics_are_read() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(12, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    norms = [layer for layer in model if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for layer in norms:
        layer.running_mean = torch.rand(layer.num_features)
        layer.running_var = 0.5 + torch.rand(layer.num_features)
    subject = ModelSubject(model, classes=3)
    points = torch.rand(16, 1, 4, 4)
    network = read_network(subject, points)
    with torch.no_grad():
        assert torch.allclose(network(points.reshape(16, 16).double()).float(), subject(points), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), "Tanh"),
        (compose(_small(0), [(Ramp(c=10, delta=0.1), "input")]), "not applicable because"),
        (compose(_small(0), [(Staircase(c=10), "2")]), "not at the input"),
    ],
)
def test_other_models_are_refused_with_the_reason(module: nn.Module, reason: str) -> None:
    classes = 2 if reason == "Tanh" else 3
    with pytest.raises(NotApplicable, match=reason) as caught:
        _run(ModelSubject(module, classes=classes), torch.full((1, 2), 0.5), "linf")
    assert str(caught.value).startswith("not applicable because")


class _Shuffled(nn.Sequential):
    """Parts that look like a chain, and a forward that is none."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = 2 * self[0](inputs)
        return outputs


def test_a_model_whose_forward_is_not_its_parts_in_order_is_refused() -> None:
    subject = ModelSubject(_Shuffled(nn.Linear(2, 2)), classes=2)
    with pytest.raises(NotApplicable, match="do not give the model's logits"):
        _run(subject, torch.full((1, 2), 0.5), "linf")


def test_a_model_that_never_changes_its_mind_is_certified_up_to_the_diameter() -> None:
    subject = ModelSubject(_linear([[0.0, 0.0], [1.0, 1.0]], [9.0, 0.0]), classes=2)
    estimate = _run(subject, torch.tensor([[0.5, 0.5]]), "linf")
    capped = estimate.evidence["capped"]
    assert float(estimate.radius[0]) == pytest.approx(1.0, abs=1e-5)
    assert isinstance(capped, Tensor) and capped.tolist() == [1.0]
