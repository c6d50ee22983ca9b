"""A ramp met by luck: the same estimator with four times the samples, and what the warnings then say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from falsefloor.engine.followups import resampled_facts
from falsefloor.engine.session import Session, Task
from falsefloor.engine.unit import run_unit
from falsefloor.plugins import catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.records import EstimateResult
from falsefloor.store.reuse import Stored
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.inprocess import InProcess

DELTA = 0.01
RAMP = f"ramp:c=64,delta={DELTA}"
STUDY = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-1",
    "maskers": ["none", RAMP],
    # 200 points in 64 dimensions: N·D·δ = 128
    "estimators": ["clever:batches=10,samples=20,radius=0.3,box=false,directed=false"],
    "ceiling": False,
    "recover": "off",
}


def drive(run: RunDir, *, follow: bool = True, **changes: Any) -> None:
    """Compute what is missing of the study in this process, as a worker would."""
    study, installed = study_from({**STUDY, **changes}), catalogue()
    with RunJudge() as judge:
        writer = RunWriter(run.db, judge, durable=False)
        writer.set_meta(id="test", in_process=True, study=study.to_json())
        executor = InProcess(Session(), run_unit, lambda moved: None)
        rules = installed if follow else None
        writer.finish(Drive(writer, study, series_of(study, installed), executor, installed=rules).run())
        writer.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = RunDir(tmp_path_factory.mktemp("run"))
    drive(made)
    return made


def read(run: RunDir, masker: str = RAMP) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Estimates and observed facts of one subject, input by input."""
    with RunReader(run) as reader:
        found = [e for e in reader.estimates() if e["masker"] == masker]
        return found, [o["facts"] for o in reader.observations(masker=masker)]


def spiky(estimate: dict[str, Any]) -> dict[str, Any]:
    return next(w for w in estimate["warnings"] if w["code"] == "FF104")


def test_the_warning_estimates_the_ramp_and_says_what_became_of_the_score(run: RunDir) -> None:
    estimates, facts = read(run)
    assert len(estimates) == 2
    for estimate, seen in zip(estimates, facts, strict=True):
        (more,) = seen["resampled"].values()
        warning = spiky(estimate)
        told = warning["evidence"]
        assert warning["severity"] == "suspect"
        assert told["delta"] == pytest.approx(DELTA, rel=0.25)
        assert told["n_d_delta"] == pytest.approx(200 * 64 * DELTA, rel=0.25)
        assert (told["samples"], told["dimension"], told["times"]) == (200, 64, 4)
        assert "N*D*delta is about 1" in warning["message"] and "above 1" in warning["message"]
        assert told["resampled_radius"] == more["radius"]
        assert told["resampled_change"] == pytest.approx(more["radius"] / estimate["radius"] - 1)
        moved = f"{'falls' if told['resampled_change'] < 0 else 'rises'} from {estimate['radius']:.4g} to"
        assert f"{moved} {more['radius']:.4g}" in warning["message"]
        assert told["resampled_largest"] == more["gradient_norm_max"] > 10 * told["median"]


def test_the_unmasked_model_is_asked_nothing(run: RunDir) -> None:
    estimates, facts = read(run, "none")
    assert not any("resampled" in seen for seen in facts)
    assert all(e["verdict"] == "unchecked" for e in estimates)


def test_its_cost_is_its_units_own(run: RunDir) -> None:
    estimates, facts = read(run)
    with RunReader(run) as reader:
        units = {(u["kind"], u["masker"]): u for u in reader.units()}
    again = units["follow-up", RAMP]
    assert again["backward"] == 4 * sum(e["queries"]["backward"] for e in estimates)
    assert again["backward"] == sum(m["backward"] for seen in facts for m in seen["resampled"].values())
    observed = sum(seen["queries"]["forward"] for seen in facts)
    assert units["observe", RAMP]["forward"] == pytest.approx(observed, rel=0.1)
    assert set(units) == {(k, m) for k in ("observe", "estimate") for m in ("none", RAMP)} | {
        ("follow-up", RAMP)
    }


def test_a_resumed_run_does_not_do_it_twice(run: RunDir, tmp_path: Path) -> None:
    resumed = RunDir(tmp_path)
    drive(resumed, follow=False)
    before, facts = read(resumed)
    assert not any("resampled" in seen for seen in facts)
    assert not any("delta" in spiky(e)["evidence"] for e in before), "without the facts the rule still speaks"
    drive(resumed)
    with RunReader(resumed) as reader:
        units = [(u["key"], u["finished"]) for u in reader.units()]
    drive(resumed)
    with RunReader(resumed) as reader:
        assert [(u["key"], u["finished"]) for u in reader.units()] == units
    assert [spiky(e) for e in read(resumed)[0]] == [spiky(e) for e in read(run)[0]]


def test_the_chunk_changes_nothing(run: RunDir, tmp_path: Path) -> None:
    other = RunDir(tmp_path)
    drive(other, chunk=1)
    assert [f["resampled"] for f in read(other)[1]] == [f["resampled"] for f in read(run)[1]]
    assert [spiky(e)["evidence"] for e in read(other)[0]] == [spiky(e)["evidence"] for e in read(run)[0]]


def test_another_run_does_not_take_over_what_was_found_of_this_ones_estimators(run: RunDir) -> None:
    with RunReader(run) as reader:
        key = next(u["key"] for u in reader.units() if u["kind"] == "observe" and u["masker"] == RAMP)
    stored = Stored(run)
    assert not any("resampled" in seen.facts for seen in stored.result(key).observations)
    stored.close()


def test_an_estimator_that_fails_with_more_samples_leaves_a_reason() -> None:
    session = Session()
    spec = {
        "kind": "follow-up",
        "extra": {"resample": {"label": "clever", "params": {"samples": 80}, "times": 4}},
    }
    prepared = session.prepared({"use": "digits:mlp"}, "digits:0")
    task = Task(spec, prepared, session.subject({"use": "digits:mlp"}, "digits:0", []), range(1))
    (seen,) = resampled_facts(task, [EstimateResult(0, status="failed", error="no room")])
    assert seen.facts == {"resampled": {"clever": {"reason": "failed: no room"}}}
