"""Which estimates are made again with a repaired gradient: a rule over stored verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from falsefloor.checks.verdicts import Place
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.records import EstimateResult, ObservationResult, UnitResult
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.followups import Floor, Known, asked_by, follow_ups, foreseen, recoveries
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, plan, series_of


class Installed:
    def params(self, kind: str, name: str, given: object, *, effort: str = "standard") -> dict[str, object]:
        return dict(given)  # type: ignore[call-overload]

    def claim(self, name: str) -> str:
        return "upper_bound" if name == "attack" else "lower_estimate"

    def origin(self, name: str) -> dict[str, str]:
        return {"dist": "falsefloor", "version": "0"}

    def is_own(self, kind: str, name: str) -> bool:
        return True


def study(**changes: object) -> Study:
    given = {
        "models": ["digits:mlp"],
        "inputs": "digits:0-3",
        "maskers": ["none", "staircase:c=255"],
        "estimators": ["clever", "attack"],
        "chunk": 2,
    }
    return study_from({**given, **changes})


def cells(given: Study) -> list[Series]:
    return series_of(given, Installed())


def asked(known: Known, given: Study) -> list[Unit]:
    return recoveries(known, given, cells(given), Installed())  # type: ignore[arg-type]


def floor(**changes: object) -> Floor:
    place = Place("digits:mlp", "staircase:c=255", "linf", "clever", 0)
    moved = {name: changes.pop(name) for name in Place._fields if name in changes}
    given = Floor(place._replace(**moved), "autograd", None, "refuted", backward=900, masked=True)  # type: ignore[arg-type]
    return given._replace(**changes)  # type: ignore[arg-type]


def test_a_refuted_floor_is_estimated_again_on_its_chunk_with_the_same_parameters() -> None:
    given = study(estimators=["clever:samples=7", "attack"])
    floors = [floor(label="clever:samples=7"), floor(label="clever:samples=7", input=1)]
    (unit,) = asked(Known(floors), given)
    spec = unit.spec()
    assert (unit.kind, unit.inputs, spec["seed"]) == ("follow-up", (0, 2), given.seed)
    assert spec["estimator"] == {"use": "clever", "params": {"samples": 7}, "gradient": "auto"}
    assert spec["recovers"] == "clever:samples=7"
    assert unit.series is not None
    assert unit.series.label == "clever:samples=7 (recovered)"


def test_exactly_the_doubted_inputs_are_estimated_again_whatever_the_chunk() -> None:
    doubted = {1, 2, 3, 6}
    for chunk in (1, 3, 32):
        given = study(inputs="digits:0-9", chunk=chunk)
        floors = [floor(input=n, verdict="suspect" if n in doubted else "held") for n in range(10)]
        units = asked(Known(floors), given)
        assert [n for unit in units for n in range(*unit.inputs)] == sorted(doubted)
        assert all(unit.inputs[1] - unit.inputs[0] <= chunk for unit in units)


def test_an_input_that_is_doubted_later_is_added_to_what_is_planned() -> None:
    known = Known([floor(), floor(input=1)], asked={"recover": {floor().place}})
    units = asked(known, study())
    assert [unit.inputs for unit in units] == [(1, 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "held"},
        {"verdict": "vacuous"},
        {"verdict": "unchecked"},
        {"gradient": "auto", "recovers": "clever", "label": "clever (recovered)"},
        {"gradient": "straight-through"},
        {"backward": 0},
        {"masked": False},
    ],
)
def test_what_is_not_doubted_for_an_autograd_that_is_hidden_is_left_alone(changes: dict[str, object]) -> None:
    assert asked(Known([floor(**changes)]), study()) == []


def test_off_asks_for_nothing_and_on_for_every_floor_that_followed_autograd() -> None:
    floors = [
        floor(masker="none", verdict="held"),
        floor(verdict="refuted"),
        floor(label="other", backward=0),
    ]
    off, on = study(recover="off"), study(recover="on")
    assert asked(Known(floors), off) == []
    assert [unit.stack.name for unit in asked(Known(floors), on)] == ["none", "staircase:c=255"]


def _stored(tmp_path: Path, **evidence: float | str) -> tuple[RunWriter, Study]:
    """The first chunk of the masked subject: observed, with a ceiling and a floor far above it."""
    given = study()
    series = cells(given)
    writer = RunWriter(tmp_path / "run.db", RunJudge(), durable=False)
    writer.add_series(series)
    writer.add_units(plan(given, series, {"digits:mlp": 4}))
    for unit, spec in writer.queued():
        if spec["chunk"] != [0, 2] or not spec["stack"]:
            continue
        if spec["kind"] == "observe":
            facts = {"gradients": {"autograd": []}, "misclassified": False}
            seen = [ObservationResult(n, True, facts) for n in range(2)]
            writer.store(unit, UnitResult("", observations=seen))
        else:
            use = spec["estimator"]["use"]
            backward = 100 if use == "clever" else 0
            said = (evidence or {"vanished_share": 1.0}) if use == "clever" else {}
            done = [EstimateResult(n, 1, 1, radius=0.3, evidence=said, backward=backward) for n in range(2)]
            writer.store(unit, UnitResult("", estimates=done))
    return writer, given


def test_the_rule_reads_what_is_stored_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    writer, given = _stored(tmp_path)
    units = asked(writer.known(), given)
    assert [(unit.stack.name, unit.inputs) for unit in units] == [("staircase:c=255", (0, 2))]
    writer.add_series([unit.series for unit in units if unit.series])
    writer.add_units(units)
    before = len(writer.queued())
    writer.add_units(asked(writer.known(), given))
    assert len(writer.queued()) == before
    writer.close()


def test_a_floor_that_is_doubted_with_nothing_that_hides_its_gradient_is_not_repaired(tmp_path: Path) -> None:
    writer, given = _stored(tmp_path, fit="max", lipschitz=1.0, gradient_norm_max=5.0)  # FF301
    clever = [one for one in writer.known().floors if one.place.label == "clever"]
    assert {(one.verdict, one.masked) for one in clever} == {("suspect", False)}
    assert asked(writer.known(), given) == []
    writer.close()


def test_how_a_repaired_gradient_agreed_is_stored_beside_what_autograd_was_seen_to_do(tmp_path: Path) -> None:
    writer, given = _stored(tmp_path)
    units = asked(writer.known(), given)
    writer.add_series([unit.series for unit in units if unit.series])
    writer.add_units(units)
    id_ = next(id_ for id_, spec in writer.queued() if spec["kind"] == "follow-up")
    rows = [{"radius": 0.1, "steps": [{"h": 0.1, "ratio": 3.0, "correlation": 1.0}]}]
    seen = [ObservationResult(0, None, {"gradients": {"auto": rows}})]
    done = [EstimateResult(n, 1, 1, radius=0.1, evidence={"sampling_radius": 0.1}) for n in range(2)]
    writer.store(id_, UnitResult("", estimates=done, observations=seen))
    again = {(f.place.input, f.verdict) for f in writer.known().floors if f.recovers}
    assert (0, "suspect") in again  # three times what the function does: FF102 is asked of the repair as well
    assert (1, "suspect") not in again
    writer.close()


def test_what_is_sure_from_the_beginning_are_the_units_that_the_rules_will_ask_for() -> None:
    given = study(recover="on", trap=True)
    judged = {"digits:mlp": [0, 2, 3]}
    sure = foreseen(given, cells(given), judged, Installed())  # type: ignore[arg-type]
    floors = [
        floor(masker=masker, verdict="held", input=number)
        for masker in ("none", "staircase:c=255")
        for number in judged["digits:mlp"]
    ]
    first = {Place("digits:mlp", masker, "linf"): 0 for masker in ("none", "staircase:c=255")}
    later = follow_ups(Known(floors, first=first), given, cells(given), Installed())  # type: ignore[arg-type]
    assert [unit.key for unit in sure] == [unit.key for unit in later]
    assert [asked_by(unit.spec()) for unit in sure] == [
        *[("recover", "clever")] * 4,
        *[("trap", "clever"), ("trap", "attack")] * 2,
    ]


def test_what_a_doubt_would_ask_for_is_not_sure_nor_is_anything_where_nothing_is_judged() -> None:
    given = study(recover="suspect")
    assert foreseen(given, cells(given), {"digits:mlp": [0, 1]}, Installed()) == []  # type: ignore[arg-type]
    given = study(recover="on", trap=True)
    assert foreseen(given, cells(given), {"digits:mlp": []}, Installed()) == []  # type: ignore[arg-type]
