"""Plugins that hang or crash, full disks, users who ask at the worst moment: what is shown is true."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from traced import Trace, ended, gone, numbers, stored, study

from falsefloor.cli.ending import ending
from falsefloor.errors import StoreError
from falsefloor.store.files import damage
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import resume, start

SLOW = """
import time, torch
def build():
    open(__file__ + ".begun", "x").close()
    time.sleep(300)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def meta(run: RunDir, key: str) -> object:
    with RunReader(run) as reader:
        return reader.meta().get(key)


def until_stored(run: RunDir, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(stored(run)) < count:
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.01)


def test_a_plugin_that_hangs_or_crashes_fails_its_own_units_alone(
    mark: str, trace: Trace, warm: None, tmp_path: Path
) -> None:
    wrong = study(
        inputs="digits:0-2",
        estimators=["traced:behave=hang", "traced:behave=crash"],
        recover="off",
        time_limit=3.0,
    )
    run, _ = start(wrong, tmp_path)
    assert not gone(mark, limit=0)
    assert ended(run) == "done"
    with RunReader(run) as reader:
        found = {(e["name"], e["input"]): (e["status"], e["error"]) for e in reader.estimates()}
        events = Counter(event["kind"] for event in reader.events())
    assert {key for key, (status, _) in found.items() if status == "failed"} == {
        ("traced:behave=hang", 1),
        ("traced:behave=crash", 1),
    }
    assert "time limit of 3 seconds" in str(found["traced:behave=hang", 1][1])
    assert "exited with 7" in str(found["traced:behave=crash", 1][1])
    assert events["lost"] == 3  # the crash is tried once more: an accident is not the unit's fault
    assert ending(run).code == 1
    assert gone(mark)


@pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("kill", "lost")])
def test_a_model_that_takes_long_to_load_does_not_hold_up_the_user(
    mark: str, warm: None, tmp_path: Path, wish: str, end: str
) -> None:
    (tmp_path / "net.py").write_text(SLOW)
    run, _ = start(study(models=[f"python:{tmp_path / 'net.py'}:build"]), tmp_path / "store")
    deadline = time.monotonic() + 60
    while not (tmp_path / "net.py.begun").exists():
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.01)
    run.command(wish)
    assert ended(run, limit=30) == end
    assert gone(mark)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_its_reason_and_harms_nothing(
    mark: str, trace: Trace, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits another process's files on Linux only")
    run, _ = start(study(estimators=["traced:seconds=0.3"]), tmp_path)
    until_stored(run, 2)
    size = (run.path / "run.db-wal").stat().st_size
    resource.prlimit(int(str(meta(run, "pid"))), resource.RLIMIT_FSIZE, (size, size))
    assert ended(run) in ("lost", "failed")
    before = stored(run)
    assert "cannot write" in run.log.read_text() + str(meta(run, "error"))
    assert "Free some space" in run.log.read_text() + str(meta(run, "error"))
    assert damage(run) is None
    assert gone(mark)
    resume(run)
    assert ended(run) == "done"
    after = stored(run)
    assert {key: after[key] for key in before} == before
    assert trace.repeated(run) == []


@pytest.mark.slow
def test_two_who_resume_at_once_do_not_compute_twice(mark: str, trace: Trace, tmp_path: Path) -> None:
    whole, _ = start(study(recover="off"), tmp_path)
    run, _ = start(study(recover="off"), tmp_path)
    until_stored(run, 1)
    run.command("cancel")
    assert {ended(whole), ended(run)} == {"done", "cancelled"}
    while run.is_alive():
        time.sleep(0.01)
    trace.path.write_text("")

    def go_on() -> None:
        with contextlib.suppress(StoreError):  # "is being computed already" is the right answer for one
            resume(run)

    both = [threading.Thread(target=go_on) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert ended(run) == "done"
    assert numbers(run) == numbers(whole)
    assert max(Counter(who for _, who in trace.lines()).values()) == 1
