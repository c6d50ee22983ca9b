"""The kits of maskers, gradient sources, models, inputs and checks name what breaks the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import CodeInfo, Facts, Finding, LabelledInputs, LoadedModel, Subject
from falsefloor.testing.checks import check_cases
from falsefloor.testing.common import Case, run_cases
from falsefloor.testing.gradients import gradient_cases
from falsefloor.testing.maskers import masker_cases
from falsefloor.testing.problems import SHAPE, Stairs, linear
from falsefloor.testing.sources import input_cases, model_cases

SLOW = (
    "importing it is silent",  # each starts an interpreter that imports torch
    "the same in another process, on another day",
    "loads the same model in another process, on another day",
)


def failures(cases: list[Case]) -> set[str]:
    kept = [case for case in cases if case.name not in SLOW]
    results = run_cases(kept, expected_failures=None, raises=False, name="it")
    return {result.name for result in results if not result.ok}


class Map(nn.Module):
    def __init__(self, part: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.part, self.change = part, change

    def forward(self, t: Tensor) -> Tensor:
        return self.change(self.part(t))


def masker(change: Callable[[Tensor], Tensor], **attributes: Any) -> Any:
    def call(self: Any, part: nn.Module, /) -> nn.Module:
        return Map(part, change)

    return type("Mutant", (), {"api_version": 1, "__call__": call, **attributes})()


SHARED = Map(nn.Identity(), lambda t: t)
MASKERS: dict[str, tuple[Any, str]] = {
    "half precision": (masker(lambda t: t.half()), "works at logits"),
    "another shape": (masker(lambda t: t.flatten(1)), "keeps the shape of images and of logits"),
    "in place": (masker(lambda t: t.mul_(2)), "leaves the model and the tensors it gets as they were"),
    "batch mean": (masker(lambda t: t - t.mean(0)), "one row does not depend on the others"),
    "noise": (masker(lambda t: t + torch.rand_like(t)), "same input, same output, no global randomness"),
    "not finite": (masker(lambda t: t / 0), "works at input"),
    "shared": (
        type("Same", (), {"api_version": 1, "__call__": lambda self, part, /: SHARED})(),
        "two placements share nothing",
    ),
    "no module": (
        type("Raw", (), {"api_version": 1, "__call__": lambda self, part, /: torch.ceil})(),
        "same input, same output, no global randomness",
    ),
    "too far": (
        masker(lambda t: t + 0.2, displacement=lambda self: 0.1),
        "moves nothing farther than its displacement says",
    ),
    "absurd displacement": (
        masker(lambda t: t, displacement=lambda self: "little"),
        "moves nothing farther than its displacement says",
    ),
}


def test_a_sound_masker_passes_every_check() -> None:
    assert failures(masker_cases(Stairs())) == set()
    assert failures(masker_cases(masker(lambda t: t + 0.1, displacement=lambda self: 0.1))) == set()


@pytest.mark.parametrize("name", list(MASKERS))
def test_a_masker_that_does_wrong_fails_the_check_of_that_name(name: str) -> None:
    found, check = MASKERS[name]
    assert check in failures(masker_cases(found))


def gradient(change: Callable[[Subject, Tensor], Tensor]) -> Any:
    def call(self: Any, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        return lambda inputs: change(subject, inputs)

    return type("Mutant", (), {"api_version": 1, "__call__": call})()


class Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None


def _unfreeze(subject: Subject, inputs: Tensor) -> Tensor:
    next(subject.module.parameters()).requires_grad_(True)
    return subject(inputs)


GRADIENTS: dict[str, tuple[Any, str]] = {
    "other logits": (gradient(lambda s, x: s(x) + 1e-3), "the forward is the subject's own"),
    "twice the slope": (
        gradient(lambda s, x: Times.apply(s(x), torch.tensor(2.0))),
        "right on a linear model",
    ),
    "not finite": (
        gradient(lambda s, x: Times.apply(s(x), torch.tensor(torch.nan))),
        "gives finite gradients with and without a staircase",
    ),
    "random": (
        gradient(lambda s, x: Times.apply(s(x), torch.rand(1))),
        "same input, same gradient, no global randomness",
    ),
    "unfreezes": (gradient(_unfreeze), "the model is left as it was"),
    "single precision": (gradient(lambda s, x: s(x).float()), "keeps float64"),
}


def test_autograd_itself_passes_every_check() -> None:
    assert failures(gradient_cases(gradient(lambda subject, inputs: subject(inputs)))) == set()


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_a_gradient_source_that_does_wrong_fails_the_check_of_that_name(name: str) -> None:
    found, check = GRADIENTS[name]
    assert check in failures(gradient_cases(found))


class Models:
    """The linear problem under the reference "linear", changed by ``change``."""

    api_version: ClassVar[int] = 1
    change: ClassVar[dict[str, Any]] = {}

    def __call__(self, ref: str, /) -> LoadedModel:
        if ref != "linear":
            raise ValueError(f"there is no model {ref!r}; there is 'linear'")
        return replace(LoadedModel(linear().module, 3, SHAPE), **self.change)


def models(**change: Any) -> Any:
    return type("Mutant", (Models,), {"change": change})()


class Forgetful(Models):
    def __call__(self, ref: str, /) -> LoadedModel:
        return LoadedModel(nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), 3, SHAPE)


MODELS: dict[str, tuple[Any, str]] = {
    "one class": (models(classes=1), "describes its model"),
    "a list as shape": (models(input_shape=[1, 2, 3]), "describes its model"),
    "more classes": (models(classes=4), "its module maps inputs to finite logits"),
    "empty box": (models(bounds=(1.0, 1.0)), "its bounds are a box"),
    "a missing file": (models(files=("/no/such/file",)), "names files that exist"),
    "another model each time": (Forgetful(), "loads the same model twice"),
    "takes anything": (Forgetful(), "a reference that does not exist is a clear error"),
}


def test_a_sound_model_source_passes_every_check() -> None:
    assert failures(model_cases(Models(), "linear")) == set()


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_source_that_does_wrong_fails_the_check_of_that_name(name: str) -> None:
    found, check = MODELS[name]
    assert check in failures(model_cases(found, "linear"))


class Inputs:
    api_version: ClassVar[int] = 1
    change: ClassVar[dict[str, Any]] = {}

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        if ref != "all":
            raise ValueError(f"there are no inputs {ref!r}; there are 'all'")
        sound = LabelledInputs(linear().inputs, torch.tensor([0, 1, 2]), ("a", "b", "c"))
        return replace(sound, **self.change)


INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": (
        {"inputs": torch.zeros(3, 6)},
        "gives inputs of the model's shape inside its bounds",
    ),
    "bytes": (
        {"inputs": torch.zeros(3, *SHAPE, dtype=torch.uint8)},
        "gives inputs of the model's shape inside its bounds",
    ),
    "outside": (
        {"inputs": torch.full((3, *SHAPE), 255.0)},
        "gives inputs of the model's shape inside its bounds",
    ),
    "a label too many": (
        {"labels": torch.tensor([0, 1, 2, 0])},
        "gives one label an input, or none at all",
    ),
    "a class too high": ({"labels": torch.tensor([0, 1, 3])}, "gives one label an input, or none at all"),
    "a name too few": ({"names": ("a",)}, "gives one name an input, or none at all"),
}


def test_a_sound_input_source_passes_every_check() -> None:
    model = Models()("linear")
    assert failures(input_cases(Inputs(), "all", model)) == set()
    unlabelled = type("Unlabelled", (Inputs,), {"change": {"labels": None, "names": ()}})()
    assert failures(input_cases(unlabelled, "all", model)) == set()


@pytest.mark.parametrize("name", list(INPUTS))
def test_an_input_source_that_does_wrong_fails_the_check_of_that_name(name: str) -> None:
    change, check = INPUTS[name]
    found = type("Mutant", (Inputs,), {"change": change})()
    assert failures(input_cases(found, "all", Models()("linear"))) == {check}


INFO = CodeInfo("odd", "note", "an odd radius", "none", "-")


class Odd:
    """A note where a lower radius is above zero."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {"ODD": INFO}

    def __call__(self, facts: Facts, /) -> Any:
        if facts.judged.radius > 0:
            yield Finding("ODD", "note", f"the radius is {facts.judged.radius}")


def check(call: Callable[[Facts], Any]) -> Any:
    return type("Mutant", (Odd,), {"__call__": lambda self, facts, /: call(facts)})()


CLOCK = SimpleNamespace(now=0.0)


def _tick(facts: Facts) -> list[Finding]:
    CLOCK.now += 1
    return [Finding("ODD", "note", f"at {CLOCK.now}")]


def _spoil(facts: Facts) -> list[Finding]:
    facts.observed["seen"] = True  # type: ignore[index]
    return []


CHECKS: dict[str, tuple[Any, str]] = {
    "an undeclared code": (check(lambda facts: [Finding("NEW", "note", "x")]), "sound findings"),
    "no message": (check(lambda facts: [Finding("ODD", "note", " ")]), "sound findings"),
    "a bare refutation": (check(lambda facts: [Finding("ODD", "refuted", "x")]), "sound findings"),
    "a word": (check(lambda facts: ["ODD"]), "sound findings"),
    "needs evidence": (check(lambda facts: [facts.judged.evidence["lipschitz"]][:0]), "sound findings"),
    "a clock": (check(_tick), "same facts, same findings"),
    "writes": (check(_spoil), "same facts, same findings"),
    "the first sibling": (
        check(lambda facts: [Finding("ODD", "note", str(facts.others[:1]))]),
        "same facts, same findings",
    ),
}


def test_a_sound_check_passes_every_check() -> None:
    given = Facts("l2", linear_record(), (), {})
    assert failures(check_cases(Odd(), [given])) == set()


def linear_record() -> Any:
    from falsefloor.api import Record

    return Record("mine", "lower_bound", "autograd", 0.1)


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_check_that_does_wrong_fails_the_rule_of_that_name(name: str) -> None:
    found, rule = CHECKS[name]
    assert any(rule in failed for failed in failures(check_cases(found)))


def test_a_check_that_imports_torch_is_caught(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_check.py").write_text(
        "import torch\nclass Heavy:\n    api_version = 1\n    codes = {}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import heavy_check

    (case,) = [c for c in check_cases(heavy_check.Heavy()) if c.name == SLOW[0]]
    with pytest.raises(Exception, match="imports torch"):
        case()


@dataclass(frozen=True)
class Nameless:
    api_version: ClassVar[int] = 1

    def __call__(self, facts: Facts, /) -> list[Finding]:
        return []


def test_a_check_without_codes_breaks_the_contract() -> None:
    assert failures(check_cases(Nameless())) >= {"contract"}
