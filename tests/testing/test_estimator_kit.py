"""The estimators' kit passes what keeps the contract and names what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from zoo_honest import targets

from falsefloor.api import Cancelled, Claim, Context, Estimate, Norm, Subject, option
from falsefloor.errors import UsageError
from falsefloor.testing import ConformanceError, check_estimator, parametrize_with_checks
from falsefloor.testing.common import Case, run_cases
from falsefloor.testing.estimators import estimator_cases
from falsefloor.testing.problems import linear

SLOW = "importing it is silent"  # starts an interpreter that imports torch


@dataclass(frozen=True)
class Fine:
    """A share of the margin over the gradient at the input: on a linear model, of the exact distance."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l2", "linf"))
    share: float = option(0.5, help="of the distance", gt=0)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        radius = self.share * targets(subject, inputs, labels, norm).amin(1)
        context.progress(1, 1, radius=radius)
        return Estimate(radius, {"lipschitz": torch.ones(len(inputs))})


@dataclass(frozen=True)
class Far(Fine):
    """An upper bound: a corner of the domain that is another class, and the distance to it."""

    claim: ClassVar[Claim] = "upper_bound"
    shrink: float = 1.0

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        witness = inputs.clone()
        with torch.no_grad():
            for at in range(len(inputs)):
                for _ in range(200):
                    if subject(witness[at : at + 1]).argmax() != labels[at]:
                        break
                    corner = torch.rand(inputs[at].shape, generator=context.generators[at]).round()
                    witness[at] = corner.to(inputs.dtype)
            found = torch.cat([subject(one[None]).argmax(1) for one in witness]) != labels
        away = (witness - inputs).flatten(1).abs()
        radius = away.amax(1) if norm == "linf" else away.square().sum(1).sqrt()
        radius = torch.where(found, radius, torch.inf)
        context.progress(1, 1)
        return Estimate(radius * self.shrink, witness=witness)


def mutant(change: Callable[..., Estimate], base: type = Fine, **attributes: Any) -> Any:
    """An estimator whose call is ``change(sound estimate, subject, inputs, labels, context)``."""

    def call(
        self: Any, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        sound = base.__call__(self, subject, inputs, labels, norm=norm, context=context)
        return change(sound, subject, inputs, labels, context)

    cls = dataclass(frozen=True)(type("Mutant", (base,), {"__call__": call, **attributes}))
    return cls()


def failures(estimator: Any, *only: str) -> set[str]:
    """The names of the checks that fail, of all but the slow one or of those named."""
    cases = [case for case in estimator_cases(estimator, seed=1) if case.name != SLOW]
    if only:
        cases = [case for case in cases if case.name.partition(" [")[0] in only]
    results = run_cases(cases, expected_failures=None, raises=False, name="it")
    return {result.name.partition(" [")[0] for result in results if not result.ok}


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [Fine(share=0.3), Far()])
def test_a_sound_estimator_passes_every_check(estimator: Any) -> None:
    assert failures(estimator) == set()


def _first_input_counts(sound: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius * (1 + inputs.flatten()[0]) / 2)


def _draws(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius * (0.5 + 0.1 * torch.rand(len(sound.radius))))


def _writes(sound: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    inputs.clamp_(0.5, 0.6)
    return sound


def _unfreezes(sound: Estimate, subject: Any, *_: Any) -> Estimate:
    next(subject.module.parameters()).requires_grad_(True)
    return sound


def _prints(sound: Estimate, *_: Any) -> Estimate:
    print("radius", sound.radius)
    return sound


def _asks_for_much(sound: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    subject(inputs[:1].expand(100, *inputs.shape[1:]))
    return sound


def _goes_back(sound: Estimate, subject: Any, inputs: Tensor, labels: Tensor, context: Context) -> Estimate:
    context.progress(0, 1)
    return sound


def _nan(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius * torch.nan)


def _nothing(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius * 0)


def _constant(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=torch.full_like(sound.radius, 1e-5))


def _column(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius[:, None])


def _doubles(sound: Estimate, *_: Any) -> Estimate:
    return replace(sound, radius=sound.radius * 2)


def _innocent(sound: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    return replace(sound, witness=inputs.clone())


def _loses_precision(sound: Estimate, subject: Any, *_: Any) -> Estimate:
    if subject.dtype == torch.float64:
        return replace(sound, radius=sound.radius + 1)
    return sound


def _knows_the_answer(sound: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    """The unplanted model's distances, whatever subject is given."""
    problem = linear()
    known = problem.distances("linf")
    exact = [known[int((problem.inputs == x).flatten(1).all(1).nonzero()[0, 0])] for x in inputs]
    return replace(sound, radius=0.99 * torch.stack(exact).to(sound.radius))


MUTANTS: dict[str, tuple[Any, str]] = {
    "depends on a neighbour": (mutant(_first_input_counts), "independent of neighbours"),
    "draws globally": (mutant(_draws), "no randomness but the context's"),
    "writes into its inputs": (mutant(_writes), "shapes and numbers"),
    "unfreezes a weight": (mutant(_unfreezes), "the model is left as it was"),
    "prints": (mutant(_prints), "prints nothing"),
    "asks for many rows": (mutant(_asks_for_much), "no forward takes more than context.rows"),
    "goes back": (mutant(_goes_back), "progress goes forward"),
    "returns NaN": (mutant(_nan), "shapes and numbers"),
    "returns a column": (mutant(_column), "shapes and numbers"),
    "claims too much": (Fine(share=1.01), "right on a linear model"),
    "claims too much of all": (Fine(share=1.01), "right on linear models drawn anew"),
    "claims nothing": (mutant(_nothing), "says more than nothing"),
    "claims the same of all": (mutant(_constant), "says more than nothing"),
    "certifies from one point": (
        mutant(lambda sound, *_: sound, claim="lower_bound"),
        "proves what it certifies",
    ),
    "claims too little": (mutant(_doubles, Far), "the witness changes the class where it is said to"),
    "has an innocent witness": (mutant(_innocent, Far), "honest behind a staircase"),
    "looks at another model": (
        mutant(_knows_the_answer, norms=frozenset(("linf",))),
        "stays below a planted trap",
    ),
    "is wrong in float64": (mutant(_loses_precision), "right in float64"),
    "has no version": (mutant(lambda sound, *_: sound, api_version=None), "contract"),
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_an_estimator_that_does_wrong_fails_the_check_of_that_name(name: str) -> None:
    estimator, check = MUTANTS[name]
    assert failures(estimator, check) == {check}


def test_a_claim_below_its_own_distance_is_caught_on_a_linear_model() -> None:
    assert failures(Far(shrink=1e-3), "right on a linear model") == {"right on a linear model"}


def test_swallowing_a_cancellation_is_caught() -> None:
    class Deaf(Fine):
        def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
            try:
                return super().__call__(subject, inputs, labels, norm=norm, context=context)
            except Cancelled:
                return Estimate(torch.full((len(inputs),), 1e-3))

    check = "a cancellation passes through"
    assert failures(Deaf(), check) == {check}


def test_a_mutable_class_is_no_safe_home_for_validated_parameters() -> None:
    @dataclass
    class Loose:
        api_version: ClassVar[int] = 1
        claim: ClassVar[Claim] = "lower_estimate"
        norms: ClassVar[frozenset[Norm]] = frozenset()
        share: float = 0.5
        __call__ = Fine.__call__

    assert failures(Loose()) == {"contract", "parameters survive a round trip"}  # no norm either


def test_the_error_names_each_failed_check_with_its_reason(warm: None) -> None:
    wrong: Any = type("Wrong", (Fine,), {"__module__": "__main__", "norms": frozenset({"linf"})})(share=1.5)
    with pytest.raises(ConformanceError) as caught:
        check_estimator(wrong)
    text = str(caught.value)
    assert "Wrong fails" in text
    assert "right on a linear model [linf]: claims lower_estimate" in text


def test_importing_a_plugin_that_prints_is_caught(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_kit_plugin.py").write_text("print('hello')\nclass Loud:\n    api_version = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import loud_kit_plugin

    (case,) = [c for c in estimator_cases(loud_kit_plugin.Loud()) if c.name == SLOW]
    with pytest.raises(Exception, match="prints to stdout: 'hello"):
        case()


def _fail() -> None:
    raise RuntimeError("as always")


CASES = [Case("good", lambda: None), Case("bad", _fail)]


def test_an_expected_failure_is_accepted_and_its_passing_is_not() -> None:
    expected = {"good": "is said to fail", "bad": "known"}
    results = run_cases(CASES, expected_failures=expected, raises=False, name="it")
    assert [result.outcome for result in results] == ["unexpected pass", "expected failure"]
    with pytest.raises(ConformanceError, match="good: passes, though expected to fail"):
        run_cases(CASES, expected_failures=expected, raises=True, name="it")


def test_an_expected_failure_that_names_no_check_is_an_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'good'"):
        run_cases(CASES, expected_failures={"goood": "typo"}, raises=False, name="it")


@pytest.mark.slow
@parametrize_with_checks("estimator", [Fine(share=0.3)], expected_failures={})
def test_fine_conforms(check: Callable[[], None]) -> None:
    check()


def test_an_unknown_kind_of_plugin_is_an_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'estimator'"):
        parametrize_with_checks("estimators", [Fine()])


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_linear_problems_distances_are_exact(norm: Norm) -> None:
    problem = linear(torch.float64)
    distance = problem.distances(norm)
    weight, subject = problem.weight, problem.subject()
    for at, label in enumerate(problem.labels.tolist()):
        flips = []
        for target in {0, 1, 2} - {label}:
            slope = weight[target] - weight[label]
            step = {"linf": slope.sign(), "l2": slope / slope.norm()}.get(norm)
            if step is None:
                step = slope.sign() * (slope.abs() == slope.abs().max())
            flips.append(step.reshape(problem.inputs[at].shape) * distance[at])
        inside = torch.stack([problem.inputs[at] + 0.999 * step for step in flips])
        beyond = torch.stack([problem.inputs[at] + 1.001 * step for step in flips])
        assert ((beyond >= 0) & (beyond <= 1)).all()
        assert (subject(inside).argmax(1) == label).all()
        assert (subject(beyond).argmax(1) != label).any()
