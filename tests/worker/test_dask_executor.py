"""A real Dask cluster on loopback, its workers killed for real."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import ended, numbers, small

from falsefloor.cli.ending import ending
from falsefloor.errors import UsageError
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import start

pytest.importorskip("distributed")


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, parents = [], {str(pid)}
    while parents:
        kids = [row for row in rows if row[1] in parents]
        found += [int(row[0]) for row in kids if "spawn_main" in row[2] or "multiprocessing" in row[2]]
        parents = {row[0] for row in kids}
    return found


def test_a_killed_dask_worker_loses_nothing(launched: Callable[..., RunDir], tmp_path: Path) -> None:
    busy = {"chunk": 1, "inputs": "digits:0-1", "estimators": ["clever:batches=20,samples=50,radius=0.3"]}
    local = launched(**busy)
    run, _ = start(small(**busy), tmp_path / "dask", on="dask")
    killed, deadline = False, time.monotonic() + 90
    while not killed:
        assert time.monotonic() < deadline, run.log.read_text()
        with RunReader(run) as reader:
            info, meta = reader.info(), reader.meta()
        assert info.status not in ("done", "failed"), (info, run.log.read_text())
        if info.units_done >= 1 and (workers := descendants(int(meta["pid"]))):
            os.kill(workers[-1], signal.SIGKILL)
            killed = True
        time.sleep(0.01)
    assert ended(run, limit=120) == "done"
    assert ended(local) == "done"
    assert numbers(run) == numbers(local)
    assert ending(run).code == 0


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    run, _ = start(small(), tmp_path, on="dask:tcp://127.0.0.1:9")
    assert ended(run) == "failed"
    assert ending(run).code == 5
    with RunReader(run) as reader:
        assert "127.0.0.1:9" in str(reader.info().error)


def test_an_unknown_executor_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'dask'"):
        start(small(), tmp_path, on="dusk")
