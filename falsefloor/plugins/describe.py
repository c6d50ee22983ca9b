"""Describing plugins without loading them here: the describing child, `main`, and its parent.

One child describes all of them, for torch alone takes a second to import. A child that dies or hangs is
replaced by another that goes on; the plugin it was at is tried once more, first in its process, before it is
blamed, since what an earlier one left running may have been the cause.
"""

from __future__ import annotations

import dataclasses
import json
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from falsefloor.errors import FalsefloorError, PluginError
from falsefloor.plugins.described import Described, Status
from falsefloor.plugins.names import Plugin, trace
from falsefloor.plugins.process import Child, GoneError, SilentError, printed

TIME_LIMIT = 30.0
"""Seconds a plugin may take to be imported and described: torch from a cold disk takes ten."""
TIMEOUT = "FALSEFLOOR_PLUGIN_TIMEOUT"
LONGEST_ROW = 200_000
"""Bytes of JSON one plugin may say about itself; the largest of our own is 3 kB."""


def time_limit() -> float:
    """Seconds a plugin may take: ``FALSEFLOOR_PLUGIN_TIMEOUT`` where it is a positive number."""
    try:
        seconds = float(os.environ.get(TIMEOUT, ""))
    except ValueError:
        return TIME_LIMIT
    return seconds if seconds > 0 else TIME_LIMIT


def describe(plugins: Iterable[Plugin], *, limit: float | None = None) -> list[Described]:
    """One row a plugin, in the order given; ``limit`` is in seconds a plugin. Raises for no plugin's sake.

    Every third-party import happens in a child process that cannot outlive this call.
    """
    order = list(dict.fromkeys(plugins))
    unnamed = "its name cannot be written in a study; use letters, digits, . _ -"
    rows = {plugin: Described(plugin, "broken", unnamed) for plugin in order if not plugin.well_named}
    left = [plugin for plugin in order if plugin.well_named]
    while left:
        told, at, status, death, stderr = _ask(left, limit=time_limit() if limit is None else limit)
        rows.update(told)
        if not death:
            break
        if at is None:
            reason = f"the describing process did not start ({death})"
            rows.update({plugin: Described(plugin, "broken", reason, stderr) for plugin in left})
            break
        trace(f"describing stopped at {left[at].spec}: {death}")
        if at == 0:
            rows[left[0]] = Described(left[0], status, death, stderr)
        left = left[max(at, 1) :]
    return [rows[plugin] for plugin in order]


def _ask(
    plugins: Sequence[Plugin], *, limit: float
) -> tuple[dict[Plugin, Described], int | None, Status, str, str]:
    """What one child says: rows, which plugin it was at; and where it broke off, the status that is due to
    that one, how it ended, and what it wrote then."""
    told: dict[Plugin, Described] = {}
    at: int | None = None
    status: Status = "broken"
    death = ""
    child = Child("falsefloor.plugins.describe")
    try:
        request = {"plugins": [dataclasses.asdict(plugin) for plugin in plugins]}
        # start-up is not any plugin's time
        for answer in child.answers(request, first=max(limit, TIME_LIMIT), limit=limit):
            index = answer.get("start", answer.get("index"))
            if not isinstance(index, int) or not 0 <= index < len(plugins):
                raise GoneError  # a plugin wrote into the pipe
            if "start" in answer:
                at = index
            elif isinstance(answer.get("row"), dict):
                told[plugins[index]] = _read(plugins[index], answer["row"])
        if len(told) != len(plugins):
            raise GoneError
    except SilentError:
        status = "timed out"
        death = (
            f"did not finish being imported within its time limit of {limit:g} s and was stopped;"
            f" {TIMEOUT}=SECONDS gives it longer, `falsefloor plugins list --refresh` tries it again"
        )
    except (GoneError, FalsefloorError):  # an error that a plugin wrote into the pipe
        death = f"{child.death()} while it was imported"
    finally:
        child.end()
    return told, at, status, death, child.stderr


def _read(plugin: Plugin, data: Mapping[str, Any]) -> Described:
    try:
        return Described.from_json(plugin, data)
    except PluginError as error:
        return Described(plugin, "broken", str(error))


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In the child: load plugins one by one and report each.

    A stranger's import may raise, call `sys.exit`, hang, crash the interpreter or print. So each plugin is
    announced before it is loaded: whatever dies here, the parent knows at which plugin.
    """
    for index, data in enumerate(request["plugins"]):
        yield {"start": index}
        yield {"index": index, "row": _row(Plugin(**data))}


def _row(plugin: Plugin) -> dict[str, Any]:
    # here alone: whoever is asked to describe imports no plugin
    from falsefloor.plugins.described import IncompatibleError, inspect_plugin
    from falsefloor.plugins.loading import load_plugin

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
        ours = cause is error and isinstance(error, PluginError)
        tail = "" if ours else "".join(traceback.format_exception(cause)[-12:])
        row = {"status": "broken", "reason": reason, "traceback": tail}
    after = printed()
    if after > before and row["status"] == "healthy":
        text = os.pread(1, min(after - before, 60), before).decode(errors="replace").strip()
        row["reason"] = f"prints {after - before} bytes to stdout when it is imported: {text!r}"
    return row
