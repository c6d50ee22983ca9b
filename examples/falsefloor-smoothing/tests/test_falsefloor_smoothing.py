"""Smoothing keeps the contract, bounds shares as it should, and stays below what is known."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from falsefloor_smoothing.certify import Smoothing, lower_share

from falsefloor.testing import parametrize_with_checks


@parametrize_with_checks("estimator", [Smoothing(sigma=0.05, copies=200, guess=20)])
def test_it_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["falsefloor.estimators"]
    assert EntryPoint("smoothing", points["smoothing"], "falsefloor.estimators").load() is Smoothing


def test_a_share_that_was_always_hit_is_bounded_by_the_root_of_alpha() -> None:
    assert lower_share(100, 100, 0.001) == pytest.approx(0.001 ** (1 / 100))


def test_a_share_is_bounded_from_below_and_nothing_by_0() -> None:
    assert lower_share(0, 100, 0.001) == 0.0
    assert 0.38 < lower_share(60, 100, 0.001) < 0.5
    assert lower_share(99_000, 100_000, 0.001) == pytest.approx(0.99, abs=2e-3)


def test_the_function_is_named_with_its_noise() -> None:
    assert "0.25" in Smoothing(sigma=0.25).describe_subject()
    assert math.isclose(1 - Smoothing().alpha, 0.999)
