"""What we ship passes the kits that we ask others to pass."""

from __future__ import annotations

import pytest

from falsefloor.models.digits import DigitsInputs, DigitsModel
from falsefloor.plugins import discover
from falsefloor.plugins.loading import make
from falsefloor.testing import check_estimator
from falsefloor.testing.checks import check_cases
from falsefloor.testing.common import Case, run_cases
from falsefloor.testing.gradients import gradient_cases
from falsefloor.testing.maskers import masker_cases
from falsefloor.testing.sources import input_cases, model_cases

SLOW = (
    "importing it is silent",  # each starts an interpreter that imports torch
    "the same in another process, on another day",
    "loads the same model in another process, on another day",
)


def names(kind: str) -> list[str]:
    return [plugin.name for plugin in discover() if plugin.own and plugin.kind == kind]


def conforms(cases: list[Case]) -> None:
    kept = [case for case in cases if case.name not in SLOW]
    run_cases(kept, expected_failures=None, raises=True, name="it")


@pytest.mark.parametrize("name", names("masker"))
def test_our_masker_conforms(name: str) -> None:
    conforms(masker_cases(make("masker", name)))


@pytest.mark.parametrize("name", names("gradient"))
def test_our_gradient_source_conforms(name: str) -> None:
    conforms(gradient_cases(make("gradient", name)))


@pytest.mark.parametrize("name", names("check"))
def test_our_check_conforms(name: str) -> None:
    conforms(check_cases(make("check", name)))


def test_the_embedded_models_and_inputs_conform() -> None:
    conforms(model_cases(DigitsModel(), "mlp"))
    conforms(input_cases(DigitsInputs(), "0-9", DigitsModel()("mlp")))


@pytest.mark.slow
@pytest.mark.parametrize("name", names("estimator"))
def test_our_estimator_conforms(name: str) -> None:
    check_estimator(make("estimator", name))
