"""The child's side: what every process of ours does before it runs a stranger's code."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

LARGEST_FILE = 256 * 2**20
"""A plugin that prints in an endless loop may fill this much of the disk before it is stopped."""

Send = Callable[[dict[str, Any]], None]


def settle_in(out: int) -> tuple[Iterator[dict[str, Any]], Send]:
    """(requests, send): the parent's requests as they come, and how to answer on the pipe ``out``.

    The process ends when the parent closes its end or is killed, even while a plugin hangs; stdin is empty
    for plugins, no core is dumped.
    """
    faulthandler.enable()
    for limit, ceiling in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (ceiling, ceiling))
    os.set_inheritable(out, False)
    watched = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def watch() -> None:
        with os.fdopen(watched, "rb") as file:
            for line in file:
                lines.put(line)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()

    def requests() -> Iterator[dict[str, Any]]:
        while True:
            yield json.loads(lines.get())

    def send(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(out, data) :]

    return requests(), send


def printed() -> int:
    """Bytes written to stdout so far; it is a file of the parent's."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    return os.fstat(1).st_size


__all__ = ["printed", "settle_in"]
