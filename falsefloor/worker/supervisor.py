"""The supervisor: one process a run, detached, the only writer of run.db. Never imports torch.

python -m falsefloor.worker.supervisor RUN_DIRECTORY
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.plugins import catalogue
from falsefloor.store.paths import RunDir
from falsefloor.store.reuse import Stored
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.executor import Executor
from falsefloor.worker.followups import follow_ups
from falsefloor.worker.judging import make_judge
from falsefloor.worker.local import LocalExecutor, devices
from falsefloor.worker.planning import Planner

BEAT = 2.0
"""Seconds between touches of the lock: the heartbeat that other hosts can see."""


def supervise(run: RunDir) -> int:
    """Compute a run to its end. Returns the exit code; everything worth knowing is stored in the run."""
    lock = take_lock(run)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the viewer decides what Ctrl-C means
    signal.signal(signal.SIGTERM, lambda *_: run.command("cancel"))
    judge = make_judge()
    writer = RunWriter(run.db, judge)
    stop = threading.Event()
    threading.Thread(target=_beat, args=(run.lock, stop), daemon=True).start()
    executor: Executor | None = None
    try:
        meta = writer.meta()
        study = study_from(meta["study"])
        writer.set_meta(
            status="running", pid=os.getpid(), started=meta.get("started", time.time()), error=None
        )
        planner = Planner(catalogue())
        series = series_of(study, planner)
        executor = _executor(str(meta.get("on", "local")), study)
        reuse = Stored(RunDir(Path(meta["reuse"]))) if meta.get("reuse") else None
        status = Drive(
            writer, study, series, executor, lambda: _commands(run), follow_ups(planner), reuse
        ).run()
        kept = writer.meta()
        writer.finish(status, error=kept.get("error"), exit_code=int(kept.get("exit_code", 0)))
        return 0
    except FalsefloorError as error:
        writer.event("failed", str(error))
        writer.finish("failed", error=str(error), exit_code=error.exit_code)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        writer.event("failed", f"{type(error).__name__}: {error}")
        writer.finish("failed", error=f"{type(error).__name__}: {error}; see {run.log}", exit_code=5)
        return 5
    finally:
        stop.set()
        if executor is not None:
            executor.close()
        writer.close()
        judge.close()
        lock.close()


def _executor(where: str, study: Study) -> Executor:
    """What computes: `local`, `dask` or `dask:ADDRESS`."""
    if where.partition(":")[0] == "dask":
        from falsefloor.worker.dask import DaskExecutor

        return DaskExecutor(where, device=study.device, time_limit=study.time_limit)
    return LocalExecutor(devices(study.device), time_limit=study.time_limit)


def take_lock(run: RunDir) -> IO[bytes]:
    """Hold the run's lock until the file is closed. Raises `StoreError` where another worker has it."""
    file = run.lock.open("ab")
    run.lock.chmod(0o600)
    for _ in range(20):
        try:
            # lockf and not flock: a forked orphan inherits flock, and a dead worker would look alive
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(0.1)  # a viewer that only asks holds it for microseconds
    file.close()
    raise StoreError(f"run {run.id} is being computed already; watch it: falsefloor watch {run.id}")


def _beat(lock: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        try:
            os.utime(lock)
        except OSError:
            return


def _commands(run: RunDir) -> Iterator[str]:
    """Commands that were left for us, each once."""
    try:
        entries = sorted(run.commands.iterdir())
    except OSError:
        return
    for entry in entries:
        entry.unlink(missing_ok=True)
        if entry.name == "kill":
            os._exit(130)
        yield entry.name


if __name__ == "__main__":
    sys.exit(supervise(RunDir(Path(sys.argv[1]))))
