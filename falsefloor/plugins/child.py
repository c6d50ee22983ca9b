"""The describing child: loads plugins one by one and reports each, so that whoever shows them need not.

A stranger's import may raise, call `sys.exit`, hang, crash the interpreter or print. So each plugin is
announced before it is loaded: whatever dies here, the parent knows at which plugin.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.errors import PluginError
from falsefloor.plugins.contract import IncompatibleError, inspect_plugin
from falsefloor.plugins.inside import printed
from falsefloor.plugins.loading import load_plugin
from falsefloor.plugins.names import Plugin

LONGEST_ROW = 200_000
"""Bytes of JSON one plugin may say about itself; the largest of our own is 3 kB."""


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Describe the plugins of a request."""
    for index, data in enumerate(request["plugins"]):
        yield {"start": index}
        yield {"index": index, "row": _row(Plugin(**data))}


def _row(plugin: Plugin) -> dict[str, Any]:
    before = printed()
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
    after = printed()
    if after > before and row["status"] == "healthy":
        text = os.pread(1, min(after - before, 60), before).decode(errors="replace").strip()
        row["reason"] = f"prints {after - before} bytes to stdout when it is imported: {text!r}"
    return row


def _lines(error: BaseException) -> list[str]:
    return traceback.format_exception(error)
