"""The relaxation: never above what a scan finds, near it on small networks, refusals by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from falsefloor.api import Estimate, Norm, NotApplicable
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.crown import Crown
from falsefloor.estimators.crown.network import read_network
from falsefloor.estimators.crown.search import Look, Question, certified
from falsefloor.estimators.milp import Milp
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.staircase import Staircase
from falsefloor.numerics.balls import sample
from falsefloor.numerics.crown import Heads, relax
from falsefloor.numerics.envelopes import curve
from falsefloor.numerics.nodes import answers, chain, evaluate
from falsefloor.numerics.support import region
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
SMOOTH = ("leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu", "softplus", "hardswish", "abs")


def _run(subject: ModelSubject, inputs: Tensor, norm: Norm, **options: float) -> Estimate:
    context = RunContext(generators(inputs, seed=0, norm=norm))
    with torch.no_grad():
        labels = subject(inputs).argmax(dim=1)
    return Crown(**options)(subject, inputs, labels, norm=norm, context=context)  # type: ignore[arg-type]


def _small(seed: int, activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), activation, nn.Linear(8, 6), activation, nn.Linear(6, 3))


def _scanned(subject: ModelSubject, centre: Tensor, norm: Norm) -> float:
    axis = torch.linspace(0, 1, 201)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        other = subject(grid).argmax(dim=1) != subject(centre).argmax(dim=1)
    order = {"linf": math.inf, "l2": 2, "l1": 1}[norm]
    apart = torch.linalg.vector_norm(grid[other] - centre, order, dim=1)
    return float(apart.min()) if len(apart) else math.inf


class Shared(nn.Module):
    """A layer that is used twice, a residual, a concatenation, both poolings, in one network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean = torch.tensor([0.1, -0.2, 0.3])
        self.last = nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        x = x + functional.gelu(self.twice(x))
        x = torch.tanh(self.twice(x))
        parts = [functional.max_pool2d(x, 3, 2, padding=1), functional.adaptive_avg_pool2d(x, (3, 3))]
        both = torch.cat(parts, dim=1)[:, ::2]
        return self.last(both.flatten(1)[:, :18].sub(0.1)) / 2


@pytest.mark.parametrize(("norm", "distance"), [("linf", 0.1), ("l2", 0.3 / 5**0.5), ("l1", 0.15)])
def test_a_linear_model_has_its_closed_form(norm: Norm, distance: float) -> None:
    # the margin is 0.3 - (2a + b)
    layer = nn.Linear(2, 2)
    layer.load_state_dict(
        {"weight": torch.tensor([[0.0, 0.0], [2.0, 1.0]]), "bias": torch.tensor([1.8, 0.0])}
    )
    estimate = _run(ModelSubject(layer, classes=2), torch.tensor([[0.5, 0.5]]), norm)
    assert float(estimate.radius[0]) == pytest.approx(distance, abs=2e-5)
    assert float(estimate.radius[0]) <= distance


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.LeakyReLU(0.2)], ids=str)
def test_no_scan_of_the_square_finds_a_nearer_class(norm: Norm, activation: nn.Module) -> None:
    shares = []
    for seed in range(2):
        subject = ModelSubject(_small(seed, activation), classes=3)
        centre = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
        radius = float(_run(subject, centre, norm).radius[0])
        scanned = min(_scanned(subject, centre, norm), {"linf": 1.0, "l2": 2**0.5, "l1": 2.0}[norm])
        assert radius <= scanned + 1e-6
        shares.append(radius / scanned)
    assert sum(shares) / len(shares) > 0.6


@pytest.mark.parametrize("name", SMOOTH)
def test_both_lines_hold_between_the_ends_of_any_interval(name: str) -> None:
    found = curve(name)
    assert found is not None
    generator = torch.Generator().manual_seed(0)
    low = 6 * torch.randn(400, generator=generator, dtype=torch.float64)
    high = low + 10 ** (4 * torch.rand(400, generator=generator, dtype=torch.float64) - 3)
    lines, (least, most) = found.lines(low, high), found.span(low, high)
    x = low + (high - low) * torch.linspace(0, 1, 1001, dtype=torch.float64).unsqueeze(1)
    value = found.value(x)
    assert bool((value >= least - 1e-12).all()) and bool((value <= most + 1e-12).all())
    for line in lines.below:
        assert bool((line.slope * x + line.offset <= value + 1e-9).all())
    for line in lines.above:
        assert bool((line.slope * x + line.offset >= value - 1e-9).all())


@pytest.mark.parametrize("norm", NORMS)
def test_shared_layers_residuals_and_pooling_are_enclosed(norm: Norm) -> None:
    torch.manual_seed(1)
    model = Shared().eval()
    subject = ModelSubject(model, classes=4)
    inputs = torch.rand(2, 1, 6, 6)
    nodes, _ = read_network(subject, inputs, generator=torch.Generator().manual_seed(0))
    centre = inputs[0].double().reshape(-1)
    zeros, ones = torch.zeros(36, dtype=torch.float64), torch.ones(36, dtype=torch.float64)
    radius = {"linf": 0.1, "l2": 0.5, "l1": 2.0}[norm]
    known = relax(nodes, region(centre, zeros, ones, norm=norm, radius=radius), outward=1e-10)
    least = known.below(len(nodes) - 1, torch.eye(4, dtype=torch.float64))
    points = sample(
        inputs[:1],
        norm=norm,
        radius=radius,
        count=2000,
        generators=[torch.Generator().manual_seed(0)],
        lo=torch.zeros(()),
        hi=torch.ones(()),
    )
    values = evaluate(nodes, points.reshape(-1, 36).double())
    assert torch.allclose(values.float(), model(points[0]), atol=1e-5)
    assert bool((values >= least).all())
    assert float((values.amin(0) - least).max()) < 1.5


class Apart(nn.Module):
    """Two bent values taken from one another, written in every way; sums into a fresh tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(2, 8), nn.Linear(2, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        one, other = torch.tanh(self.one(x)), torch.sigmoid(self.other(x))
        total = torch.zeros(len(x), 8)
        total += functional.relu(torch.add(one, other, alpha=-2))
        total += functional.relu(torch.sub(other, one, alpha=-1))
        total += functional.relu(torch.rsub(one, other)) + (one - other).relu()
        return self.last(total + torch.zeros_like(total))


@pytest.mark.parametrize("norm", NORMS)
def test_values_taken_from_one_another_lie_in_their_intervals(norm: Norm) -> None:
    torch.manual_seed(0)
    subject = ModelSubject(Apart(), classes=3)
    centre = torch.rand(1, 2)
    nodes, _ = read_network(subject, centre, generator=torch.Generator().manual_seed(0))
    zeros, ones = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    known = relax(nodes, region(centre[0].double(), zeros, ones, norm=norm, radius=0.2), outward=1e-10)
    drawn = sample(
        centre,
        norm=norm,
        radius=0.2,
        count=2000,
        generators=[torch.Generator().manual_seed(0)],
        lo=torch.zeros(()),
        hi=torch.ones(()),
    )
    for values, (low, high) in zip(answers(nodes, drawn[0].double()), known.intervals, strict=True):
        assert bool((values >= low).all() and (values <= high).all())


class Branches(nn.Module):
    """One past an activation, one past a pooling alone."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Linear(36, 4), nn.Linear(9, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.other(functional.max_pool2d(x, 2).flatten(1)).sigmoid()
        return self.last(torch.cat([self.one(x.flatten(1)).relu(), pooled], dim=1))


def test_a_branch_without_slopes_to_optimise_is_bounded_all_the_same() -> None:
    torch.manual_seed(0)
    estimate = _run(ModelSubject(Branches(), classes=3), torch.rand(2, 1, 6, 6), "linf", steps=2)
    assert bool((estimate.radius > 0).all())


class Cancels(nn.Module):
    """A linear model one of whose logits is rounded to 2e-3 on its way, in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.layer.load_state_dict(
            {"weight": torch.tensor([[0.0, 0.0], [2.0, 1.0]]), "bias": torch.tensor([1.8, 0.0])}
        )

    def forward(self, x: Tensor) -> Tensor:
        large = torch.tensor([0.0, 2.1e4])
        return (self.layer(x) + large) - large


def test_what_the_model_rounds_itself_is_left_between_floor_and_boundary() -> None:
    subject, centre = ModelSubject(Cancels(), classes=2), torch.tensor([[0.5, 0.5]])
    radius = float(_run(subject, centre, "linf").radius[0])
    moves = 0.1 - torch.linspace(0, 2e-3, 4001).unsqueeze(1)
    other = subject(centre + moves).argmax(1) == 1
    assert bool(other.any())
    assert 0.09 < radius < float(moves[other].min())


def test_optimised_slopes_prove_more() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)]
    subject = ModelSubject(nn.Sequential(*layers), classes=3)
    inputs = torch.rand(4, 8, generator=torch.Generator().manual_seed(3))
    fixed, free = (_run(subject, inputs, "linf", steps=steps).radius for steps in (0, 10))
    assert bool((free >= fixed * 0.995).all())
    assert float((free / fixed).max()) > 1.001


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_optimised_slopes_prove_nothing_that_a_descent_contradicts(norm: Norm) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    model = nn.Sequential(*layers, nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    subject = ModelSubject(model, classes=4)
    inputs = torch.rand(3, 1, 6, 6)
    context = RunContext(generators(inputs, seed=0, norm=norm))
    found = Attack(steps=12, restarts=1, rounds=1)(
        subject, inputs, subject(inputs).argmax(1), norm=norm, context=context
    )
    assert bool((_run(subject, inputs, norm, steps=3).radius < found.radius).all())


@pytest.mark.parametrize("mode", ["ceil", "floor", "round"])
def test_behind_a_staircase_it_stays_below_the_exact_distance(mode: str) -> None:
    module = compose(_small(0, nn.ReLU()), [(Staircase(c=7, mode=mode), "input")])
    subject = ModelSubject(module, classes=3)
    inputs = torch.rand(2, 2, generator=torch.Generator().manual_seed(5))
    context = RunContext(generators(inputs, seed=0, norm="linf"))
    with torch.no_grad():
        labels = subject(inputs).argmax(dim=1)
    exact = Milp()(subject, inputs, labels, norm="linf", context=context).radius
    proved = _run(subject, inputs, "linf").radius
    assert bool((proved <= exact).all())
    assert float((proved / exact).min()) > 0.5


def test_a_class_behind_in_one_ball_is_asked_about_again_in_a_larger_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scripted(asked: Question, targets: Tensor, *, radius: float, work: float, steps: int) -> Look:
        # optimised slopes prove class 1 farther than the first look did, and class 2 no farther
        loss = torch.tensor([0.0, 0.8 if steps else 1.2, 0.9], dtype=torch.float64)[targets]
        ahead = (1 / loss) if work else torch.full_like(loss, 2.2)
        return Look(radius, 1 - loss * radius, ahead.clamp_max(asked.cap), 0)

    monkeypatch.setattr("falsefloor.estimators.crown.search.look", scripted)
    logits = (torch.zeros(3, 1, dtype=torch.float64), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    nodes, none = chain([logits]), torch.zeros(1, dtype=torch.float64)
    asked = Question(
        *(nodes, Heads(nodes), none, none - 9, none + 9, "linf", 0), least=0.0, cap=9.0, work=1.0, steps=1
    )
    assert 1.0 < certified(asked).radius <= 1 / 0.9


def test_a_domain_without_another_class_is_proved_to_its_end() -> None:
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"weight": torch.zeros(2, 2), "bias": torch.tensor([1.0, 0.0])})
    estimate = _run(ModelSubject(layer, classes=2), torch.tensor([[0.5, 0.5]]), "linf")
    assert float(estimate.radius[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(estimate.evidence["capped"][0]) == 1.0  # type: ignore[arg-type]


def test_of_a_thousand_classes_those_that_matter_bind() -> None:
    torch.manual_seed(0)
    subject = ModelSubject(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1000)), classes=1000)
    estimate = _run(subject, torch.rand(1, 16), "l2")
    assert float(estimate.radius[0]) > 0
    assert float(estimate.evidence["targets_covered"][0]) == 999  # type: ignore[arg-type]


def test_more_work_than_allowed_is_interval_arithmetic_and_said() -> None:
    subject = ModelSubject(_small(2, nn.Tanh()), classes=3)
    inputs = torch.rand(1, 2, generator=torch.Generator().manual_seed(2))
    little, much = _run(subject, inputs, "linf", work=20.0), _run(subject, inputs, "linf")
    assert float(little.evidence["cut"][0]) > 0 == float(much.evidence["cut"][0])  # type: ignore[arg-type]
    assert float(little.radius[0]) <= float(much.radius[0]) * 1.002


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


class Leaves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_numpy(x.detach().numpy().copy()).cos()


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Overflows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e38 * 10


class Infinite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, math.inf]))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).clamp(max=3.0)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Softmax(dim=1), "'_softmax' has no relaxation"),
        (Depends(), "depends on values of its input"),
        (Leaves(), "do not give the model's logits"),
        (Product(), "'mul' multiplies two values"),
        (Infinite(), "a weight of 'mul' is not finite"),
        (nn.Linear(2, 2).half(), "computes in float16"),
        (nn.Softplus(threshold=1.0), "'softplus' has no relaxation"),
        (Overflows(), "not finite everywhere in its domain"),
        (compose(nn.Identity(), [(Dtype(to="float16"), "input")]), "casts to float16"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_relaxed_is_declined_by_name(module: nn.Module, words: str) -> None:
    subject = ModelSubject(module.eval(), classes=2)
    inputs = torch.tensor([[0.25, 0.75]], dtype=subject.dtype)
    with pytest.raises(NotApplicable, match="not applicable because") as caught:
        Crown()(
            subject,
            inputs,
            torch.tensor([1]),
            norm="linf",
            context=RunContext(generators(inputs, seed=0, norm="linf")),
        )
    assert words in str(caught.value)
