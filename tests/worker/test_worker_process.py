"""Real supervisors and compute children, killed for real."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_runs import ended, numbers, small
from warm import Forker

from falsefloor.cli.ending import ending
from falsefloor.errors import StoreError, UsageError
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.worker.launch import resume, start

Launch = Callable[..., RunDir]


def meta(run: RunDir) -> dict[str, Any]:
    with RunReader(run) as reader:
        return reader.meta()


def units(run: RunDir) -> list[dict[str, Any]]:
    with RunReader(run) as reader:
        return reader.units()


def wait_for_units(run: RunDir, count: int, *, limit: float = 30.0) -> None:
    deadline = time.monotonic() + limit
    while sum(u["status"] == "ok" for u in units(run)) < count:
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.01)


def later(run: RunDir, *, by: float) -> None:
    """As if so many seconds had passed since all that it says of itself."""
    with RunJudge() as judge, closing(RunWriter(run.db, judge)) as writer:
        kept = writer.meta()
        writer.set_meta(**{name: kept[name] - by for name in ("created", "started", "ended")})


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.usefixtures("cold")
def test_a_run_ends_done_and_is_one_file(launched: Launch) -> None:
    run = launched()
    assert ended(run) == "done"
    assert {u["status"] for u in units(run)} == {"ok"}
    assert sorted(p.name for p in run.path.iterdir()) == [
        "commands",
        "lock",
        "run.db",
        "study.toml",
        "worker.log",
    ]
    assert ending(run).code == 0


def test_the_chunk_does_not_change_the_numbers(launched: Launch) -> None:
    whole, single = launched(), launched(chunk=1)
    assert ended(whole) == ended(single) == "done"
    assert numbers(whole) == numbers(single)


BUSY = {"chunk": 1, "inputs": "digits:0-1", "estimators": ["clever:batches=20,samples=50,radius=0.3"]}


@pytest.fixture(scope="module")
def unbroken(forker: Forker, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What a busy run comes to where nobody is killed."""
    with forker.used():
        run, _ = start(small(**BUSY), tmp_path_factory.mktemp("unbroken"))
        assert ended(run) == "done"
    return numbers(run)


@pytest.mark.parametrize("victim", ["supervisor", "child"])
def test_a_kill_loses_nothing_and_repeats_nothing(
    launched: Launch, victim: str, unbroken: list[tuple[Any, ...]]
) -> None:
    run = launched(**BUSY)
    wait_for_units(run, 2)
    supervisor = int(meta(run)["pid"])
    (child, *_) = children(supervisor)
    before = {u["key"]: u["finished"] for u in units(run) if u["status"] == "ok"}
    os.kill(supervisor if victim == "supervisor" else child, signal.SIGKILL)
    if victim == "supervisor":
        assert ended(run) == "lost"
        assert ending(run).code == 5
        resume(run)
    assert ended(run) == "done"
    after = {u["key"]: u["finished"] for u in units(run)}
    assert {key: after[key] for key in before} == before
    assert numbers(run) == unbroken
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline, "an orphan goes on computing"
        time.sleep(0.05)


def test_cancel_ends_a_run_and_resume_completes_it(launched: Launch) -> None:
    run = launched(estimators=["clever:batches=20,samples=100,radius=0.3"], chunk=1)
    wait_for_units(run, 1)
    run.command("cancel")
    assert ended(run) == "cancelled"
    assert ending(run).code == 130
    with RunReader(run) as reader:
        cut = reader.info()
    assert 0 < cut.units_done < cut.units_total == 16
    assert cut.units() == {
        "done": cut.units_done,
        "total": 16,
        "failed": 0,
        "cancelled": 16 - cut.units_done,
        "planned": 0,
    }
    later(run, by=3600.0)  # nobody works meanwhile: no part of the duration
    with RunReader(run) as reader:
        cut = reader.info()
    resumed = time.time()
    assert resume(run) == 16 - cut.units_done
    assert ended(run) == "done"
    assert {u["status"] for u in units(run)} == {"ok"}
    with RunReader(run) as reader:
        whole = reader.info()
    assert whole.started == cut.started
    assert cut.seconds < whole.seconds <= cut.seconds + time.time() - resumed


def test_a_finished_run_is_left_as_it_is_where_there_is_nothing_to_do(launched: Launch) -> None:
    run = launched()
    assert ended(run) == "done"
    before = run.db.read_bytes()
    assert resume(run) is None
    assert not run.is_alive()
    assert run.db.read_bytes() == before


def test_a_paused_run_waits_until_it_is_resumed(launched: Launch) -> None:
    run = launched(chunk=1)
    run.command("pause")
    deadline = time.monotonic() + 20
    while meta(run)["status"] != "paused":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    resume(run)
    assert ended(run) == "done"


def test_a_finished_run_cannot_be_computed_by_two(launched: Launch) -> None:
    run = launched(estimators=["clever:batches=100,samples=100,radius=0.3"])
    with pytest.raises(StoreError, match="being computed"):
        resume(run)


def test_a_study_that_cannot_work_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for changes, says in [
        ({"estimators": ["clver"]}, "clever"),
        ({"estimators": ["clever:batchs=3"]}, "batches"),
        ({"estimators": ["clever:radius=-0.1"]}, "radius"),
        ({"maskers": ["staircas"]}, "staircase"),
        ({"models": ["digit:mlp"]}, "digits"),
        ({"models": ["digits:mlpp"]}, "mlp"),
        ({"inputs": "digits:0-99999"}, "digits"),
        ({"models": ["python:/nowhere/net.py:build"]}, "/nowhere/net.py"),
        ({"memory": "much"}, "4GB or 512MB"),
    ]:
        with pytest.raises(UsageError, match=says):
            start(small(**changes), tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"maskers": ["staircase:c=255,at=7.relu"]}, "no place '7.relu'"),
        ({"device": "toaster"}, "the device 'toaster' cannot be used here"),
    ],
)
def test_what_only_the_worker_can_see_ends_the_run_with_its_reason(
    launched: Launch, changes: dict[str, Any], says: str
) -> None:
    run = launched(**changes)
    assert ended(run) == "failed"
    assert ending(run).code == 2
    with RunReader(run) as reader:
        assert says in str(reader.info().error)


def test_one_model_that_fails_to_load_does_not_stop_the_other(launched: Launch, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def build():\n    raise ValueError('not today')\n")
    run = launched(models=["digits:mlp", {"use": f"python:{file}:build", "label": "broken"}])
    assert ended(run) == "done"
    with RunReader(run) as reader:
        statuses = {(e["model"], e["status"]) for e in reader.estimates()}
    assert statuses == {("digits:mlp", "ok"), ("broken", "failed")}
    assert ending(run).code == 2


def test_a_changed_model_is_not_resumed(launched: Launch, tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    text = (
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed({seed})\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    net.write_text(text.format(seed=0))
    run = launched(models=[f"python:{net}:build"], estimators=["clever:batches=200,samples=200"], chunk=1)
    wait_for_units(run, 1)
    run.command("cancel")
    assert ended(run) == "cancelled"
    net.write_text(text.format(seed=1))
    resume(run)
    assert ended(run) == "failed"
    with RunReader(run) as reader:
        assert "weights changed" in str(reader.info().error)


def test_a_changed_study_takes_over_what_is_unchanged(launched: Launch, tmp_path: Path) -> None:
    first = launched()
    assert ended(first) == "done"
    wider = small(maskers=["none", "staircase:c=255", "staircase:c=16"])
    second, _ = start(wider, tmp_path / "store", reuse=first)
    assert ended(second) == "done"
    old = {u["key"]: (u["seconds"], u["fingerprint"]) for u in units(first)}
    new = {u["key"]: (u["seconds"], u["fingerprint"]) for u in units(second)}
    assert old.items() <= new.items(), "what was stored came over as it was, seconds and all"
    assert len(new) == len(old) + 2
    kept = [row for row in numbers(second) if row[0] != "staircase:c=16"]
    assert kept == numbers(first)
    with RunReader(second) as reader:
        assert any("4 units taken over" in e["message"] for e in reader.events())


def test_a_model_that_is_mended_is_computed_when_the_run_is_resumed(launched: Launch, tmp_path: Path) -> None:
    net = tmp_path / "mended.py"
    net.write_text("def build():\n    raise ValueError('not yet')\n")
    run = launched(models=["digits:mlp", f"python:{net}:build"], maskers=["none"])
    assert ended(run) == "done"
    assert ending(run).code == 2
    net.write_text(
        "from falsefloor.models.digits import DigitsModel\nbuild = lambda: DigitsModel()('linear')\n"
    )
    resume(run)
    assert ended(run) == "done", run.log.read_text()
    assert ending(run).code == 0
    with RunReader(run) as reader:
        assert {(e["model"], e["input"], e["status"]) for e in reader.estimates()} == {
            (model, n, "ok") for model in ("digits:mlp", f"python:{net}:build") for n in range(4)
        }
        assert reader.info().counts.get("failed", 0) == 0
