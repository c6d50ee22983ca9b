from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from falsefloor.api import Scalar
from falsefloor.errors import UsageError
from falsefloor.study.file import study_from
from falsefloor.study.units import Unit, estimator_of, kind_of, plan, series_of


class Plugins:
    """Knows two estimators; fills one default."""

    def params(
        self, kind: str, name: str, given: Mapping[str, Scalar], *, effort: str = "standard"
    ) -> dict[str, Scalar]:
        return {"batches": 50, **given} if name == "clever" else dict(given)

    def is_own(self, kind: str, name: str) -> bool:
        return True

    def claim(self, name: str) -> str:
        return "upper_bound" if name == "attack" else "lower_estimate"

    def origin(self, name: str) -> dict[str, str]:
        return {"dist": "falsefloor", "version": "0"}


def units(**changes: object) -> list:
    data = {
        "models": ["a:b"],
        "maskers": ["none", "staircase"],
        "estimators": ["clever", "attack"],
        **changes,
    }
    study = study_from(data)
    return list(plan(study, series_of(study, Plugins()), {"a:b": 5}))


def test_a_subject_is_observed_first_and_its_ceiling_comes_before_its_floor() -> None:
    assert [(u.stack.name, u.series.label if u.series else u.kind) for u in units()] == [
        ("none", "observe"),
        ("none", "attack"),
        ("none", "clever"),
        ("staircase", "observe"),
        ("staircase", "attack"),
        ("staircase", "clever"),
    ]


@pytest.mark.parametrize("what", ["trap", "resample"])
def test_a_follow_up_is_of_the_kind_that_it_asks_for_and_runs_the_estimator_named_there(what: str) -> None:
    one = units()[1]
    asked = {"label": "clever", "use": "clever", "params": {}, "gradient": "autograd"}
    spec = Unit("follow-up", one.model, one.stack, one.norm, "", (0, 1), 0, extra={what: asked}).spec()
    assert (kind_of(spec), estimator_of(spec)) == (what, asked)


def test_an_estimate_that_is_made_again_through_a_repaired_gradient_is_an_estimate() -> None:
    observed, estimated, *_ = units()
    again = replace(estimated, kind="follow-up", series=replace(estimated.series, recovers="attack"))
    assert [kind_of(u.spec()) for u in (observed, estimated, again)] == ["observe", "estimate", "estimate"]
    assert (estimator_of(observed.spec()), estimator_of(again.spec())["use"]) == (None, "attack")


def test_a_default_that_is_spelt_out_gives_the_same_key() -> None:
    spelt = units(estimators=["clever:batches=50", "attack"])
    assert [u.key for u in units()] == [u.key for u in spelt]


@pytest.mark.parametrize("change", [{"seed": 1}, {"norms": ["l2"]}, {"inputs": "x:y"}, {"models": ["a:c"]}])
def test_what_decides_the_result_changes_every_key(change: dict[str, object]) -> None:
    assert not {u.key for u in units()} & {u.key for u in units(**change)} or "models" in change
    if "models" in change:
        study = study_from({"models": ["a:c"], "maskers": ["none"], "estimators": ["clever"]})
        other = {u.key for u in plan(study, series_of(study, Plugins()), {"a:c": 5})}
        assert not other & {u.key for u in units()}


def test_labels_do_not_change_keys() -> None:
    labelled = units(estimators=[{"use": "clever", "label": "mine"}, {"use": "attack"}])
    assert [u.key for u in labelled] == [u.key for u in units()]


def test_chunks_cover_every_input_once() -> None:
    estimates = [
        u for u in units(chunk=2) if u.series and u.series.label == "attack" and u.stack.name == "none"
    ]
    assert [u.inputs for u in estimates] == [(0, 2), (2, 4), (4, 5)]


def test_two_names_for_the_same_work_are_refused() -> None:
    with pytest.raises(UsageError, match="the same once defaults are filled in"):
        units(estimators=["clever", "clever:batches=50"])


def test_a_ceiling_is_added_unasked_and_only_where_none_was_asked_for() -> None:
    def asked(estimators: list[str], **more: object) -> list[tuple[str, bool]]:
        study = study_from({"models": ["a:b"], "estimators": estimators, **more})
        return [(one.label, one.asked) for one in series_of(study, Plugins())]

    assert asked(["clever"]) == [("clever", True), ("attack", False)]
    assert asked(["clever", "attack"]) == [("clever", True), ("attack", True)]
    assert asked(["clever"], ceiling=False) == [("clever", True)]


def test_who_asked_for_a_ceiling_does_not_change_its_key() -> None:
    assert [u.key for u in units(estimators=["clever"])] == [u.key for u in units()]
