"""Runs whose estimator writes down each time it computes, so that work done twice cannot hide."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import ENDED
from falsefloor.study.file import study_from
from falsefloor.study.study import Study
from falsefloor.worker import launch

MARK = "FALSEFLOOR_TEST_MARK"
PLUGIN = '''
"""An estimator that computes a little, and says so in a file before it does."""
import os, time
from dataclasses import dataclass
from typing import ClassVar
import torch
from falsefloor.api import Estimate, option

@dataclass(frozen=True)
class Traced:
    """A radius from the input's own generator; far too large, so that it is refuted and repaired."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("linf", "l2"))
    seconds: float = option(0.03, help="how long it takes", ge=0)
    behave: str = option("well", help="well, hang or crash at the second input")

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        who = [f"{g.initial_seed()} {type(subject).__name__}" for g in context.generators]
        with open(os.environ["TRACE"], "a") as trace:
            for one in who:
                trace.write(f"{time.time()} {one}\\n")
        second = bool((inputs.double().flatten(1).sum(1) == SECOND).any())
        if second and self.behave == "crash":
            os._exit(7)
        if second and self.behave == "hang":
            time.sleep(600)
        for step in range(3):
            time.sleep(self.seconds / 3)
            context.progress(step + 1, 3)
        points = inputs.detach().clone().requires_grad_(True)
        logits = subject(points)
        torch.autograd.grad(logits.sum(), points)
        drawn = [torch.rand((), generator=g, dtype=torch.float64) for g in context.generators]
        radius = 0.3 + 0.1 * torch.stack(drawn)
        return Estimate(radius=radius, evidence={"who": who, "sampling_radius": torch.ones(len(who))})
'''


def install(site: Path) -> None:
    """The plugin as an installer would leave it in a folder of the path."""
    from falsefloor.models.digits import DigitsInputs, DigitsModel

    second = float(DigitsInputs()("1-1", DigitsModel()("mlp")).inputs.double().sum())
    site.mkdir()
    (site / "traced_plugin.py").write_text(PLUGIN.replace("SECOND", repr(second)))
    info = site / "traced_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: traced-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[falsefloor.estimators]\ntraced = traced_plugin:Traced\n")
    (info / "RECORD").write_text("traced_plugin.py,,\n")


def study(**changes: Any) -> Study:
    given = {
        "models": ["digits:mlp"],
        "inputs": "digits:0-5",
        "maskers": ["staircase:c=255"],
        "estimators": ["traced"],
        "ceiling": False,
        "chunk": 1,
        "recover": "on",
    }
    return study_from({**given, **changes})


def ended(run: RunDir, *, limit: float = 120.0) -> str:
    """How it ended. limit: seconds in which nothing may happen; machines are shared."""
    deadline, last = time.monotonic() + limit, None
    while time.monotonic() < deadline:
        with RunReader(run) as reader:
            info = reader.info()
        if info.status in ENDED:
            return info.status
        if (now := (info.status, info.units_done)) != last:
            deadline, last = time.monotonic() + limit, now
        time.sleep(0.05)
    raise AssertionError(f"in {run.id} nothing happened for {limit:g} s: {run.log.read_text()}")


def stored(run: RunDir) -> dict[str, float]:
    """Key of every unit that is stored to when it was."""
    with RunReader(run) as reader:
        return {u["key"]: u["finished"] for u in reader.units() if u["status"] == "ok"}


def numbers(run: RunDir) -> list[tuple[Any, ...]]:
    """Everything that must be the same whenever the same study is computed again."""
    with RunReader(run) as reader:
        kept = (
            "masker",
            "name",
            "input",
            "radius",
            "verdict",
            "evidence",
            "queries",
            "warnings",
            "status",
            "error",
        )
        found = [tuple(e[name] for name in kept) for e in reader.estimates()]
        seen = [(o["input"], o["agreement"], o["facts"]) for o in reader.observations()]
    return [*found, *seen]


@dataclass(frozen=True)
class Trace:
    """When which input was computed."""

    path: Path

    def lines(self) -> Iterator[tuple[float, str]]:
        for line in self.path.read_text().splitlines():
            at, who = line.split(" ", 1)
            yield float(at), who

    def repeated(self, run: RunDir) -> list[str]:
        """Inputs that were computed again although their unit was stored."""
        with RunReader(run) as reader:
            finished = {u["key"]: u["finished"] for u in reader.units()}
            units = {e["evidence"]["who"]: finished[e["unit"]] for e in reader.estimates() if e["evidence"]}
        return [who for at, who in self.lines() if who in units and at > units[who]]


def alive(mark: str) -> list[int]:
    """Processes that were started with this mark in their environment, or forked in a run's own session."""
    found, runs = [], {process.pid for process in launch._STARTED}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if not entry.name.isdigit():
                continue
            state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            marked = f"{MARK}={mark}".encode() in (entry / "environ").read_bytes()
            if marked or (int(session) in runs and state != "Z"):
                found.append(int(entry.name))
    return found


def gone(mark: str, *, limit: float = 20.0, but: Collection[int] = ()) -> bool:
    """Whether nothing of these runs is left, within a while."""
    deadline = time.monotonic() + limit
    while {*alive(mark)} - {*but}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
