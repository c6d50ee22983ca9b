"""Computes on this machine: a process a model and device, replaced when it hangs, dies or is spent.

A lane is a device. It computes one unit at a time, whosever it is, so that no unit's seconds are another's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from falsefloor.plugins.guard import SHARE, free_memory
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
from falsefloor.worker.kept import NO_MESSAGE, NONSENSE, BrokenError, Kept, Nursery

CHILD = (sys.executable, "-P", "-m", "falsefloor.worker.child")
AHEAD = 2
"""Units a process holds at least: one running, one waiting, so that it never waits for the supervisor."""
AHEAD_SECONDS = 0.1
"""Where units are short one holds as many as take so long: what arrives together is stored together."""
MOST_AHEAD = 256
MOST_SHARED = 8
"""The same where several lanes share the work: what waits behind a long unit is not given to another."""
GRACE = 3.0
"""Seconds a cancelled unit gets to notice before its process is ended."""
PREPARE_LIMIT = 600.0
"""Seconds that loading a model may take, where the study sets no ``time_limit``."""
PREPARE_LEAST = 20.0
"""The same at least, where it does: a unit's limit is not made for loading a model."""
IDLE = 4
"""Processes a lane keeps whose models are not asked: 40 MB each and their models, against loading again."""


@dataclass
class _Lane:
    """A device with its processes, by model, the last asked last.

    held: units of the process that computes; waiting: what is not yet sent to any. since: when what runs
    began; heard: its last message; pace: seconds a unit, lately.
    """

    device: str
    nursery: Nursery
    kept: dict[str, Kept] = field(default_factory=dict)
    active: str = ""
    held: list[int] = field(default_factory=list)
    waiting: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    since: float = 0.0
    heard: float = 0.0
    stop_by: float = float("inf")
    pace: float = AHEAD_SECONDS


class LocalExecutor:
    """`falsefloor.worker.executor.Executor` over processes, one a model on each of ``devices``.

    memory: bytes that a process may take; 0: a share of what is free. child: the command that becomes a
    nursery when a socket's number and a device follow.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        time_limit: float = 0.0,
        memory: int = 0,
        child: Sequence[str] = CHILD,
    ) -> None:
        self._limit = time_limit
        self._memory = memory or int(SHARE * free_memory() / len(devices))
        self._loads: dict[str, dict[str, Any]] = {}
        self._happened: list[Event] = []
        self._lanes = [_Lane(device, Nursery(child, device)) for device in devices]

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        command = {"do": "prepare", "model": dict(model), "inputs": inputs, "stacks": list(stacks)}
        name = _name(model)
        self._loads[name] = command
        for lane in self._lanes:
            # Every lane loads now, so that no unit's seconds count the loading.
            self._born(lane, name)
        answers = [self._answer(lane, name, stopped) for lane in self._lanes]
        for at, (lane, answer) in enumerate(zip(self._lanes, answers, strict=True)):
            if answer.get("died"):  # once more: an accident is not the model's fault
                self._born(lane, name)
                answers[at] = self._answer(lane, name, stopped)
        return next((answer for answer in answers if "error" in answer), answers[0])

    def _born(self, lane: _Lane, name: str) -> Kept:
        """A new process for a model, told what to load; the one that was asked longest ago makes room."""
        if name in lane.kept:
            lane.kept.pop(name).end()
        while len(lane.kept) > IDLE:
            oldest = next(known for known in lane.kept if known != lane.active or not lane.held)
            lane.kept.pop(oldest).end()
        made = lane.kept[name] = lane.nursery.fork(self._memory)
        made.send(self._loads[name])
        return made

    def _answer(self, lane: _Lane, name: str, stopped: Stopped) -> dict[str, Any]:
        kept, died = lane.kept[name], False
        limit = max(PREPARE_LEAST, self._limit) if self._limit else PREPARE_LIMIT
        deadline, begun = time.monotonic() + PREPARE_LIMIT, False
        try:
            while time.monotonic() < deadline:
                if stopped():
                    raise StoppedError
                for message in kept.read(0.2):
                    if begun:
                        return Kept.prepared(message)
                    # what comes before is ours, and takes long where the machine is busy
                    deadline, begun = time.monotonic() + limit, True
            said = f"loading took more than {limit:.0f} seconds; --time-limit gives it more"
        except NO_MESSAGE:
            said, died = f"the process that loaded it was ended: {NONSENSE}", True
        except BrokenError:
            said, died = f"the process that loaded it died: {kept.obituary()}", True
        lane.kept.pop(name).end()
        return {"error": said, "exit_code": 5, "died": died}

    @property
    def capacity(self) -> int:
        return sum(max(0, self._room(lane)) for lane in self._lanes)

    def _room(self, lane: _Lane) -> int:
        most = MOST_AHEAD if len(self._lanes) == 1 else MOST_SHARED
        wanted = int(AHEAD_SECONDS / max(lane.pace, 1e-4))
        return min(most, max(AHEAD, wanted)) - len(lane.held) - len(lane.waiting)

    def submit(self, unit: int, spec: Mapping[str, Any]) -> None:
        # one that was never asked to prepare this model, as another worker was, loads it now
        load = {"do": "prepare", "model": spec["model"], "inputs": spec["inputs"], "stacks": []}
        self._loads.setdefault(_name(spec["model"]), load)
        lane = max(self._lanes, key=self._room)
        lane.waiting.append((unit, dict(spec)))
        self._feed(lane)

    def _feed(self, lane: _Lane) -> None:
        """Send what waits and is for the model that computes; where none does, for the first's."""
        while lane.waiting:
            unit, spec = lane.waiting[0]
            name = _name(spec["model"])
            if lane.held and name != lane.active:
                return
            if not lane.held:
                lane.active, lane.since, lane.heard = name, float("inf"), time.monotonic()
            kept = lane.kept.pop(name, None) or self._born(lane, name)
            lane.kept[name] = kept  # asked last
            lane.waiting.popleft()
            lane.held.append(unit)
            kept.send({"do": "unit", "unit": unit, "spec": spec})

    def events(self, timeout: float) -> list[Event]:
        found, self._happened = self._happened, []
        wait([kept.socket for lane in self._lanes for kept in lane.kept.values()], 0 if found else timeout)
        for lane in self._lanes:
            for name, kept in list(lane.kept.items()):
                try:
                    for message in kept.read(0.0):
                        found += self._heard(lane, name, message)
                except NO_MESSAGE:
                    found += self._gone(lane, name, f"its process was ended: {NONSENSE}")
                except BrokenError:
                    found += self._gone(lane, name, f"its process died: {kept.obituary()}")
            now = time.monotonic()
            # until it says that it began it may have to load its model again
            began = min(lane.since, lane.heard + PREPARE_LEAST)
            late = overdue(self._limit, began=began, heard=lane.heard, now=now)
            if lane.held and late:
                found += self._gone(lane, lane.active, late, final=True)
            elif lane.held and now > lane.stop_by:
                found += self._gone(lane, lane.active, "cancelled", final=True)
            self._feed(lane)
        return found

    def _heard(self, lane: _Lane, name: str, data: bytes) -> list[Event]:
        lane.heard = time.monotonic()
        if data[:1] == b"R":
            unit, result = Kept.result(data)
            lane.held.remove(unit)
            lane.pace += 0.2 * (max(0.0, lane.heard - lane.since) - lane.pace)
            lane.since = lane.heard
            return [Finished(unit, result)]
        message = json.loads(data[1:])
        if message["event"] == "started":
            lane.since = lane.heard
            return [Started(message["unit"])]
        if message["event"] == "progress":
            radius = [float(value) for value in message["radius"]]
            return [Progressed(message["unit"], message["done"], message["total"], radius)]
        if message["event"] == "spent":
            return self._gone(lane, name, "")
        return []  # prepared, by one that took a lost one's place

    def _gone(self, lane: _Lane, name: str, why: str, *, final: bool = False) -> list[Event]:
        """A process that hangs, died or is spent; its first unit is to blame, the others go back."""
        lane.kept.pop(name).end()
        if name != lane.active or not lane.held:
            return []
        blamed, lane.held = lane.held, []
        return [Lost(unit, why if n == 0 else "", final and n == 0) for n, unit in enumerate(blamed)]

    def cancel(self) -> None:
        for lane in self._lanes:
            self._happened += [Lost(unit, "cancelled") for unit, _ in lane.waiting]
            lane.waiting.clear()
            if lane.held:
                lane.stop_by = time.monotonic() + GRACE
                if lane.active in lane.kept:
                    lane.kept[lane.active].send({"do": "cancel"})

    def close(self) -> None:
        for lane in self._lanes:
            for kept in lane.kept.values():
                kept.end()
            lane.nursery.close()


def _name(model: Mapping[str, Any]) -> str:
    return json.dumps(model, sort_keys=True)


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
