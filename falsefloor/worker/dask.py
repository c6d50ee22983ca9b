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
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from falsefloor.errors import UsageError, WorkerError
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

if TYPE_CHECKING:
    from distributed import Client, Future

TOPIC = "falsefloor"
AHEAD = 8
"""Units in flight for each thread, so that no worker waits for the driver."""
NO_WORKERS = 300.0
"""Seconds to wait for a first worker: those of a batch system come when their job starts."""
ATTEMPTS = 3
"""Starts of a cluster on this machine."""
RETRIES = 3
"""Workers that may die under one unit before it counts as lost."""


class DaskExecutor:
    """`falsefloor.worker.executor.Executor` over a Dask client.

    where: "dask" or "dask:ADDRESS". devices: on CUDA, workers must offer the resource GPU, one a card.
    """

    def __init__(self, where: str, *, device: str = "auto", time_limit: float = 0.0) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise UsageError("--on dask needs Dask: pip install 'falsefloor[dask]'")
        self._device = device
        self._limit = time_limit
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
            self._device,
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
            unit_task, unit, self._device, dict(spec), pure=False, retries=RETRIES, resources=self._resources
        )
        self._flight[unit] = future
        future.add_done_callback(lambda done, unit=unit: self._done(unit, done))

    def _done(self, unit: int, future: Future) -> None:
        """Called by Dask's own thread."""
        try:
            if future.status == "finished":
                self._happened.put(Finished(unit, unpack(future.result())))
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
            late = overdue(self._limit, began=began, heard=self._heard.get(unit, began), now=now)
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


_SESSIONS: dict[str, Any] = {}
"""What a worker process keeps between units, by device."""


def _session(device: str) -> Any:
    import torch

    from falsefloor.engine.session import Session

    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in _SESSIONS:
        torch.set_num_threads(max(1, int(os.environ.get("FALSEFLOOR_THREADS", "1"))))
        _SESSIONS[device] = Session(device=torch.device(device))
    return _SESSIONS[device]


def prepare_task(device: str, model: dict[str, Any], inputs: str, stacks: list[Any]) -> str:
    """Runs on a worker: what `Executor.prepare` answers, as JSON."""
    from falsefloor.worker.child import prepared

    return json.dumps(prepared(_session(device), {"model": model, "inputs": inputs, "stacks": stacks}))


def unit_task(unit: int, device: str, spec: dict[str, Any]) -> bytes:
    """Runs on a worker: one unit, packed."""
    from distributed import get_worker

    from falsefloor.engine.unit import run_unit
    from falsefloor.jsonable import finite
    from falsefloor.store.records import pack

    worker = get_worker()
    worker.log_event(TOPIC, {"event": "started", "unit": unit, "worker": worker.address})
    last = time.monotonic()

    def sink(done: int, total: int, series: dict[str, list[float]]) -> None:
        nonlocal last
        if time.monotonic() - last >= 0.5:
            last = time.monotonic()
            radius = finite(series.get("radius", []))
            said = {"event": "progress", "unit": unit, "done": done, "total": total, "radius": radius}
            worker.log_event(TOPIC, said)

    return pack(run_unit(spec, _session(device), sink))
