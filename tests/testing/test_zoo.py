"""Twenty-odd liars and as many honest plugins: the kits tell them apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo_honest
import zoo_liars
import zoo_strangers

from falsefloor.testing.common import Result, run_cases
from falsefloor.testing.kits import KITS

SLOW = "importing it is silent"  # starts an interpreter that imports torch
SURVIVORS = frozenset({"AboutAnother"})
"""Liars that are known to pass, of which one in twenty may be: nobody knows the function that it is about."""
LIARS = (*zoo_liars.ESTIMATORS, *zoo_strangers.ESTIMATORS)
OTHER_LIARS = (*zoo_liars.OTHERS, *zoo_strangers.OTHERS)


def results(kind: str, plugin: Any, *args: Any) -> list[Result]:
    cases = [case for case in KITS[kind](plugin, *args) if case.name != SLOW]
    return run_cases(cases, expected_failures=None, raises=False, name=type(plugin).__name__)


@pytest.fixture(autouse=True)
def everything_as_it_was() -> Iterator[None]:
    from falsefloor.testing.problems import Watched

    before = Watched.forward
    yield
    torch.set_grad_enabled(True)
    Watched.forward = before  # type: ignore[method-assign]
    if hasattr(Watched, "_patched"):
        del Watched._patched


def wrong(found: list[Result]) -> list[str]:
    return [f"{one.name}: {one.message}" for one in found if not one.ok]


def named(plugin: Any) -> str:
    return type(plugin).__name__


@pytest.mark.slow
@pytest.mark.parametrize("liar", LIARS, ids=named)
def test_a_lying_estimator_does_not_pass(liar: Any) -> None:
    assert bool(wrong(results("estimator", liar))) != (named(liar) in SURVIVORS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "liar", "args"), OTHER_LIARS, ids=lambda v: str(type(v).__name__))
def test_a_liar_of_another_kind_does_not_pass(kind: str, liar: Any, args: tuple[Any, ...]) -> None:
    assert wrong(results(kind, liar, *args))


@pytest.mark.slow
@pytest.mark.parametrize("honest", zoo_honest.ESTIMATORS, ids=named)
def test_an_honest_estimator_passes(honest: Any) -> None:
    assert wrong(results("estimator", honest)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "honest"), zoo_honest.OTHERS, ids=lambda v: str(type(v).__name__))
def test_an_honest_plugin_of_another_kind_passes(kind: str, honest: Any) -> None:
    assert wrong(results(kind, honest)) == []


@pytest.mark.slow
def test_honest_readers_pass(tmp_path: Path) -> None:
    numbers, points = tmp_path / "weights.txt", tmp_path / "points.txt"
    numbers.write_text("1 0 0 -1 0 0 0.1 0")
    points.write_text("0.1 0.2 0.3\n0.9 0.2 0.3\n")
    source = zoo_honest.FileModel()
    assert wrong(results("model", source, str(numbers))) == []
    assert wrong(results("input", zoo_honest.FileInputs(), str(points), source(str(numbers)))) == []


def test_there_are_enough_of_both() -> None:
    assert len(LIARS) + len(OTHER_LIARS) >= 20 * max(1, len(SURVIVORS))
    assert len(zoo_honest.ESTIMATORS) + len(zoo_honest.OTHERS) + 2 >= 12
