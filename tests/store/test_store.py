"""The run's file: transactions, siblings judged again, the tally, readers, old and foreign files."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from falsefloor.api import Facts, Finding, Scalar
from falsefloor.checks.judge import Judgement
from falsefloor.errors import StoreError
from falsefloor.store.files import copy_run
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult, pack, unpack
from falsefloor.store.run_dir import RunDir, find_run, list_dirs, store_root
from falsefloor.store.schema import MIGRATIONS, connect_readonly
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.units import Series, plan, series_of


class Plugins:
    def params(
        self, kind: str, name: str, given: Mapping[str, Scalar], *, effort: str = "standard"
    ) -> dict[str, Scalar]:
        return dict(given)

    def is_own(self, kind: str, name: str) -> bool:
        return True

    def claim(self, name: str) -> str:
        return "upper_bound" if name == "attack" else "lower_estimate"

    def origin(self, name: str) -> dict[str, str]:
        return {"dist": "falsefloor", "version": "0"}


def judge(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    """Refuted where a sibling's ceiling lies below; the simplest judge that makes late facts matter."""
    lower = facts.judged.claim != "upper_bound"
    below = [o for o in facts.others if lower and o.claim == "upper_bound" and o.radius < facts.judged.radius]
    if below:
        finding = Finding("FF201", "refuted", "floor above ceiling", {}, below[0].witness)
        return Judgement("refuted", (finding, *notes), "FF201", 1)
    return Judgement("held", tuple(notes), "1 check", 1)


STUDY = study_from({"models": ["a:b"], "estimators": ["clever", "attack"], "inputs": "x:y"})
SERIES: list[Series] = series_of(STUDY, Plugins())
UNITS = {(u.series.label if u.series else u.kind): u for u in plan(STUDY, SERIES, {"a:b": 2})}


def open_writer(run: RunDir) -> RunWriter:
    made = RunWriter(run.db, judge, durable=False)
    made.set_meta(id=run.id, status="running", seed=0, study=STUDY.to_json(), created=0.0, in_process=True)
    made.add_model("a:b", spec={}, facts={}, fingerprint={})
    made.add_series(SERIES)
    made.add_units(UNITS.values())
    return made


@pytest.fixture
def writer(run: RunDir) -> Iterator[RunWriter]:
    made = open_writer(run)
    yield made
    with contextlib.suppress(sqlite3.ProgrammingError):  # some tests close it themselves
        made.close()


def test_a_run_goes_on_with_the_options_that_it_was_begun_with(writer: RunWriter) -> None:
    """Whatever a plugin has more of since, or takes for its default: the units still have their keys."""
    later = [replace(one, params={**one.params, "queries": "any"}) for one in SERIES]
    assert writer.begun(later) == SERIES
    other = replace(SERIES[0], norm="l2", params={"queries": 3})
    assert writer.begun([other]) == [other], "what was not begun is as it is asked"


def ids(writer: RunWriter) -> dict[str, int]:
    return {spec.get("estimator", {"use": "observe"})["use"]: id_ for id_, spec in writer.queued()}


def floats(*values: float) -> Array:
    import array

    return Array(
        "float32", (len(values),), array.array("f", values).tobytes(), {"distance": 0.1, "predicted": 8}
    )


def floor(radius: float = 0.3) -> UnitResult:
    rows = [
        EstimateResult(n, label=3, predicted=3 + n, radius=radius, evidence={"a": float("inf")})
        for n in (0, 1)
    ]
    return UnitResult(UNITS["clever"].key, estimates=rows)


def ceiling(radius: float = 0.1) -> UnitResult:
    rows = [EstimateResult(n, radius=radius, arrays={"witness": floats(1, 2)}) for n in (0, 1)]
    return UnitResult(UNITS["attack"].key, estimates=rows)


def verdicts(run: RunDir) -> dict[str, set[str]]:
    with RunReader(run) as reader:
        found: dict[str, set[str]] = {}
        for e in reader.estimates():
            found.setdefault(e["name"], set()).add(e["verdict"])
        return found


@pytest.mark.parametrize("order", [("clever", "attack"), ("attack", "clever")])
def test_a_late_ceiling_refutes_an_early_floor(run: RunDir, writer: RunWriter, order: Sequence[str]) -> None:
    results = {"clever": floor(), "attack": ceiling()}
    numbers = ids(writer)
    for name in order:
        writer.store(numbers[name], results[name])
    assert verdicts(run) == {"clever": {"refuted"}, "attack": {"held"}}
    with RunReader(run) as reader:
        assert reader.info().counts == {"refuted": 2, "held": 1, "misclassified": 1}
        (first, *_) = reader.estimates(input=0)
        witness = first["warnings"][0]["witness"]
        assert (witness["distance"], witness["predicted"]) == (0.1, 8)
        stored = reader.array(witness["array"])
        assert stored is not None
        assert stored.data == floats(1, 2).data


def test_storing_twice_changes_nothing(run: RunDir, writer: RunWriter) -> None:
    number = ids(writer)["clever"]
    writer.store(number, floor())
    before = list(sqlite3.connect(run.db).iterdump())
    writer.store(number, floor(0.7))
    assert list(sqlite3.connect(run.db).iterdump()) == before


def test_forgetting_a_unit_takes_it_from_the_tally_too(run: RunDir, writer: RunWriter) -> None:
    number = ids(writer)["clever"]
    writer.store(number, UnitResult("", "failed", "boom"))
    with RunReader(run) as reader:
        assert reader.info().counts == {"failed": 2}
    assert writer.requeue(["failed"]) == 1
    writer.store(number, floor())
    with RunReader(run) as reader:
        assert {k: v for k, v in reader.info().counts.items() if v} == {"held": 1, "misclassified": 1}


STEPS = ("clever", "attack", "fail clever", "fail attack", "observe", "retry", "judge", "look")


def judge_observed(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    return replace(judge(facts, notes), reason="observed" if facts.observed else "not observed")


@example(["clever", "look", "observe", "fail attack"])
@given(st.lists(st.sampled_from(STEPS), max_size=8))
@settings(max_examples=25, deadline=None)
def test_tallies_equal_a_count_and_who_follows_a_run_sees_what_who_opens_it_sees(
    steps: list[str],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        writer = RunWriter(path, judge_observed, durable=False)
        writer.add_model("a:b", spec={}, facts={}, fingerprint={})
        writer.add_series(SERIES)
        writer.add_units(UNITS.values())
        numbers, follower = ids(writer), RunReader(RunDir(path.parent))
        for step in (*steps, "look"):
            name = step.removeprefix("fail ")
            if step == "retry":
                writer.requeue(["failed"])
            elif step == "judge":
                writer._judge = lambda facts, notes: replace(judge(facts, notes), reason="judged anew")
                writer.judge_all()
            elif step.startswith("fail"):
                writer.store(numbers[name], UnitResult("", "failed", "no"))
            elif step == "observe":
                seen = [ObservationResult(n, None, {"misclassified": False}) for n in range(2)]
                writer.store(numbers[name], UnitResult("", observations=seen))
            elif step != "look":
                writer.store(numbers[name], floor() if name == "clever" else ceiling())
            else:
                with RunReader(RunDir(path.parent)) as reader:
                    assert follower.cells() == reader.cells()
        follower.close()
        writer.close()
        db = sqlite3.connect(path)
        counted = dict(
            db.execute(
                "SELECT series || coalesce(verdict, status), count(*) FROM estimate GROUP BY 1 UNION ALL"
                " SELECT series || 'wrong', count(*) FROM estimate WHERE label != predicted GROUP BY 1"
            ).fetchall()
        )
        kept = dict(db.execute("SELECT series || verdict, count FROM tally WHERE count != 0").fetchall())
        db.close()
        assert kept == counted


def test_numbers_that_json_lacks_are_words(run: RunDir, writer: RunWriter) -> None:
    writer.store(ids(writer)["clever"], floor())
    with RunReader(run) as reader:
        document = reader.document()
    json.dumps(document, allow_nan=False)
    assert document["estimates"][0]["evidence"] == {"a": "inf"}
    assert document["schema"] == "falsefloor.run/1"


def test_a_reader_sees_a_whole_unit_or_nothing(run: RunDir, writer: RunWriter) -> None:
    def stopped(facts: Facts, notes: Sequence[Finding]) -> Judgement:
        raise RuntimeError("killed in the middle")

    writer._judge = stopped
    with pytest.raises(RuntimeError), RunReader(run) as reader:
        writer.store(ids(writer)["clever"], floor())
    with RunReader(run) as reader:
        assert list(reader.estimates()) == []
        assert {u["status"] for u in reader.units()} == {"queued"}


def test_observations_carry_the_names_of_their_arrays(run: RunDir, writer: RunWriter) -> None:
    seen = ObservationResult(0, True, {"margin": 1.5}, {"pair": floats(1)})
    writer.store(ids(writer)["observe"], UnitResult("", observations=[seen]))
    with RunReader(run) as reader:
        (row,) = reader.observations()
        assert row["agreement"] is True
        assert reader.array(row["facts"]["arrays"]["pair"]) == floats(1)


def test_a_finished_run_is_one_private_file(run: RunDir, writer: RunWriter) -> None:
    writer.store(ids(writer)["clever"], floor())
    writer.finish("done")
    writer.close()
    assert {p.name for p in run.path.iterdir()} == {"commands", "run.db", "study.toml"}
    assert stat.S_IMODE(run.db.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700


def test_a_live_run_is_copied_whole(run: RunDir, writer: RunWriter, tmp_path: Path) -> None:
    writer.store(ids(writer)["clever"], floor())
    copy_run(run.db, tmp_path / "copy.db")
    rows = sqlite3.connect(tmp_path / "copy.db").execute("SELECT count(*) FROM estimate").fetchone()
    assert rows == (2,)
    with pytest.raises(StoreError, match="exists already"):
        copy_run(run.db, tmp_path / "copy.db")


def test_a_run_from_a_newer_version_is_refused_with_advice(run: RunDir, writer: RunWriter) -> None:
    writer.close()
    db = sqlite3.connect(run.db)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreError, match="Upgrade falsefloor"):
        RunReader(run)
    with pytest.raises(StoreError, match="Upgrade falsefloor"):
        RunWriter(run.db, judge)


@pytest.mark.parametrize("data", [b"", b"not a database", b"SQLite format 3\x00" + b"\xff" * 500])
def test_a_file_that_is_no_run_is_an_error_and_not_a_traceback(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "run.db").write_bytes(data)
    with pytest.raises(StoreError):
        RunReader(RunDir(tmp_path))


def test_a_reader_cannot_write(run: RunDir, writer: RunWriter) -> None:
    connection = connect_readonly(run.db)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM unit")
    connection.close()


def test_a_run_is_named_by_prefix_path_or_last(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with pytest.raises(StoreError, match="no runs"):
        find_run(root, "last")
    for name, age in (("aa11", 100.0), ("ab22", 50.0)):
        (root / name).mkdir(parents=True)
        (root / name / "study.toml").touch()
        (root / name / "run.db").touch()
        os.utime(root / name / "study.toml", (age, age))
    assert [r.id for r in list_dirs(root)] == ["aa11", "ab22"]
    assert find_run(root, "last").id == "aa11"
    assert find_run(root, "last~1").id == "ab22"
    with pytest.raises(StoreError, match=r"no run 'last~2': there are 2"):
        find_run(root, "last~2")
    assert find_run(root, "ab").id == "ab22"
    assert find_run(root, str(root / "ab22")).id == "ab22"
    with pytest.raises(StoreError, match="2 runs"):
        find_run(root, "a")
    with pytest.raises(StoreError, match="Did you mean 'ab22'"):
        find_run(root, "ab23")


def test_a_lock_tells_the_living_from_the_dead(run: RunDir) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom falsefloor.store.run_dir import RunDir\n"
    code += "from falsefloor.store.run_dir import take_lock\n"
    code += "lock = take_lock(RunDir(Path(sys.argv[1])))\nprint('held', flush=True)\ntime.sleep(60)"
    assert not run.is_alive()
    with subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert run.is_alive()
        holder.kill()
        holder.wait()
    assert not run.is_alive()


def test_the_store_is_where_it_was_asked_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FALSEFLOOR_STORE", str(tmp_path))
    assert store_root() == tmp_path
    assert store_root(tmp_path / "given") == tmp_path / "given"


words = st.text(max_size=8)


@given(st.binary(max_size=40), words, st.dictionaries(words, st.floats(allow_nan=False)))
def test_records_survive_the_wire(data: bytes, word: str, evidence: dict[str, float]) -> None:
    arrays = {word: Array("uint8", (len(data),), data), "b" + word: Array("uint8", (2, 3), b"123456")}
    row = EstimateResult(
        1, radius=0.5, evidence=evidence, notes=[(word, word)], arrays=arrays, interval=(0.1, 0.2)
    )
    seen = ObservationResult(2, None, {"x": [1, word]}, {"c": Array("uint8", (1,), b"!")})
    result = UnitResult("key", estimates=[row], observations=[seen], error=word)
    assert unpack(pack(result)) == result
