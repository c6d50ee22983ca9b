"""Following a run: Ctrl-C asks its worker, a watcher only leaves, a closed pipe is quiet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_run import judge, sample

from falsefloor.cli.follow import follow
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDir, "is_alive", lambda self: True)


def press(run: RunDir, *, times: int) -> None:
    """Ctrl-C as soon as it is heard, and again as soon as the first was obeyed."""
    before = signal.getsignal(signal.SIGINT)

    def send() -> None:
        until(lambda: signal.getsignal(signal.SIGINT) is not before)
        os.kill(os.getpid(), signal.SIGINT)
        if times > 1:
            until((run.commands / "cancel").exists)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


def worker(run: RunDir) -> threading.Thread:
    """Somebody who does what is asked of the run: cancels it."""

    def work() -> None:
        until((run.commands / "cancel").exists)
        writer = RunWriter(run.db, judge())
        writer.finish("cancelled")
        writer.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_run_that_ended_is_followed_to_its_end_at_once(tmp_path: Path) -> None:
    assert follow(sample(tmp_path), owner=True) is False


def test_ctrl_c_of_its_owner_cancels_the_run(
    tmp_path: Path, alive: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample(tmp_path, status="running")
    busy = worker(run)
    press(run, times=1)
    assert follow(run, owner=True) is True
    busy.join(timeout=10)
    assert "cancelling" in capsys.readouterr().err


def test_a_second_ctrl_c_kills_it(tmp_path: Path, alive: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falsefloor.cli.follow.LAST_WORDS", 0.1)
    run = sample(tmp_path, status="running")
    press(run, times=2)
    assert follow(run, owner=True) is True
    assert {entry.name for entry in run.commands.iterdir()} == {"cancel", "kill"}


def test_ctrl_c_of_a_watcher_asks_nothing_of_the_run(tmp_path: Path, alive: None) -> None:
    run = sample(tmp_path, status="running")
    press(run, times=1)
    with pytest.raises(KeyboardInterrupt):
        follow(run, owner=False)
    assert list(run.commands.iterdir()) == []


def test_the_handler_of_ctrl_c_is_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    follow(sample(tmp_path), owner=True)
    assert signal.getsignal(signal.SIGINT) is before


def falsefloor(store: Path, *words: str, **changes: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "FALSEFLOOR_STORE": str(store), **changes}
    return subprocess.Popen(
        [sys.executable, "-m", "falsefloor", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    sample(tmp_path, inputs=12)  # 400 kB: more than a pipe holds
    with falsefloor(tmp_path, "export", "last") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(1) == b"{"
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


def test_an_encoding_without_our_signs_is_no_error(tmp_path: Path) -> None:
    sample(tmp_path)
    with falsefloor(tmp_path, "show", PYTHONIOENCODING="ascii", LC_ALL="C") as process:
        out, err = process.communicate()
    assert process.returncode == 0 and err == b"" and b">~0.0925" in out


def test_the_commands_start_without_anything_heavy() -> None:
    heavy = "('torch', 'numpy', 'scipy', 'textual', 'sqlite3', 'rich.live')"
    code = f"import sys, falsefloor.cli.app; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
