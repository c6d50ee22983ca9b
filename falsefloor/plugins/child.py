"""The describing child: loads plugins one by one and reports each, so that whoever shows them need not.

A stranger's import may raise, call `sys.exit`, hang, crash the interpreter or print. So each plugin is
announced before it is loaded, and the report goes over a pipe of its own: stdout and stderr are files of the
parent's. Whatever dies here, the parent knows at which plugin.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import sys
import threading
import traceback
from typing import Any

from falsefloor.errors import PluginError
from falsefloor.plugins.contract import IncompatibleError, inspect_plugin
from falsefloor.plugins.loading import load_plugin
from falsefloor.plugins.names import Plugin

LARGEST_FILE = 256 * 2**20
"""A plugin that prints in an endless loop may fill this much of the disk before it is stopped."""
LONGEST_ROW = 200_000
"""Bytes of JSON one plugin may say about itself; the largest of our own is 3 kB."""


def main() -> None:
    """Read one request from stdin, describe its plugins, and leave without running anything at exit."""
    faulthandler.enable()
    for limit, ceiling in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (ceiling, ceiling))
    request = json.loads(sys.stdin.buffer.readline())
    out: int = request["fd"]
    os.set_inheritable(out, False)
    _leave_with_parent()
    for index, data in enumerate(request["plugins"]):
        _send(out, {"start": index})
        _send(out, {"index": index, "row": _row(Plugin(**data))})
    _send(out, {"end": True})
    os._exit(0)


def _row(plugin: Plugin) -> dict[str, Any]:
    before = _printed()
    try:
        row: dict[str, Any] = {"status": "healthy", **inspect_plugin(plugin.kind, load_plugin(plugin))}
        if len(json.dumps(row, allow_nan=False)) > LONGEST_ROW:
            raise PluginError(f"{plugin.spec} says more than {LONGEST_ROW} bytes about itself.")
    except IncompatibleError as error:
        row = {"status": "incompatible", "reason": str(error)}
    except BaseException as error:
        # Everything, KeyboardInterrupt too: this process exists to survive what it loads.
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        cause = error.__cause__ or error
        # A PluginError without a cause is our own verdict: its traceback shows only our code.
        tail = "" if cause is error and isinstance(error, PluginError) else "".join(_lines(cause)[-12:])
        row = {"status": "broken", "reason": reason, "traceback": tail}
    printed = _printed()
    if printed > before and row["status"] == "healthy":
        text = os.pread(1, min(printed - before, 60), before).decode(errors="replace").strip()
        row["reason"] = f"prints {printed - before} bytes to stdout when it is imported: {text!r}"
    return row


def _lines(error: BaseException) -> list[str]:
    return traceback.format_exception(error)


def _printed() -> int:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    return os.fstat(1).st_size


def _send(out: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


def _leave_with_parent() -> None:
    """End when the parent's end of stdin closes, so that a killed parent leaves no orphan behind."""
    watched = os.dup(0)
    os.set_inheritable(watched, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def watch() -> None:
        while os.read(watched, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


__all__ = ["main"]
