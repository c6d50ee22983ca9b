"""A run's total is known from its beginning, and says at every moment what became of each unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.plugins import catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.files import damage
from falsefloor.store.reader import RunReader
from falsefloor.store.records import UnitResult
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import RunInfo
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.followups import asked_by
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.inprocess import InProcess

STUDY = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-2",
    "maskers": ["none", "staircase:c=255"],
    "estimators": ["clever:batches=4,samples=8,radius=0.3", "attack:steps=5,restarts=1,rounds=0"],
    "trap": True,
    "recover": "on",
}


def broken_attack(spec: Mapping[str, Any], session: Session, sink: Any) -> UnitResult:
    """Every unit as it is, but that attacks fail."""
    if spec["kind"] == "estimate" and spec["estimator"]["use"] == "attack":
        return UnitResult("", "failed", "it broke")
    return run_unit(spec, session, sink)


def computed(
    run: RunDir, *, cancel_after: int | None = None, unit: Any = run_unit, **changes: Any
) -> list[RunInfo]:
    """Compute a study in this process; the run's head before every unit, and at the end."""
    study, installed = study_from({**STUDY, **changes}), catalogue()
    seen: list[RunInfo] = []

    def commands() -> list[str]:
        with RunReader(run) as reader:
            info = reader.info()
        if info.units_total:
            seen.append(info)
        return ["cancel"] if cancel_after is not None and info.units_done >= cancel_after else []

    with RunJudge() as judge:
        writer = RunWriter(run.db, judge, durable=False)
        writer.set_meta(id="test", in_process=True, study=study.to_json())
        executor = InProcess(Session(), unit, lambda moved: None)
        drive = Drive(writer, study, series_of(study, installed), executor, commands, installed)
        writer.finish(drive.run())
        writer.close()
    with RunReader(run) as reader:
        return [*seen, reader.info()]


def units(run: RunDir) -> list[tuple[str | None, str]]:
    """Which rule asked for each unit, and how it stands."""
    with RunReader(run) as reader:
        rows = [(asked_by(json.loads(row["spec"])), row["status"]) for row in reader.units()]
    return [(asked[0] if asked else None, status) for asked, status in rows]


def test_what_can_be_foreseen_is_in_the_total_from_the_beginning(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    seen = computed(run)
    # two subjects: observed, two estimators, a trap of each, and clever through a repaired gradient
    assert {info.units_total for info in seen} == {2 * (1 + 2 + 2 + 1)}
    assert [info.units_done for info in seen] == sorted(info.units_done for info in seen)
    assert seen[-1].units() == {"done": 12, "total": 12, "failed": 0, "cancelled": 0, "planned": 0}
    assert {status for _, status in units(run)} == {"ok"}
    assert damage(run) is None


def test_what_was_foreseen_and_is_not_asked_for_is_skipped_and_shows_in_no_table(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    # differences need no gradient: nothing of theirs can be recovered
    seen = computed(run, estimators=["finite-difference"], maskers=["none"], trap=False, ceiling=False)
    assert {info.units_total for info in seen} == {3}
    assert units(run) == [(None, "ok"), (None, "ok"), ("recover", "skipped")]
    assert (seen[-1].units_done, seen[-1].units_total) == (3, 3)
    with RunReader(run) as reader:
        assert [one.label for one in reader.series()] == ["finite-difference"]


def test_what_only_a_warning_asks_for_is_not_foreseen(tmp_path: Path) -> None:
    first, *_, last = computed(RunDir(tmp_path), recover="suspect", trap=False)
    assert first.units_total == 6
    assert last.units_total > 6


@pytest.mark.parametrize("recover", ["on", "off"])
def test_a_cancelled_run_says_how_much_of_it_was_computed(tmp_path: Path, recover: str) -> None:
    run = RunDir(tmp_path)
    last = computed(run, cancel_after=2, recover=recover)[-1]
    total = 12 if recover == "on" else 10
    assert last.status == "cancelled"
    assert last.units() == {"done": 2, "total": total, "failed": 0, "cancelled": total - 2, "planned": 0}
    again = computed(run, recover=recover)
    assert again[-1].units()["total"] == total


def test_what_failed_is_not_done(tmp_path: Path) -> None:
    last = computed(RunDir(tmp_path), unit=broken_attack, trap=False)[-1]
    assert last.units() == {"done": 6, "total": 8, "failed": 2, "cancelled": 0, "planned": 0}


def test_a_run_that_may_fill_the_disk_says_so_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunWriter, "free", lambda _self: 20_000)
    run = RunDir(tmp_path)
    computed(run, maskers=["none"], trap=False)
    with RunReader(run) as reader:
        (said,) = [row["message"] for row in reader.events() if row["kind"] == "forecast"]
    assert "may take 12.3 kB, and 20 kB are free" in said
    assert "at most 10 kB are kept" in said
