"""Which estimates a study makes again with four times the samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from falsefloor.checks.verdicts import Place
from falsefloor.plugins import Catalogue, catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.records import EstimateResult, ObservationResult, UnitResult
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.followups import Known, follow_ups, recovered, resamples
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, plan, series_of

INSTALLED = catalogue()
RAMP = "ramp:c=64,delta=0.01"
BASE = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-9",
    "maskers": ["none", RAMP],
    "estimators": ["clever", "finite-difference", "attack"],
    "ceiling": False,
}


class Permissive(Catalogue):
    """Every estimator takes every parameter."""

    def accepts(self, estimator: str, params: Any) -> bool:
        return True


def place(number: int = 3, label: str = "clever", masker: str = RAMP) -> Place:
    return Place("digits:mlp", masker, "linf", label, number)


def cells(**changes: Any) -> tuple[Study, list[Series]]:
    study = study_from({**BASE, **changes})
    return study, series_of(study, INSTALLED)


def asked(*fired: Place, done: Any = (), **changes: Any) -> list[Unit]:
    study, series = cells(**changes)
    return resamples(Known(fired=fired, asked={"resample": done}), study, series, INSTALLED)


def test_what_fired_is_estimated_again_with_four_times_its_own_samples() -> None:
    (unit,) = asked(place(label="mine"), estimators=[{"use": "clever", "label": "mine", "samples": 7}])
    spec = unit.spec()
    (first,) = cells(estimators=[{"use": "clever", "label": "mine", "samples": 7}], maskers=[RAMP])[1]
    assert (unit.kind, unit.stack.name, unit.inputs, spec["seed"]) == ("follow-up", RAMP, (3, 4), 0)
    assert spec["extra"]["resample"] == {
        "label": "mine",
        "use": "clever",
        "params": {**first.params, "samples": 28},
        "gradient": "autograd",
        "times": 4,
    }
    assert unit.series is None, "the table has no row of it"


def test_where_nothing_fired_nothing_is_asked_for() -> None:
    assert asked() == []


def test_exactly_what_fired_is_asked_for_whatever_the_chunk() -> None:
    fired = [place(n) for n in (1, 2, 3, 6)] + [place(0, "finite-difference", "none")]
    for chunk in (1, 3, 32):
        units = asked(*fired, chunk=chunk)
        found = [
            place(n, u.spec()["extra"]["resample"]["label"], u.stack.name)
            for u in units
            for n in range(*u.inputs)
        ]
        assert sorted(found) == sorted(fired)
        assert all(u.inputs[1] - u.inputs[0] <= chunk for u in units)


def test_what_is_planned_is_not_asked_for_again() -> None:
    units = asked(place(3), place(4), done={place(3)})
    assert [unit.inputs for unit in units] == [(4, 5)]
    assert asked(place(3), done={place(3)}) == []


def test_a_repaired_estimate_is_made_again_through_its_repaired_gradient() -> None:
    (repaired,) = [recovered(one) for one in cells(estimators=["clever"], maskers=[RAMP])[1]]
    (unit,) = asked(place(label=repaired.label), estimators=["clever"], maskers=[RAMP])
    told = unit.spec()["extra"]["resample"]
    assert (told["label"], told["gradient"], told["params"]["samples"]) == ("clever (recovered)", "auto", 80)
    by_hand = {"use": "clever", "label": "by hand", "gradient": "auto"}
    (unit,) = asked(place(label="by hand"), estimators=[by_hand])
    assert unit.spec()["extra"]["resample"]["gradient"] == "auto"


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"samples": 5}, 20),
        ({"samples": 5, "batches": 2}, 20),
        ({}, None),
        ({"samples": "auto"}, None),
        ({"samples": True}, None),
        ({"samples": 2.5}, None),
        ({"samples": 0}, None),
    ],
)
def test_a_strangers_estimator_takes_part_by_its_whole_number_of_samples(
    params: dict[str, Any], wanted: int | None
) -> None:
    study, series = cells(estimators=["clever"], maskers=[RAMP])
    estimator = replace(series[0].estimator, use="theirs", label="theirs")
    theirs = replace(series[0], estimator=estimator, params=params)
    units = resamples(Known(fired=[place(label="theirs")]), study, [theirs], Permissive((), ()))
    assert [unit.spec()["extra"]["resample"]["params"]["samples"] for unit in units] == (
        [] if wanted is None else [wanted]
    )


def test_more_samples_than_the_estimator_allows_are_not_asked_for() -> None:
    assert asked(place(label="clever:samples=250000"), estimators=["clever:samples=250000"])
    assert asked(place(label="clever:samples=250001"), estimators=["clever:samples=250001"]) == []


SPIKY = {"gradient_norm_median": 1.0, "gradient_norm_max": 50.0}
CALM = {"gradient_norm_median": 1.0, "gradient_norm_max": 2.0}
GROWN = {"maximum_half": 1.0, "maximum": 2.0, "lipschitz": 2.0}


def stored(path: Path, **found: dict[str, float]) -> tuple[RunWriter, Study, list[Series]]:
    """Estimates of one input behind a ramp, observed unless ``unseen`` is among the labels."""
    named = [{"use": "clever", "label": label, "batches": 50 + n} for n, label in enumerate(found)]
    study, series = cells(estimators=named, maskers=[RAMP], ceiling=False)
    writer = RunWriter(path / "run.db", RunJudge(), durable=False)
    writer.add_series(series)
    writer.add_units(plan(study, series, {"digits:mlp": 1}))
    for unit, spec in writer.queued():
        if spec["kind"] == "observe":
            if "unseen" not in found:
                writer.store(unit, UnitResult("", observations=[ObservationResult(0, True, {})]))
        else:
            label = list(found)[spec["estimator"]["params"]["batches"] - 50]
            done = EstimateResult(0, 1, 1, radius=0.1, evidence=found[label], backward=9)
            writer.store(unit, UnitResult("", estimates=[done]))
    return writer, study, series


def test_the_rule_reads_the_warnings_that_are_stored_and_plans_once(tmp_path: Path) -> None:
    writer, study, series = stored(tmp_path, spiky=SPIKY, calm=CALM, grown=GROWN)
    assert writer.known().fired == [place(0, "spiky"), place(0, "grown")]
    for expected in (2, 0):
        units = resamples(writer.known(), study, series, INSTALLED)
        assert len(units) == expected
        writer.add_units(units)
    assert writer.known().asked == {"resample": {place(0, "spiky"), place(0, "grown")}}
    writer.close()


def test_a_subject_that_was_not_observed_has_no_place_for_the_facts(tmp_path: Path) -> None:
    writer, _, _ = stored(tmp_path, unseen=SPIKY)
    assert writer.known().fired == []
    writer.close()


@pytest.mark.parametrize(
    ("radius", "verdict", "repaired"), [(0.1, "unchecked", []), (0.05, "suspect", ["spiky (recovered)"])]
)
def test_a_repair_is_asked_for_only_where_more_samples_leave_the_doubt(
    tmp_path: Path, radius: float, verdict: str, repaired: list[str]
) -> None:
    writer, study, series = stored(tmp_path, spiky=SPIKY)
    (unit,) = follow_ups(writer.known(), study, series, INSTALLED)
    assert [floor.verdict for floor in writer.known().floors] == ["suspect"]
    assert "resample" in unit.spec()["extra"]
    writer.add_units([unit])
    facts = {"times": 4, "samples": 1000, "dimension": 64, "radius": radius}
    seen = [ObservationResult(0, None, {"resampled": {"spiky": facts}})]
    writer.store(writer.queued()[-1][0], UnitResult("", observations=seen))
    assert [floor.verdict for floor in writer.known().floors] == [verdict], "judged again; no ceiling ran"
    more = follow_ups(writer.known(), study, series, INSTALLED)
    assert [unit.series.label for unit in more if unit.series] == repaired
    writer.close()


def test_a_maximum_that_grew_hides_no_gradient_and_asks_for_no_repair(tmp_path: Path) -> None:
    writer, study, series = stored(tmp_path, grown=GROWN)
    (unit,) = follow_ups(writer.known(), study, series, INSTALLED)
    writer.add_units([unit])
    facts = {"times": 4, "samples": 1000, "dimension": 64, "radius": 0.05}
    seen = [ObservationResult(0, None, {"resampled": {"grown": facts}})]
    writer.store(writer.queued()[-1][0], UnitResult("", observations=seen))
    assert [floor.verdict for floor in writer.known().floors] == ["suspect"]
    assert follow_ups(writer.known(), study, series, INSTALLED) == []
    writer.close()
