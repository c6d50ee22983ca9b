"""A forecast: what a study will cost, and what brings it down."""

from __future__ import annotations

from typing import Any

import pytest

from falsefloor.plugins import catalogue
from falsefloor.study.file import study_from
from falsefloor.study.forecast import cheaper, forecast
from falsefloor.study.study import Study
from falsefloor.study.units import series_of

PACE = {"call": 1e-4, "forward": 1e-5, "backward": 2e-5, "op": 1e-6, "element": 1e-10}


def facts(**given: Any) -> dict[str, Any]:
    return {"count": 10, "classes": 10, "shape": [8, 8], "pace": PACE} | given


def study(**given: Any) -> Study:
    return study_from({"models": ["digits:mlp"], **given})


def seconds(of: Study, **given: Any) -> float:
    name = of.models[0].name
    return forecast(of, series_of(of, catalogue()), {name: facts(**given)}).seconds


def test_a_slower_model_more_inputs_norms_and_maskers_cost_in_proportion() -> None:
    once = seconds(study())
    assert once > 0
    assert seconds(study(), pace={name: 10 * value for name, value in PACE.items()}) == pytest.approx(
        10 * once
    )
    twice = study(maskers=["none", "staircase:c=255"], estimators=["clever"], ceiling=False)
    bare = study(estimators=["clever"], ceiling=False)
    assert seconds(twice) == pytest.approx(2 * seconds(bare))
    assert seconds(study(estimators=["clever"], ceiling=False), count=40) == pytest.approx(
        4 * seconds(study(estimators=["clever"], ceiling=False)), rel=0.01
    )


def test_what_an_estimator_is_asked_for_is_what_it_costs() -> None:
    assert seconds(study(estimators=["clever:batches=500"])) > 5 * seconds(study(estimators=["clever"]))
    assert seconds(study(estimators=["clever:targets=2"])) < seconds(study(estimators=["clever"]))


def test_an_attack_behind_a_masker_goes_through_its_repair_too() -> None:
    bare, masked = (study(estimators=["attack"], maskers=[one]) for one in ("none", "staircase:c=255"))
    assert 1.1 * seconds(bare) < seconds(masked) < 2 * seconds(bare)


def test_another_effort_is_another_cost_and_what_is_set_stays() -> None:
    quick, standard, thorough = (seconds(study(effort=e)) for e in ("quick", "standard", "thorough"))
    assert quick < standard / 2 and thorough > 20 * standard
    set_by_hand = series_of(study(effort="quick", estimators=["clever:batches=77"]), catalogue())
    assert dict(set_by_hand[0].params) | {"batches": 77, "samples": 5} == dict(set_by_hand[0].params)


def test_with_a_thousand_classes_fewer_targets_are_named_as_the_cheaper_way() -> None:
    asked, name = study(), "digits:mlp"
    models = {name: facts(classes=1000)}
    than = forecast(asked, series_of(asked, catalogue()), models).seconds
    found = cheaper(asked, models, catalogue(), than=than)
    assert set(found) == {"--effort quick", "--estimator clever:targets=5"}
    assert all(took < than for took in found.values())


def test_nothing_is_said_of_what_is_not_known() -> None:
    asked = study(estimators=["milp", "clever"], ceiling=False)
    series = series_of(asked, catalogue())
    assert list(forecast(asked, series, {"digits:mlp": facts()}).unknown) == ["milp"]
    assert forecast(asked, series, {"digits:mlp": facts(pace={})}).seconds == 0


def test_what_is_stored_grows_with_inputs_their_size_maskers_and_norms() -> None:
    def room(of: Study, **given: Any) -> float:
        name = of.models[0].name
        return forecast(of, series_of(of, catalogue()), {name: facts(**given)}).room

    once = room(study(), shape=[3, 224, 224], count=1)
    assert once == pytest.approx(9.634e6, rel=0.01), "what a run of EfficientNet on one photograph stored"
    assert room(study(norms=["linf", "l2"], maskers=["none", "staircase:c=255"]), count=20) == pytest.approx(
        80 * room(study(), count=1)
    )
    assert room(study(), pace={}) > 0, "whatever the pace"
