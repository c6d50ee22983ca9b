"""The whole way on the embedded model: observe, estimate, settle, judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import falsefloor
from falsefloor.api import Check, Facts, Norm, Record
from falsefloor.checks import ceiling, contradiction, domain, gradient, numerics, statistics
from falsefloor.checks.judge import Judgement, judge
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference import FiniteDifference
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import Sigmoid
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsInputs, DigitsModel, load_split
from falsefloor.subjects.compose import compose
from falsefloor.subjects.observe import Observation, observe
from falsefloor.subjects.subject import ModelSubject

CHECKS: tuple[Check, ...] = tuple(
    module.check for module in (gradient, contradiction, statistics, numerics, ceiling, domain)
)
MODEL = DigitsModel()("mlp")
GIVEN = DigitsInputs()("0-1", MODEL)
INPUTS, LABELS = GIVEN.inputs, torch.as_tensor(GIVEN.labels)
CLEVER = Clever(batches=20, samples=10)


def _words(evidence: Mapping[str, Any], at: int) -> dict[str, float | str]:
    return {
        name: values[at] if isinstance(values[at], str) else float(values[at])
        for name, values in evidence.items()
    }


def _ceiling(seen: Observation) -> Record:
    """The observation's own counterexample in the place of an attack's, which other tests are about."""
    found = seen.facts["counterexample"]
    return Record("attack", "upper_bound", "autograd", found["distance"], {}, {}, "A")


def judged(stack: list[Any], estimator: Any = CLEVER, *, norm: Norm = "linf") -> list[Judgement]:
    """Judgements of the inputs that the masked model still classifies, with a ceiling for each."""
    subject = ModelSubject(compose(MODEL.module, stack), classes=10)
    plain = ModelSubject(compose(MODEL.module, []), classes=10)
    seeds = generators(INPUTS, seed=0, norm=norm)
    seen = observe(subject, plain, INPUTS, LABELS, norm=norm, generators=seeds)
    kept = [i for i, one in enumerate(seen) if one.facts.get("counterexample")]
    assert kept
    inputs: Tensor = INPUTS[kept]
    context = RunContext(generators(inputs, seed=0, norm=norm))
    estimate = estimator(subject, inputs, LABELS[kept], norm=norm, context=context)
    judgements = []
    for at, i in enumerate(kept):
        facts = {**seen[i].facts, "arrays": {role: f"O/{role}" for role in seen[i].arrays}}
        record = Record(
            "it",
            estimator.claim,
            "autograd",
            float(estimate.radius[at]),
            _words(estimate.evidence, at),
        )
        judgements.append(judge(Facts(norm, record, (_ceiling(seen[i]),), facts), CHECKS))
    return judgements


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_clever_on_the_unmasked_model_is_held(norm: Norm) -> None:
    assert [j.verdict for j in judged([], norm=norm)] == ["held"] * len(INPUTS)


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_a_model_that_a_masker_runs_in_half_precision_is_accused_of_no_rounding(to: str) -> None:
    # steps of 0.004 in l1 move float16's margins by less than it rounds
    assert {one.verdict for one in judged([(Dtype(to=to), "model")], norm="l1")} == {"held"}


class Median(nn.Module):
    """A 3×3 median filter in front: no mask, and more kinks than there are pixels."""

    def forward(self, x: Tensor) -> Tensor:
        patches = functional.unfold(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3)
        logits: Tensor = MODEL.module(patches.median(1).values.reshape(x.shape))
        return logits


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_median_filter_is_accused_by_points_and_by_nothing_else(norm: Norm) -> None:
    """Of 18 estimates a norm; one alarm without a point would be more than 5 %."""
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        right = (Median()(images[:60]).argmax(1) == labels[:60]).nonzero()[:6, 0]
    results = falsefloor.evaluate(Median(), images[right], labels[right], norm=norm, progress=False)
    points = {"FF201", "FF203", "FF505"}
    below = [one for one in results.estimates if one["status"] == "ok" and one["verdict"] != "held"]
    assert [one for one in below if not points & {w["code"] for w in one["warnings"]}] == []


def test_finite_differences_are_held_with_a_staircase_and_without() -> None:
    for stack in ([], [(Staircase(c=255), "input")]):
        assert {j.verdict for j in judged(stack, FiniteDifference(batches=4, samples=4))} == {"held"}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_clever_behind_a_staircase_is_refuted_and_the_gradient_is_named(norm: Norm) -> None:
    for judgement in judged([(Staircase(c=255), "input")], norm=norm):
        assert judgement.verdict == "refuted"
        assert {"FF101", "FF102", "FF201", "FF203", "FF303"} <= {f.code for f in judgement.findings}


def test_a_staircase_with_a_lucky_radius_is_suspect() -> None:
    fixed = Clever(batches=10, samples=5, radius=0.01)
    assert {j.verdict for j in judged([(Staircase(c=255), "input")], fixed)} == {"suspect"}


def test_a_cast_to_integers_is_a_cut_graph() -> None:
    for judgement in judged([(Dtype(to="uint8"), "input")]):
        assert "FF103" in {f.code for f in judgement.findings}


def test_a_narrow_ramp_is_useless_and_suspect() -> None:
    for judgement in judged([(Ramp(c=255, delta=0.01), "input")]):
        assert judgement.verdict == "suspect"
        assert "FF701" in {f.code for f in judgement.findings}


def test_a_saturated_model_is_not_held() -> None:
    stack = [(Sigmoid(gain=4.0), "logits")]
    subject = ModelSubject(compose(MODEL.module, stack), classes=10)
    seeds = generators(INPUTS, seed=0, norm="linf")
    for seen in observe(subject, None, INPUTS, LABELS, norm="linf", generators=seeds):
        assert seen.facts["misclassified"] or seen.facts["outputs"]["saturated"] > 0.1
