"""Computes on a Dask cluster: workers of this machine (`dask`) or of a running scheduler (`dask:ADDRESS`).

A Dask worker may die at any time, and what it had finished dies with it. So every unit is stored by the
driver as it arrives, and a unit that is computed twice gives the same bits. What goes over the wire is a
unit's JSON and packed results; Dask wraps both in pickles of its own (its TLS settings protect them).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from falsefloor.errors import UsageError, WorkerError
from falsefloor.jsonable import finite
from falsefloor.store.records import pack, unpack
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
from falsefloor.worker.local import LocalExecutor

if TYPE_CHECKING:
    from distributed import Client, Future

TOPIC = "falsefloor"
AHEAD = 8
"""Units in flight for each thread, so that no worker waits for the driver."""
NO_WORKERS = 300.0
"""Seconds to wait for a first worker: those of a batch system come when their job starts."""
LATE = 30.0
"""Seconds beyond a unit's limit after which its worker itself is restarted."""
SELDOM = 0.5
"""Seconds between progress messages of a unit."""
ATTEMPTS = 3
"""Starts of a cluster on this machine."""
RETRIES = 3
"""Workers that may die under one unit before it counts as lost."""


class DaskExecutor:
    """`falsefloor.worker.executor.Executor` over a Dask client.

    where: "dask" or "dask:ADDRESS". devices: on CUDA, workers must offer the resource GPU, one a card.
    """

    def __init__(self, where: str, *, device: str = "auto", time_limit: float = 0.0, memory: int = 0) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise UsageError("--on dask needs Dask: pip install 'falsefloor[dask]'")
        self._how = device, time_limit, memory
        self._device, self._limit = device, time_limit
        self._counted = (float("-inf"), 0)
        self._happened: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._flight: dict[int, Future] = {}
        self._began: dict[int, tuple[float, str]] = {}
        self._heard: dict[int, float] = {}
        self._client: Client = _connect(where.partition(":")[2])
        self._client.subscribe_topic(TOPIC, self._hear)

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        task = self._client.submit(
            prepare_task,
            *self._how,
            dict(model),
            inputs,
            list(stacks),
            pure=False,
            resources=self._resources,
        )
        began = time.monotonic()
        while not task.done():
            if stopped():
                raise StoppedError
            time.sleep(0.05)
            if not self._threads() and time.monotonic() - began > NO_WORKERS:
                said = f"the Dask scheduler had no workers for {NO_WORKERS:.0f} seconds; start some"
                return {"error": said, "exit_code": 5}
        try:
            answer: dict[str, Any] = json.loads(task.result())
        except Exception as error:
            return {"error": f"loading on a Dask worker failed: {_said(error)}", "exit_code": 5}
        return answer

    def _threads(self) -> int:
        """Of all workers; asked for once a second, since asking takes a message there and back."""
        if self._client.status != "running":
            raise WorkerError("the Dask scheduler went away; start it again and `falsefloor resume` the run.")
        now = time.monotonic()
        if now - self._counted[0] > 1.0:
            self._counted = now, sum(self._client.nthreads().values())
        return self._counted[1]

    @property
    def _resources(self) -> dict[str, float] | None:
        return {"GPU": 1} if self._device.startswith("cuda") else None

    @property
    def capacity(self) -> int:
        return max(AHEAD, AHEAD * self._threads()) - len(self._flight)

    def submit(self, unit: int, spec: Mapping[str, Any]) -> None:
        future = self._client.submit(
            unit_task, unit, *self._how, dict(spec), pure=False, retries=RETRIES, resources=self._resources
        )
        self._flight[unit] = future
        future.add_done_callback(lambda done, unit=unit: self._done(unit, done))

    def _done(self, unit: int, future: Future) -> None:
        """Called by Dask's own thread."""
        try:
            if future.status == "finished":
                told = future.result()
                if told[:1] == _RESULT:
                    self._happened.put(Finished(unit, unpack(told[1:])))
                else:
                    self._happened.put(Lost(unit, told[2:].decode(), final=told[1:2] == b"F"))
            else:
                why = _said(future.exception()) if future.status == "error" else ""
                self._happened.put(Lost(unit, why))
        except Exception as error:
            self._happened.put(Lost(unit, _said(error)))

    def _hear(self, event: tuple[float, Any]) -> None:
        """Progress, logged by workers as events of our topic."""
        _, said = event
        unit = said["unit"]
        self._heard[unit] = time.monotonic()
        if said["event"] == "started":
            self._began[unit] = (time.monotonic(), said["worker"])
            self._happened.put(Started(unit))
        else:
            radius = [float(value) for value in said["radius"]]
            self._happened.put(Progressed(unit, said["done"], said["total"], radius))

    def events(self, timeout: float) -> list[Event]:
        found: list[Event] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._happened.get(timeout=timeout))
            while True:
                found.append(self._happened.get_nowait())
        for event in found:
            if isinstance(event, Finished | Lost):
                self._forget(event.unit)
        return found + self._overdue()

    def _overdue(self) -> list[Event]:
        """Units past their time limit: their worker is restarted, for no task can be stopped from outside."""
        now, lost = time.monotonic(), []
        for unit, (began, worker) in list(self._began.items()):
            # the worker's own executor ends it first, unless nothing is done there at all any more
            limit = self._limit and self._limit + LATE
            late = overdue(limit, began=began, heard=self._heard.get(unit, began), now=now)
            if late:
                self._forget(unit)
                self._client.restart_workers([worker], raise_for_error=False)
                lost.append(Lost(unit, late, final=True))
        return list(lost)

    def _forget(self, unit: int) -> None:
        self._began.pop(unit, None)
        self._heard.pop(unit, None)
        future = self._flight.pop(unit, None)
        if future is not None:
            future.release()

    def cancel(self) -> None:
        self._client.cancel(list(self._flight.values()), force=True)
        for unit in list(self._flight):
            self._happened.put(Lost(unit, "cancelled"))

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told goodbye
            self._client.close(timeout=5)
        cluster = self._client.cluster
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close(timeout=5)


def _connect(address: str) -> Client:
    """A client of a running scheduler; without an address, of a cluster on this machine that ends with it."""
    import distributed

    for attempt in range(ATTEMPTS):
        try:
            if address:
                return distributed.Client(address, timeout=20, name=TOPIC)
            # Loopback only, one thread a process: torch's own threads share the cores otherwise.
            return distributed.Client(
                n_workers=os.cpu_count() or 1,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                name=TOPIC,
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            # RuntimeError: a worker that dies while the cluster starts takes the start with it.
            if address or attempt == ATTEMPTS - 1:
                place = address or "this machine"
                raise WorkerError(f"no Dask scheduler answers at {place}: {error}") from error
    raise AssertionError("unreachable")


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error is not None else "lost"


_HERE = threading.local()
"""What a thread of a worker keeps between units: an executor, whose processes end with the worker."""
_LOST = b"L"
_RESULT = b"R"


def _executor(device: str, limit: float, memory: int) -> LocalExecutor:
    kept: dict[tuple[str, float, int], LocalExecutor] = vars(_HERE).setdefault("executors", {})
    key = device, limit, memory
    if key not in kept:
        kept[key] = LocalExecutor([device], time_limit=limit, memory=memory)
    return kept[key]


def prepare_task(
    device: str, limit: float, memory: int, model: dict[str, Any], inputs: str, stacks: list[Any]
) -> str:
    """Runs on a worker: what `Executor.prepare` answers, as JSON."""
    executor = _executor(device, limit, memory)
    return json.dumps(executor.prepare(model, inputs, stacks, stopped=lambda: False))


def unit_task(unit: int, device: str, limit: float, memory: int, spec: dict[str, Any]) -> bytes:
    """Runs on a worker: one unit, packed, or why its process went away. What it does to its process reaches
    neither the worker nor another model."""
    from distributed import get_worker

    worker, executor, last = get_worker(), _executor(device, limit, memory), 0.0
    executor.submit(unit, spec)
    while True:
        for event in executor.events(1.0):
            if isinstance(event, Started):
                worker.log_event(TOPIC, {"event": "started", "unit": unit, "worker": worker.address})
            elif isinstance(event, Finished):
                return _RESULT + pack(event.result)
            elif isinstance(event, Lost):
                return (_LOST + b"F" if event.final else _LOST + b"A") + event.reason.encode()
            elif time.monotonic() - last >= SELDOM:
                last = time.monotonic()
                said = {"event": "progress", "unit": unit, "done": event.done, "total": event.total}
                worker.log_event(TOPIC, {**said, "radius": finite(list(event.radius))})
