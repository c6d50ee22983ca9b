"""How often the run that is watched is looked at: not more than its size, this machine and the line allow.

The accelerator beside which it computes is asked of its driver, by `nvidia-ml-py` where it is installed (the
extra `gpu`) and by `nvidia-smi` elsewhere: loading torch to ask would cost seconds and a context on the
device.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textual.app import App
from textual.driver import Driver

from falsefloor.checks.verdicts import Place
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.apart import apart
from falsefloor.tui.snapshot import RunWatch, Snapshot
from falsefloor.tui.start import over_ssh

POLL, FAR = 0.1, 0.5
"""Seconds between looks at a live run, here and over SSH, where every change is bytes on a line."""
LINE = 10_000.0
"""Characters a second that a live run may send over SSH: a look is followed by a pause that pays for it."""
MACHINE = 2.0
"""Seconds between looks at the accelerator."""
ELSEWHERE = 1.0
"""Seconds between looks where another page stands on the table."""
SHARE, LONGEST = 25.0, 2.0
"""A look is followed by a pause this many times its processor time, and of so many seconds at most."""


class Lookout:
    """Takes snapshots of one run at a time, in a thread, and hands each new one to `seen`.

    asked: whether single inputs are to be shown, and of which subject.
    """

    def __init__(
        self,
        app: App[Any],
        *,
        asked: Callable[[], tuple[bool, Place | None]],
        seen: Callable[[Snapshot], None],
    ) -> None:
        self._app, self._asked, self._seen = app, asked, seen
        self._watch: RunWatch | None = None
        self._looking = self._asking = False
        self._sent = 0
        self.next = 0.0
        """when it is looked again, by the monotonic clock"""
        self.machine = ""
        """what the run's accelerator is at, where there is one and the run is under way"""

    def begin(self, driver: Driver | None) -> None:
        far = over_ssh(os.environ)
        self._app.set_interval(FAR if far else POLL, self.look)
        self._app.set_interval(MACHINE, self._look_at_machine)
        if far and driver is not None:
            self._count(driver)

    def _count(self, driver: Driver) -> None:
        """Count what goes over the line, so that looks at a run that moves a lot become rarer."""
        write = driver.write

        def counted(data: str) -> None:
            self._sent += len(data)
            write(data)

        driver.write = counted  # type: ignore[method-assign]

    @property
    def run(self) -> RunDir | None:
        return self._watch.run if self._watch else None

    def watch(self, run: RunDir) -> None:
        """Another run from now on."""
        self.close()
        self._watch, self._looking = RunWatch(run), False
        self.look(now=True)

    def look(self, *, now: bool = False) -> None:
        """Take a snapshot, unless one is being taken or it is too early and not asked for now."""
        watch = self._watch
        if now:
            self.next = 0.0
        if watch is None or self._looking or time.monotonic() < self.next:
            return
        self._looking = True
        per_input, within = self._asked()

        def take() -> tuple[Snapshot | None, float]:
            began = time.thread_time()
            taken = watch.take(per_input=per_input, within=within)
            return taken, time.thread_time() - began

        apart(self._app, take, lambda came: self._taken(watch, *came))

    def _taken(self, watch: RunWatch, taken: Snapshot | None, cost: float) -> None:
        if watch is not self._watch:
            return
        self._looking = False
        sent, self._sent = self._sent, 0
        covered = ELSEWHERE if len(self._app.screen_stack) > 1 else 0.0
        began = time.thread_time()
        if taken is not None:
            self._seen(taken)
        cost += time.thread_time() - began
        self.next = time.monotonic() + max(min(LONGEST, SHARE * cost), sent / LINE, covered)

    def _look_at_machine(self) -> None:
        snapshot: Snapshot | None = getattr(self._app, "snapshot", None)
        info = snapshot.info if snapshot else None
        if info is None or not info.device.startswith("cuda") or info.status != "running":
            self.machine = ""
            return

        def told(machine: str) -> None:
            self.machine, self._asking = machine, False

        if not self._asking:
            self._asking = True
            apart(self._app, lambda: busy(info.device), told)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


ASK = "--query-gpu=name,utilization.gpu,memory.used,memory.total"
WAIT = 3.0
"""Seconds that the driver may take to answer."""


def busy(device: str) -> str:
    """Of a run's device, such as cuda:1: "cuda:1 H100 97 % 12/80 GB"; empty where nothing tells."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        return ""
    found = _library(int(number or 0)) or _command(int(number or 0))
    if found is None:
        return ""
    name, used, full, of = found
    short = name.replace("NVIDIA ", "").replace("GeForce ", "").partition(" ")[0].partition("-")[0]
    return f"{device} {short} {used:.0f} % {full / 1e9:.0f}/{of / 1e9:.0f} GB"


Told = tuple[str, float, float, float]
"""Name, percent of its time at work, bytes taken, bytes there."""


def _library(number: int) -> Told | None:
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(number)
        memory = pynvml.nvmlDeviceGetMemoryInfo(card)
        name = pynvml.nvmlDeviceGetName(card)
        work = pynvml.nvmlDeviceGetUtilizationRates(card).gpu
        return str(name), float(work), float(memory.used), float(memory.total)
    return None


def _command(number: int) -> Told | None:
    words = ["nvidia-smi", f"--id={number}", ASK, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, check=True)
        name, work, used, total = (part.strip() for part in done.stdout.strip().split("\n")[0].split(","))
        return name, float(work), float(used) * 2**20, float(total) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
