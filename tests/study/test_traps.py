"""Which traps a study asks for."""

from __future__ import annotations

from typing import Any

from falsefloor.checks.verdicts import Place
from falsefloor.plugins import Catalogue, catalogue
from falsefloor.study.file import study_from
from falsefloor.study.followups import Known, recovered, traps
from falsefloor.study.units import Series, Unit, series_of

INSTALLED = catalogue()
BASE = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-9",
    "maskers": ["none", "staircase:c=255"],
    "estimators": ["clever", "attack"],
    "trap": True,
}
FIRST = {Place("digits:mlp", "none", "linf"): 0, Place("digits:mlp", "staircase:c=255", "linf"): 3}


class Strange(Catalogue):
    """Where the staircase is somebody else's."""

    def is_own(self, kind: str, name: str) -> bool:
        return name != "staircase"


def asked(*, installed: Catalogue = INSTALLED, repaired: bool = False, **changes: Any) -> list[Unit]:
    study = study_from({**BASE, **changes})
    series: list[Series] = series_of(study, INSTALLED)
    if repaired:
        series = [recovered(one) for one in series]
    return traps(Known(first=FIRST), study, series, installed)


def test_each_estimator_is_trapped_once_on_each_subject_at_its_first_judged_input() -> None:
    found = [(unit.stack.name, unit.inputs, unit.spec()["extra"]["trap"]["use"]) for unit in asked()]
    assert found == [
        ("none", (0, 1), "clever"),
        ("none", (0, 1), "attack"),
        ("staircase:c=255", (3, 4), "clever"),
        ("staircase:c=255", (3, 4), "attack"),
    ]


def test_a_study_without_traps_asks_for_none() -> None:
    assert asked(trap=False) == []


def test_the_chunk_does_not_decide_what_is_trapped() -> None:
    assert [unit.key for unit in asked(chunk=1)] == [unit.key for unit in asked(chunk=32)]


def test_strangers_maskers_are_not_trapped_behind() -> None:
    found = asked(installed=Strange(INSTALLED.plugins, INSTALLED.installed))
    assert {unit.stack.name for unit in found} == {"none"}


def test_a_repaired_estimate_is_not_trapped() -> None:
    assert asked(repaired=True) == []


def test_a_trap_belongs_to_no_series() -> None:
    assert all(unit.series is None and "estimator" not in unit.spec() for unit in asked())
