"""Computes on this machine: one child process a device, replaced when it hangs or dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from falsefloor.errors import WorkerError
from falsefloor.store.records import unpack
from falsefloor.worker.executor import (
    Event,
    Finished,
    Lost,
    Progressed,
    Started,
    Stopped,
    StoppedError,
    overdue,
)

CHILD = (sys.executable, "-P", "-m", "falsefloor.worker.child")
AHEAD = 2
"""Units a child holds at least: one running, one waiting, so that it never waits for the supervisor."""
AHEAD_SECONDS = 0.1
"""Where units are short a child holds as many as take so long: what arrives together is stored together."""
MOST_AHEAD = 256
MOST_SHARED = 8
"""The same where several children share the work: what waits behind a long unit is not given to another."""
GRACE = 3.0
"""Seconds a cancelled unit gets to notice before its child is killed."""
PREPARE_LIMIT = 600.0
"""Seconds that loading a model may take."""


@dataclass
class _Child:
    """A compute process and what it holds.

    since: when what runs began; heard: its last message; pace: seconds a unit, lately.
    """

    device: str
    process: subprocess.Popen[bytes]
    pipe: Connection
    held: list[int] = field(default_factory=list)
    since: float = 0.0
    heard: float = 0.0
    stop_by: float = float("inf")
    pace: float = AHEAD_SECONDS


class LocalExecutor:
    """`falsefloor.worker.executor.Executor` over child processes, one for each of ``devices``.

    child: the command that becomes a compute child when a socket's number and a device follow.
    """

    def __init__(
        self, devices: Sequence[str], *, time_limit: float = 0.0, child: Sequence[str] = CHILD
    ) -> None:
        self._limit = time_limit
        self._command = child
        self._loaded: list[dict[str, Any]] = []
        self._children = [_spawn(child, device) for device in devices]

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        command = {"do": "prepare", "model": dict(model), "inputs": inputs, "stacks": list(stacks)}
        self._loaded.append(command)
        for child in self._children:
            # Every child loads now, so that no unit's seconds count the loading.
            _send(child, command)
        # Every answer is read: one left in its pipe would be taken for the next model's.
        answers = [self._answer(at, stopped) for at in range(len(self._children))]
        for at, answer in enumerate(answers):
            if answer.get("died"):  # once more: an accident is not the model's fault
                _send(self._children[at], command)
                answers[at] = self._answer(at, stopped)
        return next((answer for answer in answers if "error" in answer), answers[0])

    def _answer(self, at: int, stopped: Stopped) -> dict[str, Any]:
        child, died = self._children[at], False
        deadline = time.monotonic() + PREPARE_LIMIT
        try:
            while time.monotonic() < deadline:
                if child.pipe.poll(0.2):
                    answer: dict[str, Any] = json.loads(child.pipe.recv_bytes()[1:])
                    return answer
                if stopped():
                    raise StoppedError
            said = f"loading took more than {PREPARE_LIMIT:.0f} seconds"
        except (EOFError, OSError):
            said, died = f"the process that loaded it died: {_obituary(child)}", True
        _kill(child)
        self._children[at] = _spawn(self._command, child.device)
        return {"error": said, "exit_code": 5, "died": died}

    @property
    def capacity(self) -> int:
        return sum(max(0, self._room(child)) for child in self._children)

    def _room(self, child: _Child) -> int:
        most = MOST_AHEAD if len(self._children) == 1 else MOST_SHARED
        wanted = int(AHEAD_SECONDS / max(child.pace, 1e-4))
        return min(most, max(AHEAD, wanted)) - len(child.held)

    def submit(self, unit: int, spec: Mapping[str, Any]) -> None:
        child = max(self._children, key=self._room)
        if not child.held:
            child.since, child.heard = float("inf"), time.monotonic()
        child.held.append(unit)
        _send(child, {"do": "unit", "unit": unit, "spec": dict(spec)})

    def events(self, timeout: float) -> list[Event]:
        found: list[Event] = []
        ready = wait([child.pipe for child in self._children], timeout)
        for at, child in enumerate(self._children):
            if child.pipe in ready:
                try:
                    while child.pipe.poll():
                        found += self._read(child)
                except (EOFError, OSError):
                    found += self._replace(at, f"its process died: {_obituary(child)}")
                    continue
            now = time.monotonic()
            late = overdue(self._limit, began=child.since, heard=child.heard, now=now)
            if child.held and late:
                found += self._replace(at, late, final=True)
            elif child.held and now > child.stop_by:
                found += self._replace(at, "cancelled", final=True)
        return found

    def _read(self, child: _Child) -> list[Event]:
        data = child.pipe.recv_bytes()
        child.heard = time.monotonic()
        if data[:1] == b"R":
            (unit,) = struct.unpack_from("<q", data, 1)
            child.held.remove(unit)
            child.pace += 0.2 * (max(0.0, child.heard - child.since) - child.pace)
            child.since = child.heard
            return [Finished(unit, unpack(data[9:]))]
        message = json.loads(data[1:])
        if message["event"] == "started":
            child.since = child.heard
            return [Started(message["unit"])]
        if message["event"] == "prepared":
            return []  # by one that took a lost one's place
        radius = _numbers(message["radius"])
        return [Progressed(message["unit"], message["done"], message["total"], radius)]

    def _replace(self, at: int, why: str, *, final: bool = False) -> list[Event]:
        """A new child for one that hangs or died; its first unit is to blame, the others go back."""
        child = self._children[at]
        _kill(child)
        self._children[at] = _spawn(self._command, child.device)
        for command in self._loaded:
            # Before the first unit, whose time limit is not for starting a process and loading models.
            _send(self._children[at], command)
        return [Lost(unit, why if n == 0 else "", final and n == 0) for n, unit in enumerate(child.held)]

    def cancel(self) -> None:
        for child in self._children:
            if child.held:
                child.stop_by = time.monotonic() + GRACE
                _send(child, {"do": "cancel"})

    def close(self) -> None:
        for child in self._children:
            _kill(child)


def _spawn(command: Sequence[str], device: str) -> _Child:
    ours, theirs = socket.socketpair()
    arguments = [*command, str(theirs.fileno()), device]
    process = subprocess.Popen(arguments, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
    theirs.close()
    return _Child(device, process, Connection(ours.detach()))


def _send(child: _Child, command: Mapping[str, Any]) -> None:
    try:
        child.pipe.send_bytes(json.dumps(command).encode())
    except OSError:
        if child.process.poll() is None:
            raise WorkerError("cannot reach the compute process.") from None
        # Dead: reading its pipe reports that, with what it held.


def _kill(child: _Child) -> None:
    child.process.kill()
    child.process.wait()
    child.pipe.close()


def _obituary(child: _Child) -> str:
    try:
        code = child.process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        return "it closed its pipe"
    if code >= 0:
        return f"it exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]


def devices(wanted: str) -> list[str]:
    """Devices to compute on. `auto` asks the driver's own listing, without importing torch."""
    if wanted != "auto":
        return [wanted]
    cards = _cuda_cards()
    return [f"cuda:{n}" for n in range(cards)] or ["cpu"]


def _cuda_cards() -> int:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([card for card in named.split(",") if card.strip() not in ("", "-1")])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
