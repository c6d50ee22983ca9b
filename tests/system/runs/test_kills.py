"""Runs killed at random moments and resumed: nothing lost, nothing twice, the same bits, no orphan."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from traced import Trace, alive, ended, gone, kill, numbers, stored, study
from warm import Forker

from falsefloor.plugins.guard import below
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import ENDED
from falsefloor.worker.launch import resume, start

UNITS = 18
"""Of the study."""
LINUX = Path("/proc/self/environ").exists()
pytestmark = pytest.mark.skipif(not LINUX, reason="finds processes by /proc")


@pytest.fixture
def warmed(mark: str) -> Iterator[int]:
    """Processes begin with torch imported, by forks of one that carries the mark as they do."""
    forker = Forker()
    with forker.used():
        yield forker.pid
    forker.close()


def victims(mark: str, supervisor: int, victim: str) -> list[int]:
    """Processes to choose from: the supervisor itself, or what computes for it."""
    if victim == "supervisor":
        return [supervisor]
    if victim == "child":
        return below(supervisor)
    found = []
    for pid in alive(mark):
        with suppress(OSError):
            if b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def killed(run: RunDir, mark: str, victim: str, *, when: Moment, chance: random.Random) -> dict[str, float]:
    """Kill once, at that moment or where the run has ended before; what was stored just before."""
    deadline = time.monotonic() + when.after
    while len(before := stored(run)) < when.units and not over(run):
        time.sleep(0.02)
    while not when.units and time.monotonic() < deadline and not (before or over(run)):
        time.sleep(0.01)
        before = stored(run)
    time.sleep(when.later)
    with RunReader(run) as reader:
        supervisor = int(reader.meta().get("pid", 0))
    before = stored(run)
    found = [pid for pid in victims(mark, supervisor, victim) if pid]
    if found:
        kill(chance.choice(found))
    return before


def over(run: RunDir) -> bool:
    with RunReader(run) as reader:
        return reader.info().status in ENDED


@dataclass(frozen=True)
class Moment:
    """When so many units are stored, or so many seconds into what comes before any is; and a little later."""

    units: int
    after: float
    later: float

    @staticmethod
    def drawn(chance: random.Random, *, first: float) -> Moment:
        units = max(0, chance.randrange(-UNITS // 2, UNITS))
        return Moment(units, chance.uniform(0.0, first), chance.uniform(0.0, 0.2))

    def __str__(self) -> str:
        return f"at {self.units} units" if self.units else f"at {self.after:.2f} s"


def survive(
    mark: str, forker: int, trace: Trace, folder: Path, *, whole: Whole, seed: int, on: str = "local"
) -> str:
    """One run with one to three kills, resumed until it is done. Returns what was killed, in words."""
    chance = random.Random(seed)
    trace.path.write_text("")
    run, _ = start(study(), folder, on=on)
    before: dict[str, float] = {}
    story = []
    first = whole.first * (3 if on == "dask" else 1)  # a cluster starts first
    for _ in range(chance.choice((1, 1, 2, 3))):
        victim = chance.choice(("supervisor", "dask worker" if on == "dask" else "child"))
        when = Moment.drawn(chance, first=first)
        before |= killed(run, mark, victim, when=when, chance=chance)
        story.append(f"{victim} {when} with {len(before)} stored")
        if victim == "supervisor":
            time.sleep(0.05)
            with RunReader(run) as reader:
                status = reader.info().status
            if status == "lost":
                resume(run)
    said = f"seed {seed}, {on}: {'; '.join(story)}"
    while (status := ended(run)) == "lost" or (status == "failed" and len(story) > 1):
        # "failed": two kills hit the loading of the model, and a habit is not tried for ever
        resume(run)
    with RunReader(run) as reader:
        failed = [(u["kind"], u["first"], u["error"]) for u in reader.units() if u["status"] != "ok"]
    if status == "done" and failed:
        # two kills hit the same unit: it is failed, as a unit that takes its process down should be
        assert len(story) > 1, (said, failed)
        resume(run)
        status = ended(run)
    assert status == "done", (said, run.log.read_text())
    after_all = stored(run)
    assert {key: after_all.get(key) for key in before} == before, said
    assert trace.repeated(run) == [], said
    assert numbers(run) == numbers(whole.run), said
    assert gone(mark, but={forker}), said
    return said


class Whole(NamedTuple):
    run: RunDir
    first: float


@pytest.fixture
def whole(mark: str, warmed: int, trace: Trace, tmp_path: Path) -> Whole:
    """The same study, never disturbed, and how long it took until the first unit was stored."""
    began = time.monotonic()
    run, _ = start(study(), tmp_path / "whole")
    while not (stored(run) or over(run)):
        time.sleep(0.01)
    first = time.monotonic() - began
    assert ended(run) == "done", run.log.read_text()
    assert gone(mark, but={warmed})
    with RunReader(run) as reader:
        units = reader.units()
    assert {u["kind"] for u in units} == {"observe", "estimate", "follow-up"} and len(units) == UNITS
    return Whole(run, first)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 10))
def test_two_hundred_runs_survive_kills_at_random_moments(
    mark: str, warmed: int, trace: Trace, whole: Whole, tmp_path: Path, first: int
) -> None:
    pytest.importorskip("distributed")
    for seed in range(first, first + 10):
        on = "dask" if seed % 4 == 0 else "local"
        print(survive(mark, warmed, trace, tmp_path / "store", whole=whole, seed=seed, on=on), flush=True)
