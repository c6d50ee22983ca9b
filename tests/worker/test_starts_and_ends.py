"""Who starts a run, and what is left to say where nothing can be stored."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_runs import ended, small

from falsefloor.errors import StoreError
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir, create_run, starting, take_lock
from falsefloor.store.writer import RunWriter
from falsefloor.worker import launch

Launch = Callable[..., RunDir]


@pytest.fixture
def queued(tmp_path: Path) -> Iterator[RunDir]:
    """A run whose start was killed before its worker was there."""
    run, study = create_run(tmp_path / "store"), small()
    with closing(RunWriter(run.db, RunJudge())) as writer:
        writer.set_meta(
            id=run.id, status="queued", created=time.time(), study=study.to_json(), cwd=str(tmp_path)
        )
    yield run
    if run.is_alive():
        run.command("kill")
        ended(run)


def status(run: RunDir) -> str:
    with RunReader(run) as reader:
        return reader.info().status


def test_a_run_is_queued_while_it_is_being_started_and_lost_as_soon_as_that_broke_off(queued: RunDir) -> None:
    with starting(queued):
        assert status(queued) == "queued"
    assert status(queued) == "lost"


def test_a_run_that_is_being_started_is_not_started_by_another(queued: RunDir) -> None:
    with starting(queued), pytest.raises(StoreError, match="being started already"):
        launch.resume(queued)


def test_of_four_that_resume_a_run_at_once_one_does(queued: RunDir) -> None:
    words = [sys.executable, "-m", "falsefloor", "resume", str(queued.path), "--detach"]
    asked = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[1] for process in asked]
    assert sorted(process.returncode for process in asked) == [0, 2, 2, 2], said
    assert sum("goes on" in one for one in said) == 1
    assert all("being started" in one or "being computed" in one for one in said if "goes on" not in one)


def test_a_worker_that_can_store_nothing_more_says_why(launched: Launch) -> None:
    run = launched(estimators=["clever:batches=50,samples=64,radius=0.3"], inputs="digits:0-9")
    pid = launch._STARTED[-1].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, 8192))  # as a disk that is full from there on
    assert ended(run) == "lost"
    with RunReader(run) as reader:
        error = reader.info().error
    assert error is not None and "cannot write" in error and "Free some space" in error


def test_a_last_word_is_forgotten_when_the_run_goes_on(queued: RunDir) -> None:
    take_lock(queued).close()
    assert queued.lock.stat().st_size == 4096, "the room is held before it is needed"
    queued.leave_word("the disk is full")
    assert queued.last_word() == "the disk is full"
    take_lock(queued).close()
    assert queued.last_word() is None
