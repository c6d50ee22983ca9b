"""What benchmarks/runs.py measures with: an estimator that only waits, a child that answers at once, readers.

python benchmarks/runs_parts.py answer FD DEVICE     a compute child whose units cost nothing
python benchmarks/runs_parts.py read RUN SECONDS     a viewer that polls ten times a second
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from falsefloor.store.records import EstimateResult, UnitResult, pack
from falsefloor.worker.executor import Event, Executor, Finished, Stopped

PLUGIN = '''
import time
from dataclasses import dataclass
from typing import ClassVar
import torch
from falsefloor.api import Estimate, option

@dataclass(frozen=True)
class Wait:
    """A radius after a wait: what a unit costs beside its estimator shows as it is."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("linf", "l2"))
    seconds: float = option(0.05, help="how long", ge=0)
    which: int = option(0, help="tells cells apart", ge=0)

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        time.sleep(self.seconds)
        return Estimate(radius=torch.full((len(inputs),), 0.01))
'''


def install(site: Path) -> None:
    """The estimator as an installer would leave it in a folder of the path."""
    site.mkdir()
    (site / "waiting.py").write_text(PLUGIN)
    info = site / "waiting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[falsefloor.estimators]\nwait = waiting:Wait\n")
    (info / "RECORD").write_text("waiting.py,,\n")


class Unobserved:
    """An executor whose observations cost nothing, so that estimates alone are timed."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._done: deque[Finished] = deque()

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        return self._inner.prepare(model, inputs, stacks, stopped=stopped)

    @property
    def capacity(self) -> int:
        return self._inner.capacity

    def submit(self, unit: int, spec: Mapping[str, Any]) -> None:
        if spec["kind"] == "observe":
            self._done.append(Finished(unit, UnitResult("")))
        else:
            self._inner.submit(unit, spec)

    def events(self, timeout: float) -> list[Event]:
        found: list[Event] = list(self._done)
        self._done.clear()
        return found + self._inner.events(0.0 if found else timeout)

    def cancel(self) -> None:
        self._inner.cancel()

    def close(self) -> None:
        self._inner.close()


def answer(fd: int) -> None:
    """The child's side of the protocol, with one ready estimate for every unit."""
    pipe = Connection(fd)
    while True:
        try:
            command = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)
        if command["do"] == "prepare":
            facts = {"count": 500, "training": False}
            said = {"event": "prepared", "facts": facts, "fingerprint": {}}
            pipe.send_bytes(
                b"J" + json.dumps(said | {"device": "cpu", "threads": 1, "versions": {}}).encode()
            )
        elif command["do"] == "unit":
            first, stop = command["spec"]["chunk"]
            evidence = {"lipschitz": 1.5, "queries_left": 0.0, "sampling_radius": 0.3}
            rows = [EstimateResult(n, 3, 3, radius=0.01, evidence=evidence) for n in range(first, stop)]
            result = UnitResult("", seconds=0.0, estimates=rows if "estimator" in command["spec"] else ())
            pipe.send_bytes(b"R" + struct.pack("<q", command["unit"]) + pack(result))


def read(path: Path, seconds: float) -> None:
    """What the app asks of a run, ten times a second; prints how many times it looked."""
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir

    end, looks = time.monotonic() + seconds, 0
    with RunReader(RunDir(path)) as reader:
        while time.monotonic() < end:
            if reader.changed():
                reader.info()
                reader.cells()
            looks += 1
            time.sleep(0.1)
    print(looks)


if __name__ == "__main__":
    if sys.argv[1] == "answer":
        answer(int(sys.argv[2]))
    else:
        read(Path(sys.argv[2]), float(sys.argv[3]))
