"""The compute process of one model: loads, composes, observes, estimates; and the nursery that it comes from.

supervisor ── ends of a pipe and a leash ──> nursery (torch, nobody's code) ── forks guard ── forks compute
supervisor ── {"do": "prepare" | "unit" | "cancel", …} as JSON ──> compute
supervisor <── "J" + JSON (begun, prepared, started, progress, spent) or "R" + unit + packed result ── compute

What a model or a plugin does to its process reaches no other model: each is computed in a process of its own.
The nursery imports what takes long, once, and runs nothing of anybody's: a fork costs some milliseconds.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

from falsefloor.plugins.guard import (
    LINUX,
    adopt_orphans,
    end_below,
    end_with,
    guarded,
    leave,
    limit_allocations,
)

THREADS = "FALSEFLOOR_THREADS"
EVERY = 0.1
"""Seconds between progress messages of a unit."""
WISH = struct.Struct("<q")
"""What the nursery is sent with two descriptors: the memory that the process may take, in bytes."""
READY = (
    "torch",
    "falsefloor.engine.session",
    "falsefloor.engine.unit",
    "falsefloor.estimators.attack",
    "falsefloor.estimators.clever",
    "falsefloor.gradients.autograd",
    "falsefloor.store.records",
)
"""What is imported once for all models. Not elsewhere than on Linux, whose libraries outlive a fork."""
SYMBOLIC = "torch.fx.experimental.symbolic_shapes"
"""What the first gradient in a process imports, and sympy with it: 0.2 s a model."""


class Stop(threading.Event):
    """Set by the reading thread where the supervisor asked to cancel: what runs, and all that waits."""


def get_ready() -> None:
    """Import what every model needs, once for all of them."""
    for name in READY:
        importlib.import_module(name)
    with contextlib.suppress(ImportError):  # a part of torch that nobody promises
        importlib.import_module(SYMBOLIC)
    gc.freeze()  # or each fork copies what it looks through for garbage


def main(fd: int, device: str) -> None:
    """The nursery: fork a process for every wish that comes through a connected socket, until it closes."""
    end_with(os.getppid())  # even while it imports; the guards end what computes
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with contextlib.suppress(OSError):
        os.nice(5)
    # torch.export.load falls back to full unpickling without it (torch 2.13: a planted pickle ran).
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    if LINUX:
        get_ready()
    adopt_orphans()
    guards: set[int] = set()

    def orphaned(*_: object) -> None:
        """A guard ended, and what it watched over is ours where it was killed; or it was stopped, by a model
        that would not be watched."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
                if os.WIFSTOPPED(found[1]):
                    os.kill(found[0], signal.SIGCONT)
                else:
                    guards.discard(found[0])
        end_below(but=frozenset(guards), reaped=lambda pid, _status: guards.discard(pid))

    signal.signal(signal.SIGCHLD, orphaned)
    wishes = socket.socket(fileno=fd)
    while True:
        wish, descriptors, _, _ = socket.recv_fds(wishes, WISH.size, 2)
        if len(descriptors) < 2:
            leave()
        with warnings.catch_warnings(), contextlib.suppress(OSError):
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's threads wait, and survive a fork
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
                wishes.close()
                pipe, leash = Connection(descriptors[0]), socket.socket(fileno=descriptors[1])
                (memory,) = WISH.unpack(wish)
                _born(pipe, leash, device, memory)
            guards.add(pid)
        for held in descriptors:
            os.close(held)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))


def _born(pipe: Connection, leash: socket.socket, device: str, memory: int) -> None:
    """In a fork of the nursery: become the guard, and in its child compute. Never returns."""
    code = 1
    try:
        guarded(leash, memory=memory, holds=(pipe.fileno(),))
        compute(pipe, device, memory)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)  # nobody's exit handlers


def compute(pipe: Connection, device: str, memory: int) -> None:
    """Serve one supervisor over its pipe, until that closes or this process is spent.

    memory: bytes beyond which an allocation fails, 0 for any.
    """
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
        if session.device.type != "cuda":  # CUDA maps far more than it takes
            limit_allocations(memory)
    except UsageError as error:
        refused = {"error": str(error), "exit_code": error.exit_code}
    threads = threading.active_count()
    while True:
        command = commands.get()
        if command["do"] == "prepare":
            _send(pipe, {"event": "begun"})
            _send(pipe, {"event": "prepared", **(refused or prepared(session, command))})
            threads = threading.active_count()
        elif command["do"] == "unit":
            unit = int(command["unit"])
            if stop.is_set():
                result = UnitResult("", "cancelled", "cancelled before it ran")
            else:
                _send(pipe, {"event": "started", "unit": unit})
                result = run_unit(command["spec"], session, _sink(pipe, unit, stop))
            pipe.send_bytes(b"R" + struct.pack("<q", unit) + pack(result))
            if session.spent or threading.active_count() > threads:
                _send(pipe, {"event": "spent"})
                return


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
