"""Where the attack is asked again: its bound is loose, or hardly above a floor that is held."""

from __future__ import annotations

import pytest

from falsefloor.checks.verdicts import Place
from falsefloor.plugins import catalogue
from falsefloor.study.file import study_from
from falsefloor.study.followups import Ceiling, Floor, Known, closer, follow_ups
from falsefloor.study.units import Unit, kind_of, series_of

INSTALLED = catalogue()
STUDY = study_from({"models": ["digits:mlp"], "inputs": "digits:0-9", "estimators": ["clever", "attack"]})
POINT = {"dtype": "float32", "data": "AAAAAA=="}


def near(number: int, *, floor: float | None = 0.03) -> Ceiling:
    return Ceiling(Place("digits:mlp", "none", "linf", "attack", number), 0.01 * (number + 1), floor, POINT)


def asked(*ceilings: Ceiling, done: frozenset[Place] = frozenset()) -> list[Unit]:
    series = series_of(STUDY, INSTALLED)
    return closer(Known(ceilings=ceilings, asked={"closer": done}), STUDY, series, INSTALLED)


def test_neighbours_are_asked_for_together_each_with_its_own_starts() -> None:
    first, second = asked(near(2, floor=0.029), near(3, floor=None), near(7))
    assert (first.inputs, second.inputs) == ((2, 4), (7, 8))
    told = first.spec()["extra"]["closer"]
    assert (told["use"], told["label"]) == ("attack", "attack")
    assert [point["distance"] for point in told["known"]] == pytest.approx([0.03, 0.04])
    # without a floor that is held, the shell is the known point's
    assert told["floor"] == pytest.approx([0.029, 0.04])
    assert kind_of(first.spec()) == "closer" and first.series is None


def test_it_is_asked_for_once_and_nothing_is_where_no_ceiling_is_near_a_floor() -> None:
    assert asked() == []
    assert asked(near(2), done=frozenset({near(2).place})) == []


def test_it_waits_for_what_may_change_which_floors_are_held() -> None:
    series = series_of(STUDY, INSTALLED)
    place = Place("digits:mlp", "none", "linf", "clever", 2)
    doubted = Floor(place, "autograd", None, "suspect", backward=1, masked=True)
    known = Known(floors=[doubted], ceilings=[near(2)])
    assert [kind_of(unit.spec()) for unit in follow_ups(known, STUDY, series, INSTALLED)] == ["estimate"]
