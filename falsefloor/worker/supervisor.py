"""The supervisor: one process a run, detached, the only writer of run.db. Never imports torch.

python -m falsefloor.worker.supervisor RUN_DIRECTORY
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from falsefloor.errors import FalsefloorError, StoreError, WorkerError
from falsefloor.plugins import catalogue
from falsefloor.plugins.guard import adopt_orphans, end_below
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.received import ORDERS, take_orders
from falsefloor.store.reuse import Stored
from falsefloor.store.run_dir import RunDir, take_lock
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.executor import Executor
from falsefloor.worker.local import LocalExecutor, devices

LOOK = 0.2
"""Seconds between looks for `kill`, which is obeyed at any moment."""
OBEYED = tuple(order for order in ORDERS if order != "kill")
"""Orders that wait until the run's own thread looks."""
BEAT = 2.0
"""Seconds between touches of the lock: the heartbeat that other hosts can see."""


def supervise(run: RunDir) -> int:
    """Compute a run to its end. Returns the exit code; everything worth knowing is stored in the run."""
    adopt_orphans()
    try:
        lock = take_lock(run)
    except StoreError as error:
        _say(error)
        if error.__cause__ is not None:  # or another has it, whose word it would be
            run.leave_word(str(error))
        return error.exit_code
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the viewer decides what Ctrl-C means
    signal.signal(signal.SIGTERM, lambda *_: run.command("cancel"))
    stop = threading.Event()
    threading.Thread(target=_beat, args=(run, stop), daemon=True).start()
    try:
        with RunJudge() as judge, closing(RunWriter(run.db, judge)) as writer:
            return _compute(run, writer)
    except StoreError as error:
        # Nothing can be stored, not even that: the run reads `lost`, and its lock says why.
        _say(error)
        run.leave_word(str(error))
        return WorkerError.exit_code
    finally:
        stop.set()
        end_below()
        lock.close()


def _say(error: Exception) -> None:
    """Into the log, should the disk that is full or broken take it."""
    with suppress(OSError):
        print(error, file=sys.stderr, flush=True)


def _compute(run: RunDir, writer: RunWriter) -> int:
    """The run with its file open. Raises `StoreError` where the file can no longer be written."""
    executor: Executor | None = None
    try:
        meta = writer.meta()
        study = study_from(meta["study"])
        writer.set_meta(
            status="running", pid=os.getpid(), started=meta.get("started", time.time()), error=None
        )
        installed = catalogue()
        series = writer.begun(series_of(study, installed))
        executor = _executor(str(meta.get("on", "local")), study)
        reuse = _reused(writer, meta.get("reuse"))
        orders = partial(take_orders, run.path, OBEYED)
        status = Drive(writer, study, series, executor, orders, installed, reuse).run()
        kept = writer.meta()
        writer.finish(status, error=kept.get("error"), exit_code=int(kept.get("exit_code", 0)))
        return 0
    except FalsefloorError as error:
        if isinstance(error, StoreError):
            _say(error)
        writer.event("failed", str(error))
        writer.finish("failed", error=str(error), exit_code=error.exit_code)
        return error.exit_code
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        writer.event("failed", f"{type(error).__name__}: {error}")
        writer.finish("failed", error=f"{type(error).__name__}: {error}; see {run.log}", exit_code=5)
        return 5
    finally:
        if executor is not None:
            executor.close()


def _reused(writer: RunWriter, path: str | None) -> Stored | None:
    """The run to take units over from, unless it is gone: then everything is computed."""
    if path is None:
        return None
    try:
        return Stored(RunDir(Path(path)))
    except StoreError as error:
        writer.event("note", f"nothing is taken over: {error}")
        return None


def _executor(where: str, study: Study) -> Executor:
    """What computes: `local`, `dask` or `dask:ADDRESS`."""
    if where.partition(":")[0] == "dask":
        from falsefloor.worker.dask import DaskExecutor

        return DaskExecutor(
            where, device=study.device, time_limit=study.time_limit, memory=study.memory_bytes
        )
    return LocalExecutor(devices(study.device), time_limit=study.time_limit, memory=study.memory_bytes)


def _beat(run: RunDir, stop: threading.Event) -> None:
    """Touch the lock; and end at once where that is asked for, whatever the other thread waits for."""
    beat = 0.0
    while not stop.wait(LOOK):
        if take_orders(run.path, ("kill",)):
            os._exit(130)  # the nursery and the guards end what computes as soon as we are gone
        if time.monotonic() - beat > BEAT:
            beat = time.monotonic()
            with suppress(OSError):
                os.utime(run.lock, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(supervise(RunDir(Path(sys.argv[1]))))
