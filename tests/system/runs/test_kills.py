"""Runs killed at random moments and resumed: nothing lost, nothing twice, the same bits, no orphan."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from traced import Trace, alive, ended, gone, kill, numbers, stored, study

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import resume, start

LINUX = Path("/proc/self/environ").exists()
pytestmark = pytest.mark.skipif(not LINUX, reason="finds processes by /proc")


def victims(mark: str, supervisor: int, victim: str) -> list[int]:
    """Processes to choose from: the supervisor itself, or what computes for it."""
    if victim == "supervisor":
        return [supervisor]
    word = {"child": b"falsefloor.worker.child", "dask worker": b"multiprocessing"}[victim]
    found = []
    for pid in alive(mark):
        try:
            if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def killed(run: RunDir, mark: str, victim: str, *, after: float, chance: random.Random) -> dict[str, float]:
    """Kill once, ``after`` seconds into what is left of the run; what was stored just before."""
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        time.sleep(min(0.01, after))
    with RunReader(run) as reader:
        supervisor = int(reader.meta().get("pid", 0))
    before = stored(run)
    found = [pid for pid in victims(mark, supervisor, victim) if pid]
    if found:
        kill(chance.choice(found))
    return before


def survive(
    mark: str, trace: Trace, folder: Path, *, whole: RunDir, span: float, seed: int, on: str = "local"
) -> str:
    """One run with one to three kills, resumed until it is done. Returns what was killed, in words."""
    chance = random.Random(seed)
    trace.path.write_text("")
    run, _ = start(study(), folder, on=on)
    before: dict[str, float] = {}
    story = []
    span *= 2 if on == "dask" else 1  # a cluster takes as long to start as the rest
    for _ in range(chance.choice((1, 1, 2, 3))):
        victim = chance.choice(("supervisor", "dask worker" if on == "dask" else "child"))
        after = chance.uniform(0.0, span)
        before |= killed(run, mark, victim, after=after, chance=chance)
        story.append(f"{victim} at {after:.2f} s with {len(before)} stored")
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
    assert numbers(run) == numbers(whole), said
    assert gone(mark), said
    return said


@pytest.fixture
def whole(mark: str, trace: Trace, tmp_path: Path) -> tuple[RunDir, float]:
    """The same study, never disturbed, and how long it took."""
    began = time.monotonic()
    run, _ = start(study(), tmp_path / "whole")
    assert ended(run) == "done", run.log.read_text()
    span = time.monotonic() - began
    assert gone(mark)
    with RunReader(run) as reader:
        kinds = {u["kind"] for u in reader.units()}
    assert kinds == {"observe", "estimate", "follow-up"}
    return run, span


@pytest.mark.slow
def test_a_few_runs_survive_kills_at_random_moments(
    mark: str, trace: Trace, whole: tuple[RunDir, float], tmp_path: Path
) -> None:
    for seed in (1, 2):
        survive(mark, trace, tmp_path / "store", whole=whole[0], span=whole[1], seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 10))
def test_two_hundred_runs_survive_kills_at_random_moments(
    mark: str, trace: Trace, whole: tuple[RunDir, float], tmp_path: Path, first: int
) -> None:
    pytest.importorskip("distributed")
    for seed in range(first, first + 10):
        on = "dask" if seed % 4 == 0 else "local"
        said = survive(mark, trace, tmp_path / "store", whole=whole[0], span=whole[1], seed=seed, on=on)
        print(said, flush=True)
