"""Run files that are old, damaged, shared, or made to do harm."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from recorded_runs import restored

from falsefloor.api import Facts, Finding
from falsefloor.checks.judge import Judgement
from falsefloor.errors import StoreError
from falsefloor.store import run_dir, schema
from falsefloor.store.files import copy_run, damage
from falsefloor.store.reader import RunReader
from falsefloor.store.records import UnitResult
from falsefloor.store.run_dir import RunDir, create_run
from falsefloor.store.schema import MIGRATIONS, VERSION
from falsefloor.store.writer import RunWriter


def judge(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    return Judgement("held", tuple(notes), "1 check", 1)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run as the first released schema stored it."""
    return restored(tmp_path / "old", 1)


def shape(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))


@pytest.mark.parametrize("version", range(1, VERSION))
def test_every_released_schema_is_read_as_it_is_and_brought_up_to_date(tmp_path: Path, version: int) -> None:
    run = restored(tmp_path / "old", version)
    with RunReader(run) as reader:
        before = reader.document()
    RunWriter(run.db, judge).close()
    RunWriter(tmp_path / "new.db", judge).close()
    assert shape(run.db) == shape(tmp_path / "new.db")
    with RunReader(run) as reader:
        assert reader.document() == before
        assert {e["verdict"] for e in reader.estimates()} >= {"refuted", "held"}
    assert damage(run) is None


def test_a_migration_that_is_killed_leaves_the_version_it_had(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*MIGRATIONS[:1], MIGRATIONS[1] + "CREATE TABLE half (a);\nCREATE TABLE meta (a);\n")
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(StoreError):
        RunWriter(run.db, judge)
    monkeypatch.undo()
    with closing(sqlite3.connect(run.db)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone()
    RunWriter(run.db, judge).close()
    assert damage(run) is None


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS key, i AS value FROM n"
HOSTILE = {
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON unit BEGIN DELETE FROM estimate; END",
    "view": f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS}",
    "virtual": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "computed column": "CREATE TABLE g (a, b AS (zeroblob(1000000000)))",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_could_act_by_itself_is_refused_by_readers_and_writers(run: RunDir, kind: str) -> None:
    with closing(sqlite3.connect(run.db)) as db:
        db.executescript(HOSTILE[kind])
    before = run.db.read_bytes()
    for look in (lambda: RunReader(run), lambda: RunWriter(run.db, judge), lambda: copy_run(run.db, run.log)):
        with pytest.raises(StoreError, match="no falsefloor run: it holds the"):
            look()
    assert run.db.read_bytes() == before
    assert damage(run) is not None


DAMAGED = {
    "estimate.evidence": "UPDATE estimate SET evidence = 'not json'",
    "observation.facts": "UPDATE observation SET facts = '[]'",
    "estimate.radius": "UPDATE estimate SET radius = 'far'",
    "finding.severity": "UPDATE finding SET severity = 'terrible'",
    "'started'": "UPDATE meta SET value = '\"noon\"' WHERE key = 'started'",
    "'study'": "UPDATE meta SET value = '3' WHERE key = 'study'",
    "status": "UPDATE meta SET value = '\"fine\"' WHERE key = 'status'",
    "'message'": "UPDATE finding SET message = CAST(x'66ff67' AS TEXT)",
    "series.stack": "UPDATE series SET stack = '[1]'",
    "estimate.curves": "UPDATE estimate SET curves = '[{}]'",
    "tally": "DROP TABLE tally",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_found_and_named(run: RunDir, what: str) -> None:
    assert damage(run) is None
    with closing(sqlite3.connect(run.db)) as db:
        db.executescript(DAMAGED[what])
    said = damage(run)
    assert said is not None and what in said


def test_a_page_that_a_bad_disk_changed_is_found(run: RunDir) -> None:
    data = bytearray(run.db.read_bytes())
    for at in range(4096 + 8, len(data), 512):
        data[at] ^= 0xFF
    run.db.write_bytes(data)
    assert damage(run) is not None


def test_a_full_disk_is_said_and_nothing_stored_is_harmed(run: RunDir) -> None:
    writer = RunWriter(run.db, judge)
    with RunReader(run) as reader:
        before = reader.document()
    pages = writer._db.execute("PRAGMA page_count").fetchone()[0]
    writer._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"disk is full.*Free some space.*falsefloor resume"):
        for n in range(2000):
            writer.event("note", f"{n} " + "x" * 5000)
    writer._db.execute("PRAGMA max_page_count = 1073741823")
    writer.event("note", "there is room again")
    writer.close()
    with RunReader(run) as reader:
        assert reader.document() == before
    assert damage(run) is None


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path, run: RunDir) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--store DIR"):
        create_run(tmp_path / "file" / "runs")
    with pytest.raises(StoreError, match="cannot ask run"):
        RunDir(tmp_path / "file").command("cancel")


@pytest.mark.slow
def test_a_log_that_cannot_be_read_is_never_passed_over(run: RunDir, tmp_path: Path) -> None:
    """A killed worker leaves its last units in SQLite's log; a reader that skipped it would show less."""
    writer = RunWriter(run.db, judge)
    writer.event("note", "only in the log")
    copy = RunDir(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    writer.close()
    log = copy.path / "run.db-wal"
    assert log.stat().st_size > 0
    with RunReader(copy) as reader:
        assert reader.events()[-1]["message"] == "only in the log"
    sealed = RunDir(tmp_path / "sealed")
    sealed.path.mkdir()
    shutil.copy(run.db, sealed.db)
    (sealed.path / "run.db-wal").write_bytes(b"x" * 100)
    (sealed.path / "run.db-shm").mkdir()  # shared memory that cannot be made, as in a read-only folder
    with closing(sqlite3.connect(sealed.db)) as db:
        header = db.execute("SELECT 1").fetchone()
    assert header == (1,)
    with pytest.raises(StoreError, match=r"cannot (read|open)|log beside it"):
        _in_wal_mode(sealed)
        RunReader(sealed)


def _in_wal_mode(run: RunDir) -> None:
    data = bytearray(run.db.read_bytes())
    data[18:20] = b"\x02\x02"  # the header's read and write versions: 2 is the log
    run.db.write_bytes(data)


def test_the_clock_may_jump(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    run.lock.touch()
    for jump in (-1e6, 1e6):
        moved = run.lock.stat().st_mtime + jump
        monkeypatch.setattr("time.time", lambda at=moved: at)
        assert run.heartbeat() > 1e5
        with closing(sqlite3.connect(run.db)) as db:
            db.execute("UPDATE meta SET value = '\"running\"' WHERE key = 'status'")
            db.execute("DELETE FROM meta WHERE key IN ('in_process', 'ended')")
            db.commit()
        with RunReader(run) as reader:
            info = reader.info()
        assert info.status == "lost"
        assert info.seconds >= 0


def test_a_store_given_to_a_group_stays_the_groups(tmp_path: Path) -> None:
    private, shared = create_run(tmp_path / "mine"), None
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours").chmod(0o2770)
    shared = create_run(tmp_path / "ours")
    RunWriter(private.db, judge).close()
    RunWriter(shared.db, judge).close()
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for run in (private, shared)
        for path in (run.path, run.commands, run.db)
    ]
    assert modes == [0o700, 0o700, 0o600, 0o2770, 0o2770, 0o660]


def test_on_a_network_file_system_no_log_is_used_and_a_heartbeat_counts(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(run_dir, "MOUNTS", mounts)
    run_dir.filesystem.cache_clear()
    try:
        assert run_dir.filesystem(run.path) == "nfs4"
        writer = RunWriter(run.db, judge)
        assert writer._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        run.lock.touch()
        assert run.is_alive()
        os.utime(run.lock, (1.0, 1.0))
        assert not run.is_alive()
        writer.close()
    finally:
        run_dir.filesystem.cache_clear()


def test_what_arrives_together_is_stored_together_or_not_at_all(tmp_path: Path) -> None:
    from test_store import SERIES, UNITS, ceiling, floor, ids

    writer = RunWriter(tmp_path / "run.db", judge, durable=False)
    writer.add_series(SERIES)
    writer.add_units(UNITS.values())
    numbers = ids(writer)
    with pytest.raises(StoreError):
        writer.store_all([(numbers["clever"], floor()), (numbers["attack"], UnitResult("", error=object()))])  # type: ignore[arg-type]
    assert len(writer.queued()) == 3
    writer.store_all([(numbers["clever"], floor()), (numbers["attack"], ceiling())])
    assert len(writer.queued()) == 1
    writer.close()
