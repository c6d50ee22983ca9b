"""Observation: what is measured before any estimator, on good subjects and on bad ones."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import generators
from falsefloor.errors import DomainError
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsInputs, DigitsModel
from falsefloor.numerics.agreement import disagreement
from falsefloor.subjects.compose import compose
from falsefloor.subjects.observe import Observation, observe, site
from falsefloor.subjects.observe.agreement import scale_agreement
from falsefloor.subjects.observe.counterexample import Sighting, bisect
from falsefloor.subjects.observe.site import SCALES, Site
from falsefloor.subjects.subject import ModelSubject

MODEL = DigitsModel()("mlp")
GIVEN = DigitsInputs()("0-4", MODEL)
INPUTS = GIVEN.inputs
assert GIVEN.labels is not None
LABELS: Tensor = torch.as_tensor(GIVEN.labels)
WEIGHT = torch.tensor([[1.0, -2.0, 0.5, 0.0], [-1.0, 1.0, 0.25, 1.0], [0.0, 0.5, -1.0, -1.0]])
CENTRE = torch.tensor([[0.7, 0.2, 0.6, 0.3], [0.5, 0.1, 0.5, 0.4]])


def look(
    subject: ModelSubject,
    inputs: Tensor = INPUTS,
    labels: Tensor = LABELS,
    *,
    norm: Norm = "linf",
    plain: ModelSubject | None = None,
    **options: Any,
) -> list[Observation]:
    seeds = generators(inputs, seed=0, norm=norm)
    return observe(subject, plain, inputs, labels, norm=norm, generators=seeds, **options)


def digits(*stack: Any) -> ModelSubject:
    return ModelSubject(compose(MODEL.module, [(masker, "input") for masker in stack]), classes=10)


class Linear(nn.Module):
    """Three classes, margins linear, on four coordinates."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1)[:, None, :] * WEIGHT).sum(2)


def small(module: nn.Module, classes: int = 3) -> list[Observation]:
    """Observations of a module at two points that `Linear` classifies as 0."""
    inputs = CENTRE
    labels = Linear()(inputs).argmax(1)
    return look(ModelSubject(module, classes=classes), inputs, labels)


class Changed(nn.Module):
    """`Linear` with its logits changed by a function of inputs and logits."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, inputs: Tensor) -> Tensor:
        changed: Tensor = self.change(inputs, Linear()(inputs))
        return changed


def test_a_clean_subject_agrees_with_itself_at_every_scale() -> None:
    for norm in ("linf", "l2", "l1"):
        for seen in look(digits(), norm=norm):
            facts = seen.facts
            assert facts["connected"] is True
            assert facts["agreement"] is True
            assert facts["repeats"]["shift"] == 0
            assert facts["batch"]["shift"] < 1e-5
            assert facts["precision"]["margin_shift"] < 1e-3
            assert facts["outputs"]["saturated"] < 0.05
            assert "nonfinite" not in facts
            for row in facts["gradients"]["autograd"]:
                assert row["vanished"] == row["zero"] == row["nonfinite"] == 0
                assert all(0.7 < step["ratio"] < 1.4 for step in row["steps"])
            fine = facts["gradients"]["autograd"][len(SCALES) - 1]
            assert all(abs(step["ratio"] - 1) < 0.05 for step in fine["steps"])


def test_a_staircase_hides_its_gradient_and_nothing_else() -> None:
    clean, masked = look(digits()), look(digits(Staircase(c=255)), plain=digits())
    for bare, seen in zip(clean, masked, strict=True):
        facts = seen.facts
        assert facts["connected"] is True
        assert facts["agreement"] is True
        assert all(row["vanished"] == 1 for row in facts["gradients"]["autograd"])
        assert all(s["ratio"] == 0 for row in facts["gradients"]["autograd"] for s in row["steps"][1:])
        distance, reference = facts["counterexample"]["distance"], bare.facts["counterexample"]["distance"]
        assert abs(distance - reference) < 2 / 255
        assert facts["secants"][-1]["ratio"] > 10


def test_an_integer_cast_is_a_cut_graph() -> None:
    facts = look(digits(Dtype(to="uint8")))[0].facts
    assert facts["connected"] is False
    assert facts["secants"][0]["ratio"] > 0


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_counterexample_replays_at_its_distance(norm: Norm) -> None:
    subject = digits(Staircase(c=16))
    for i, seen in enumerate(look(subject, norm=norm)):
        fact = seen.facts["counterexample"]
        point = seen.arrays[fact["array"]]
        answer = int(subject.unfilled(point[None]).argmax())
        assert answer == fact["predicted"] != int(LABELS[i])
        assert float(point.min()) >= 0 and float(point.max()) <= 1
        order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
        offset = (point.double() - INPUTS[i].double()).flatten()
        assert fact["distance"] == pytest.approx(float(torch.linalg.vector_norm(offset, order)), rel=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_on_a_linear_model_secants_are_the_dual_norm_and_the_boundary_is_exact(norm: Norm) -> None:
    inputs = CENTRE
    labels = Linear()(inputs).argmax(1)
    dual = {"l1": math.inf, "l2": 2.0, "linf": 1.0}[norm]
    for i, seen in enumerate(
        look(ModelSubject(Linear(), classes=3, bounds=(-2, 3)), inputs, labels, norm=norm)
    ):
        logits = Linear()(inputs[i : i + 1])[0]
        distances = []
        for target in {0, 1, 2} - {int(labels[i])}:
            slope = float(torch.linalg.vector_norm(WEIGHT[labels[i]] - WEIGHT[target], dual))
            ratio = seen.facts["secants"][-2]["ratios"][str(target)]
            assert ratio == pytest.approx(slope, rel=2e-3)
            assert ratio <= slope * (1 + 1e-6)
            distances.append(float(logits[labels[i]] - logits[target]) / slope)
        assert seen.facts["counterexample"]["distance"] == pytest.approx(min(distances), rel=2e-3)


def test_a_pair_is_stored_with_the_slope_that_it_shows() -> None:
    subject = digits()
    for i, seen in enumerate(look(subject)):
        for row in seen.facts["secants"]:
            start, end = seen.arrays[row["array"]]
            assert torch.equal(start, INPUTS[i])
            distance = float((end.double() - start.double()).abs().max())
            assert distance == pytest.approx(row["distance"], rel=1e-9)
            assert distance <= row["radius"] * (1 + 1e-6)
            logits = subject(torch.stack([start, end])).double()
            margin = logits[:, int(LABELS[i])] - logits[:, row["target"]]
            assert float((margin[0] - margin[1]).abs()) / distance == pytest.approx(row["ratio"], rel=0.02)


@pytest.mark.parametrize("chunk", [1, 3])
def test_neighbours_do_not_change_what_is_observed(chunk: int) -> None:
    subject = digits(Staircase(c=64))
    whole = look(subject)
    parts = [
        seen
        for start in range(0, len(INPUTS), chunk)
        for seen in look(subject, INPUTS[start : start + chunk], LABELS[start : start + chunk])
    ]
    for one, other in zip(whole, parts, strict=True):
        assert one.facts == other.facts
        assert all(torch.equal(one.arrays[role], other.arrays[role]) for role in one.arrays)


def test_rows_a_forward_change_nothing() -> None:
    assert [s.facts for s in look(digits(), rows=64)] == [s.facts for s in look(digits(), rows=4096)]


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    look(digits())
    assert torch.equal(before, torch.get_rng_state())


def test_facts_are_json_and_arrays_are_named_in_them() -> None:
    for subject in (digits(), digits(Staircase(c=4))):
        for seen in look(subject):
            words = json.dumps(seen.facts, allow_nan=False)
            assert all(f'"{role}"' in words for role in seen.arrays)


def test_the_cost_stays_within_its_budget() -> None:
    subject = digits()
    facts = look(subject)[0].facts
    assert facts["queries"]["forward"] < 3600
    assert facts["queries"]["backward"] < 600
    spent = subject.forward_queries / len(INPUTS)
    assert spent == pytest.approx(facts["queries"]["forward"], rel=0.02)


def test_a_misclassified_input_is_seen_and_left_alone() -> None:
    wrong = (LABELS + torch.tensor([0, 1, 0, 0, 0])) % 10
    seen = look(digits(), labels=wrong)
    assert seen[1].facts["misclassified"] is True
    assert seen[1].facts["predicted"] == int(LABELS[1])
    assert "secants" not in seen[1].facts
    assert seen[0].facts == look(digits())[0].facts


def test_a_disagreeing_masker_is_seen() -> None:
    subject = ModelSubject(nn.Sequential(MODEL.module, nn.Linear(10, 10, bias=False)), classes=10)
    with torch.no_grad():
        subject.module[1].weight.copy_(torch.eye(10).roll(1, 0))
    assert all(s.facts["agreement"] is False for s in look(subject, plain=digits()))


def test_a_source_of_gradients_is_held_against_the_function_too() -> None:
    clean, masked = digits(), digits(Staircase(c=255))

    def lying(inputs: Tensor) -> Tensor:
        return 3.0 * clean(inputs)

    point, label = INPUTS[:1], LABELS[:1]
    site = Site(masked, point, label, masked(point), "linf", generators(point, seed=0, norm="linf"), 4096)
    sources = {"autograd": masked, "honest": clean, "lying": lying}
    facts: Any = scale_agreement(site, torch.tensor([0.1]), sources=sources).facts[0]
    at = {name: row["steps"][2]["ratio"] for name, row in facts.items()}
    assert at["autograd"] == 0
    assert at["honest"] == pytest.approx(1.0, abs=0.1)
    assert at["lying"] == pytest.approx(3.0, abs=0.3)


class Noisy(nn.Module):
    """Adds fresh noise at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = Linear()(inputs)
        return logits + 1e-3 * torch.randn(logits.shape, generator=self.generator)


class Counting(nn.Module):
    """Drifts with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = Linear()(inputs)
        return logits * (1.0 + 1e-4 * self.calls)


@pytest.mark.parametrize("module", [Noisy(), Counting()], ids=["stochastic", "stateful"])
def test_a_subject_that_changes_its_mind_is_seen(module: nn.Module) -> None:
    for seen in small(module):
        assert seen.facts["repeats"]["shift"] > 0


def test_a_subject_that_uses_its_batch_is_seen() -> None:
    module = Changed(lambda x, f: f + f.mean(0) * (len(x) > 1) * torch.tensor([0.0, 0.1, 0.0]))
    assert all(seen.facts["batch"]["shift"] > 1e-4 for seen in small(module))


class Tied(nn.Module):
    """On one coordinate: class 0 above 0.6, class 1 below 0.3, logits of zero between them."""

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs.flatten(1)
        return torch.cat([(x > 0.6).to(x), (x < 0.3).to(x)], 1)


def test_a_tie_is_no_counterexample_even_of_logits_that_are_all_zero() -> None:
    """Another class must lead: 0.6 would be reached first, and there the answer is nobody's."""
    subject = ModelSubject(Tied(), classes=2)
    start, label = torch.tensor([[0.9]]), torch.tensor([0])
    site = Site(subject, start, label, subject(start), "linf", generators(start, seed=0, norm="linf"), 64)
    far = torch.tensor([[[0.1]]])
    found = bisect(site, Sighting(far, torch.tensor([[True]]), torch.tensor([[0.8]]).double()))
    assert 0.6 < float(found.distance[0, 0]) < 0.601


class Halved(nn.Module):
    """A linear model that works in bfloat16 behind float32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(64, 3).bfloat16()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.linear((inputs.flatten(1) - 0.5).bfloat16()).float()
        return logits


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradients_are_compared_above_what_the_models_own_format_rounds_and_not_below(norm: Norm) -> None:
    subject = ModelSubject(Halved(), classes=3, dtype=torch.float32, resolution=torch.bfloat16)
    with torch.no_grad():
        labels = subject(INPUTS).argmax(1)
    silent, told = 0, 0
    for seen in look(subject, INPUTS, labels, norm=norm):
        for row in seen.facts["gradients"]["autograd"]:
            for step in row["steps"]:
                silent += step["ratio"] is None
                told += step["ratio"] is not None
                if step["ratio"] is not None:
                    assert disagreement(step["ratio"], step["correlation"], share=step["h"]) is None
    assert silent > 20 and told > 10


def test_the_format_is_known_by_its_weights_whoever_put_them_in_it_and_not_by_casts_at_its_ends() -> None:
    placed = {place: compose(MODEL.module, [(Dtype(), place)]) for place in ("model", "3", "input", "logits")}
    found = {place: ModelSubject(module, classes=10) for place, module in placed.items()}
    for subject in found.values():
        subject(INPUTS)
    halves = [place for place, subject in found.items() if subject.resolution == torch.float16]
    assert halves == ["model", "3"]


class Reordered(nn.Module):
    """A half-precision model whose first logit is another by ``units`` of its format for a batch of one."""

    def __init__(self, units: float) -> None:
        super().__init__()
        self.linear, self.units = nn.Linear(64, 3).half(), units

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.linear(inputs.flatten(1).half()).float()
        moved = self.units * torch.finfo(torch.float16).eps * logits.abs().amax(1, keepdim=True)
        return logits - moved if len(inputs) == 1 else logits


@pytest.mark.parametrize(("units", "told"), [(4.0, False), (16.0, True)])
def test_half_precision_may_add_in_another_order_alone_and_no_more(units: float, told: bool) -> None:
    subject = ModelSubject(Reordered(units), classes=3, dtype=torch.float32)
    with torch.no_grad():
        labels = subject(INPUTS).argmax(1)
    assert all((one.facts["batch"]["shift"] > 0) is told for one in look(subject, INPUTS, labels))


def test_what_the_models_own_format_rounds_is_no_shift_in_float64() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).bfloat16()
    images = INPUTS.bfloat16()
    subject = ModelSubject(net, classes=10)
    with torch.no_grad():
        labels = subject(images).argmax(1)
    for seen in look(subject, images, labels):
        assert seen.facts["precision"]["margin_shift"] == 0.0
        assert seen.facts["precision"]["gradient_shift"] == 0.0


def test_probabilities_are_seen() -> None:
    module = Changed(lambda x, f: f.softmax(1))
    assert all(seen.facts["outputs"]["probabilities"] is True for seen in small(module))
    assert all(seen.facts["outputs"]["probabilities"] is False for seen in small(Linear()))


def test_saturated_outputs_are_seen() -> None:
    module = Changed(lambda x, f: f.clamp(max=0.6))
    inputs = torch.tensor([[0.8, 0.1, 0.6, 0.3]])
    facts = look(ModelSubject(module, classes=3), inputs, torch.tensor([0]))[0].facts
    assert facts["outputs"]["saturated"] > 0.3
    assert all(seen.facts["outputs"]["saturated"] < 0.01 for seen in small(Linear()))


def test_logits_that_cancel_are_another_margin_in_float64() -> None:
    module = Changed(lambda x, f: f + 1e6)
    seen = look(ModelSubject(module, classes=3), CENTRE, torch.tensor([0, 0]))
    assert all(one.facts["precision"]["margin_shift"] > 0.01 for one in seen)


def test_a_gradient_that_underflows_is_seen_in_float64() -> None:
    # the margin is a constant one; its derivative is that of a sigmoid at -110, which float32 cannot hold
    step = torch.tensor([1.0, 0.0, 0.0])
    module = Changed(lambda x, f: step + torch.sigmoid(f - 110.0))
    for seen in look(ModelSubject(module, classes=3), CENTRE, torch.tensor([0, 0])):
        assert seen.facts["precision"]["margin_shift"] == 0
        assert seen.facts["precision"]["gradient_shift"] == 1


def test_a_nan_at_one_input_costs_that_input_only() -> None:
    module = Changed(lambda x, f: torch.where(x[:, :1] > 0.55, torch.nan, f))
    lost, kept = small(module)
    assert lost.facts["nonfinite"]["distance"] == 0
    assert "secants" not in lost.facts
    assert kept.facts["counterexample"] is not None
    # the other input lies a twentieth away from the hole
    assert 0 < kept.facts["nonfinite"]["distance"] < 0.4
    assert not bool(module(kept.arrays["nonfinite"][None]).isfinite().all())


def _raising(inputs: Tensor, logits: Tensor) -> Tensor:
    if bool((inputs[:, 0] > 0.55).any()):
        raise ValueError("out of range")
    return logits


def test_raising_on_one_input_costs_that_input_only() -> None:
    lost, kept = small(Changed(_raising))
    assert lost.facts["error"] == "ValueError: out of range"
    assert kept.facts["counterexample"] is not None
    assert 0 < kept.facts["raises"]["distance"] < 0.4
    assert kept.facts["raises"]["message"] == "ValueError: out of range"
    assert "nonfinite" not in kept.facts


def test_a_subject_without_logits_is_an_error_that_says_so() -> None:
    with pytest.raises(DomainError, match="one tensor of logits"):
        small(Changed(lambda x, f: (f, f)))


def test_two_classes_and_one_class() -> None:
    seen = small(Changed(lambda x, f: f[:, :2]), classes=2)
    assert all(set(s.facts["secants"][0]["ratios"]) == {"1"} for s in seen)
    one = small(Changed(lambda x, f: f[:, :1]), classes=1)
    assert all("secants" not in s.facts for s in one)


def test_a_constant_model_has_neither_slope_nor_counterexample() -> None:
    module = Changed(lambda x, f: torch.tensor([2.0, 1.0, 0.0]).expand(len(x), 3) + 0 * f)
    for seen in small(module):
        assert seen.facts["counterexample"] is None
        assert all(row["ratio"] == 0 for row in seen.facts["secants"])
        assert seen.facts["outputs"]["saturated"] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_precisions(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).to(dtype)
    with torch.no_grad():
        module[1].weight.copy_(WEIGHT)
        module[1].bias.zero_()
    inputs = CENTRE[:1].to(dtype)
    labels = Linear()(CENTRE[:1]).argmax(1)
    facts = look(ModelSubject(module, classes=3), inputs, labels)[0].facts
    assert facts["dtype"] == str(dtype).removeprefix("torch.")
    assert facts["counterexample"]["distance"] > 0
    assert ("reason" in facts["precision"]) == (dtype == torch.float64)


def test_many_coordinates_are_probed_by_random_directions() -> None:
    generator = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    with torch.no_grad():
        module[1].weight.copy_(torch.randn(4, 432, generator=generator) / 20)
        module[1].bias.zero_()
    inputs = torch.rand(2, 3, 12, 12, generator=generator)
    subject = ModelSubject(module, classes=4)
    labels = subject(inputs).argmax(1)
    for seen in look(subject, inputs, labels, norm="l2"):
        assert seen.facts["counterexample"]["distance"] > 0
        assert seen.facts["queries"]["forward"] < 3000


def test_a_large_input_is_observed_with_a_third_of_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 180**2 < site.LARGE < 182**2, "the observation of an image of 182 x 182 is the short one"
    monkeypatch.setattr(site, "LARGE", 17**2)
    asked = []
    for side in (16, 18):
        module = nn.Sequential(nn.AvgPool2d(side // 2), nn.Flatten(), nn.Linear(4, 12))
        subject = ModelSubject(module, classes=12)
        point = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
        (seen,) = observe(
            subject,
            None,
            point,
            subject(point).argmax(1),
            norm="linf",
            generators=[torch.Generator().manual_seed(0)],
        )
        assert set(seen.facts) >= {"secants", "gradients", "units", "counterexample", "precision"}
        asked.append(seen.facts["queries"]["forward"])
    assert asked[1] < 0.5 * asked[0]
