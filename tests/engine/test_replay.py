"""Witnesses evaluated again from a stored run, honest ones and forged ones."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from falsefloor.engine.context import ignore_progress
from falsefloor.engine.replay import replay
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.errors import StoreError, UsageError
from falsefloor.plugins import catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.inprocess import InProcess

STUDY = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-1",
    "maskers": ["none", "staircase:c=255"],
    "estimators": ["clever:batches=5,samples=8,radius=0.3", "attack:steps=10,restarts=1,rounds=0"],
    "recover": "off",
    "trap": True,
}


def computed(folder: Path) -> RunDir:
    """A run in this process, stored as a worker would."""
    study, installed = study_from(STUDY), catalogue()
    series = series_of(study, installed)
    run = RunDir(folder)
    with RunJudge() as judge:
        writer = RunWriter(run.db, judge, durable=False)
        writer.set_meta(id="test", in_process=True, study=study.to_json(), cwd=str(folder))
        executor = InProcess(Session(), run_unit, lambda moved: ignore_progress(0, 0, {}))
        writer.finish(Drive(writer, study, series, executor, installed=installed).run())
        writer.close()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return computed(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def told(run: RunDir) -> list[dict[str, Any]]:
    """Every finding that has a witness, replayed."""
    session = Session()
    with RunReader(run) as reader:
        return [
            replay(reader, finding["id"], session=session)
            for finding in reader.findings()
            if finding["witness"] is not None
        ]


def test_every_refutation_replays(told: list[dict[str, Any]]) -> None:
    refuted = [one for one in told if one["severity"] == "refuted"]
    assert {"FF201", "FF203"} <= {one["code"] for one in refuted}
    for one in refuted:
        assert one["replays"], one
        assert one["predicted"] != one["label"]
        assert one["distance"] < one["claimed"]
        assert one["changed"] == []


def test_pairs_and_planted_points_replay_too(told: list[dict[str, Any]]) -> None:
    others = {one["code"]: one for one in told if one["severity"] != "refuted"}
    assert others["FF101"]["kind"] == "pair"
    assert others["FF205"]["kind"] == "point"
    assert all(one["replays"] for one in others.values())


def test_the_trap_is_told_of_the_blind_and_not_of_the_seeing(run: RunDir) -> None:
    with RunReader(run) as reader:
        trapped = {
            (e["masker"], e["estimator"])
            for e in reader.estimates()
            if any(w["code"] == "FF205" for w in e["warnings"])
        }
        facts = next(o["facts"]["trap"] for o in reader.observations(masker="none") if "trap" in o["facts"])
    assert trapped == {("staircase:c=255", "clever")}
    assert all(one["forward"] > 0 for one in facts.values()), "its cost is told apart"


def test_a_finding_without_a_witness_says_so(run: RunDir) -> None:
    with RunReader(run) as reader:
        bare = next(f for f in reader.findings() if f["witness"] is None)
        with pytest.raises(UsageError, match="no witness to replay"):
            replay(reader, bare["id"], session=Session())


def test_an_unknown_finding_names_those_there_are(run: RunDir) -> None:
    with RunReader(run) as reader, pytest.raises(UsageError, match="no finding 'zzzz'"):
        replay(reader, "zzzz")


def test_a_witness_that_its_budget_left_out_says_what_brings_it_back(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "run.db").write_bytes(run.db.read_bytes())
    with RunJudge() as judge, closing(RunWriter(tmp_path / "run.db", judge, durable=False)) as writer:
        writer.hold_to(0)
        writer.finish("done")
    with RunReader(RunDir(tmp_path)) as reader:
        gone = next(f for f in reader.findings() if f["severity"] == "refuted")
        assert gone["witness"]["distance"] < gone["radius"], "what was measured stays"
        with pytest.raises(StoreError, match="--witnesses all"):
            replay(reader, gone["id"], session=Session())


def test_a_forged_witness_does_not_replay(run: RunDir, tmp_path: Path) -> None:
    copy = tmp_path / "run.db"
    copy.write_bytes(run.db.read_bytes())
    with RunReader(RunDir(tmp_path)) as reader:
        finding = next(f for f in reader.findings() if f["code"] == "FF201")
        name = finding["witness"]["array"]
        original = reader.array(f"{name.rsplit('/', 1)[0]}/witness")
        assert original is not None
        at = finding["input"]
    values = list(struct.unpack(f"<{64}f", original.data))
    changed = sqlite3.connect(copy)
    # a tenth of the way back to the input: no other class any more
    input_ = changed.execute("SELECT data FROM array WHERE name LIKE ?", (f"%/{at}/input",)).fetchone()[0]
    start = struct.unpack("<64f", input_)
    nearer = [s + 0.5 * (v - s) for s, v in zip(start, values, strict=True)]
    changed.execute("UPDATE array SET data = ? WHERE name = ?", (struct.pack("<64f", *nearer), name))
    changed.commit()
    changed.close()
    with RunReader(RunDir(tmp_path)) as reader:
        one = replay(reader, finding["id"], session=Session())
    assert not one["replays"]
    assert one["predicted"] == one["label"]
