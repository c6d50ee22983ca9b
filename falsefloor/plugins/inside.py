"""The child's side of `falsefloor.plugins.process`: what every process that runs a stranger's code does."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import queue
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from falsefloor.errors import FalsefloorError

LARGEST_FILE = 256 * 2**20
"""A plugin that prints in an endless loop may fill this much of the disk before it is stopped."""


def serve(module: str, out: int, *, heard: bool) -> None:
    """Answer each request with what the module's ``main(request)`` yields, on the pipe ``out``.

    The process ends when the parent closes its end or is killed, even while a plugin hangs. What is raised is
    an answer too, with its exit code: everything, SystemExit too, for this process exists to survive it. What
    was not raised on purpose is told with its traceback where a user hears it.
    """
    requests, send = _settle_in(out, largest=None if heard else LARGEST_FILE)
    main: Callable[[dict[str, Any]], Iterator[dict[str, Any]]] = importlib.import_module(module).main
    for request in requests:
        try:
            for answer in main(request):
                send(answer)
            send({"end": True})
        except BaseException as error:
            said, code = f"{type(error).__name__}: {error}", FalsefloorError.exit_code
            if isinstance(error, FalsefloorError):
                said, code = str(error), error.exit_code
            elif heard:
                traceback.print_exc()
            send({"error": said, "exit_code": code})


def _settle_in(
    out: int, *, largest: int | None
) -> tuple[Iterator[dict[str, Any]], Callable[[dict[str, Any]], None]]:
    """(requests, send): the parent's requests as they come, and how to answer on the pipe ``out``.

    stdin is empty for plugins, no core is dumped.
    """
    faulthandler.enable()
    for limit, ceiling in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, largest)):
        if ceiling is not None:
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
