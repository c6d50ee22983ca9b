"""Describing plugins without loading them here: the parent of the describing child.

One child describes all of them, for torch alone takes a second to import. A child that dies or hangs is
replaced by another that goes on with the rest; the plugin it was at is tried once more alone before it is
blamed, since what an earlier one left running may have been the cause.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from falsefloor.errors import PluginError
from falsefloor.plugins.described import Described, Status
from falsefloor.plugins.names import Plugin, trace

TIME_LIMIT = 30.0
"""Seconds a plugin may take to be imported and described: torch from a cold disk takes ten."""
TIMEOUT = "FALSEFLOOR_PLUGIN_TIMEOUT"

_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from falsefloor.plugins.child import main
main()
"""


@dataclass
class _Session:
    """What one child reported: rows by position, and where and how it went wrong."""

    rows: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    current: int | None = None
    ended: bool = False
    timed_out: bool = False
    status: int | None = None
    stderr: str = ""


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
    rows: dict[Plugin, Described] = {}
    queue = [list(dict.fromkeys(plugins))]
    order = queue[0]
    while queue:
        batch = queue.pop(0)
        for plugin in [p for p in batch if not p.well_named]:
            rows[plugin] = Described(
                plugin, "broken", reason="its name cannot be written in a study; use letters, digits, . _ -"
            )
        batch = [p for p in batch if p.well_named]
        if not batch:
            continue
        session = _run(batch, limit=time_limit() if limit is None else limit)
        for index, data in session.rows.items():
            rows[batch[index]] = _read(batch[index], data)
        if session.ended:
            continue
        at = session.current
        if at is None:
            reason = f"the describing process did not start ({_death(session)})"
            rows.update({p: Described(p, "broken", reason, session.stderr) for p in batch})
            continue
        trace(f"describing stopped at {batch[at].spec}: {_death(session)}")
        if at == 0:
            status: Status = "timed out" if session.timed_out else "broken"
            rows[batch[0]] = Described(batch[0], status, _death(session), session.stderr)
        else:
            queue.append([batch[at]])
        queue.append(batch[at + 1 :])
    return [rows[plugin] for plugin in order]


def _read(plugin: Plugin, data: Mapping[str, Any]) -> Described:
    try:
        return Described.from_json(plugin, data)
    except PluginError as error:
        return Described(plugin, "broken", str(error))


def _death(session: _Session) -> str:
    if session.timed_out:
        return "did not finish being imported within its time limit and was stopped"
    status = session.status or 0
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed the interpreter ({signal.Signals(-status).name}) while it was imported"
    return f"ended the interpreter with status {status} while it was imported"


def _run(plugins: Sequence[Plugin], *, limit: float) -> _Session:
    session = _Session()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        reader, writer = os.pipe()
        try:
            child = subprocess.Popen(
                # -P: a torch.py in the working directory must not be imported in torch's place
                [sys.executable, "-P", "-c", _BOOT, json.dumps([os.path.abspath(p) for p in sys.path])],  # noqa: PTH100
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[writer],
                start_new_session=True,
                env=environment,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            fd = writer
            os.close(writer)
        try:
            request = {"fd": fd, "plugins": [dataclasses.asdict(plugin) for plugin in plugins]}
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.flush()
            _listen(session, reader, child, limit=limit)
        finally:
            os.close(reader)
            session.status = _stop(child)
        session.stderr = _tail(stderr)
    return session


def _listen(session: _Session, reader: int, child: subprocess.Popen[bytes], *, limit: float) -> None:
    os.set_blocking(reader, False)
    pending = b""
    deadline = time.monotonic() + max(limit, TIME_LIMIT)  # start-up is not any plugin's time
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while not session.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                session.timed_out = True
                return
            if not selector.select(min(left, 0.2)):
                # A process that a plugin forked may hold the pipe open after the child is gone.
                if child.poll() is not None:
                    return
                continue
            data = os.read(reader, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if _take(session, json.loads(line)):
                    deadline = time.monotonic() + limit


def _take(session: _Session, message: Mapping[str, Any]) -> bool:
    """Note one message; True where a new plugin starts its time."""
    if "start" in message:
        session.current = message["start"]
        return True
    if "row" in message:
        session.rows[message["index"]] = message["row"]
    session.ended = "end" in message
    return False


def _stop(child: subprocess.Popen[bytes]) -> int:
    """End the child and whatever it started; its status, where it ended by itself its own."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=0.2)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    return child.wait()


def _tail(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 3000))
    return file.read().decode(errors="replace")


__all__ = ["TIMEOUT", "TIME_LIMIT", "describe", "time_limit"]
