"""The compute child: loads, composes, observes, estimates. One a device; ends when its pipe does.

supervisor ── {"do": "prepare" | "unit" | "cancel", …} as JSON ──> child
supervisor <── "J" + JSON (started, progress, prepared) or "R" + unit + packed result ── child
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import queue
import signal
import struct
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

THREADS = "FALSEFLOOR_THREADS"
EVERY = 0.1
"""Seconds between progress messages of a unit."""


class Stop(threading.Event):
    """Set by the reading thread where the supervisor asked to cancel: what runs, and all that waits."""


def main(fd: int, device: str) -> None:
    """Serve one supervisor over a connected socket, until it closes."""
    pipe = Connection(fd)
    # What a model or plugin prints must not reach the run's own channels.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        os.nice(5)
    _die_with_parent()
    # torch.export.load falls back to full unpickling without it (torch 2.13: a planted pickle ran).
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    stop = Stop()
    threading.Thread(target=_listen, args=(pipe, commands, stop), daemon=True).start()

    import torch

    torch.set_num_threads(max(1, int(os.environ.get(THREADS, "1"))))
    from falsefloor.engine.session import Session, usable_device
    from falsefloor.engine.unit import run_unit
    from falsefloor.errors import UsageError
    from falsefloor.store.records import UnitResult, pack

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s: %(message)s")
    logging.getLogger("falsefloor").setLevel(logging.INFO)
    session, refused = Session(), None
    try:
        session = Session(device=usable_device(device))
    except UsageError as error:
        refused = {"error": str(error), "exit_code": error.exit_code}
    while True:
        command = commands.get()
        if command["do"] == "prepare":
            _send(pipe, {"event": "prepared", **(refused or prepared(session, command))})
        elif command["do"] == "unit":
            unit = int(command["unit"])
            if stop.is_set():
                result = UnitResult("", "cancelled", "cancelled before it ran")
            else:
                _send(pipe, {"event": "started", "unit": unit})
                result = run_unit(command["spec"], session, _sink(pipe, unit, stop))
            pipe.send_bytes(b"R" + struct.pack("<q", unit) + pack(result))


def _die_with_parent() -> None:
    """On Linux the kernel ends this process with its supervisor, even where a plugin holds the interpreter
    and the reading thread cannot run."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _listen(pipe: Connection, commands: queue.SimpleQueue[dict[str, Any]], stop: Stop) -> None:
    """Reads while the main thread computes; the pipe's end is the end of this process."""
    while True:
        try:
            command = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)
        if command["do"] == "cancel":
            stop.set()
        else:
            commands.put(command)


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(b"J" + json.dumps(message).encode())


def _sink(pipe: Connection, unit: int, stop: Stop) -> Any:
    from falsefloor.api import Cancelled
    from falsefloor.jsonable import finite

    last = 0.0

    def sink(done: int, total: int, series: dict[str, list[float]]) -> None:
        nonlocal last
        if stop.is_set():
            raise Cancelled
        now = time.monotonic()
        if now - last >= EVERY:
            last = now
            radius = finite(series.get("radius", []))
            _send(pipe, {"event": "progress", "unit": unit, "done": done, "total": total, "radius": radius})

    return sink


def prepared(session: Any, command: dict[str, Any]) -> dict[str, Any]:
    """The model and inputs loaded, every stack placed; or the error in words, with its exit code."""
    import platform

    import torch

    answer: dict[str, Any] = session.ready(command["model"], command["inputs"], command["stacks"])
    return answer | {
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
