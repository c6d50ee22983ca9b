"""The lock that says who computes a run: one worker at a time, and the kernel knows when it died."""

from __future__ import annotations

import fcntl
import time
from typing import IO

from falsefloor.errors import StoreError
from falsefloor.store.filesystem import make_file, private_or_shared
from falsefloor.store.paths import RunDir


def take_lock(run: RunDir) -> IO[bytes]:
    """Hold the run's lock until the file is closed. Raises `StoreError` where another worker has it.

    Closing any other handle of the file in the same process would release it too (POSIX locks belong to
    processes): whoever holds it must not ask `RunDir.is_alive`.
    """
    try:
        make_file(run.lock, mode=private_or_shared(run.path)[1])
        file = run.lock.open("ab")
    except OSError as error:
        raise StoreError(f"cannot write in {run.path}: {error.strerror or error}.") from error
    for _ in range(20):
        try:
            # lockf and not flock: a forked orphan inherits flock, and a dead worker would look alive
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(0.1)  # a viewer that only asks holds it for microseconds
    file.close()
    raise StoreError(f"run {run.id} is being computed already; watch it: falsefloor watch {run.id}")


__all__ = ["take_lock"]
