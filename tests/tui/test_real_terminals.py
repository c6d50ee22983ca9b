"""The real app in real terminals, with real workers: tmux, and an SSH connection killed in mid-run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir, list_dirs

pytestmark = pytest.mark.slow

START = (
    "import sys; from pathlib import Path; from falsefloor.tui.start import run_app;"
    " sys.exit(run_app(Path(sys.argv[1])))"
)


class Tmux:
    """One tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        self._base = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]

    def start(self, words: list[str], *, size: tuple[int, int], **environ: str) -> None:
        given = {k: v for k, v in os.environ.items() if not k.startswith(("TMUX", "SSH_"))} | environ
        width, height = size
        command = [*self._base, "new-session", "-d", "-s", "t", "-x", str(width), "-y", str(height), *words]
        subprocess.run(command, env=given, check=True)
        subprocess.run([*self._base, "set", "-t", "t", "remain-on-exit", "on"], check=True)

    def keys(self, *keys: str) -> None:
        for key in keys:
            subprocess.run([*self._base, "send-keys", "-t", "t", key], check=True)
            time.sleep(0.15)

    def screen(self) -> str:
        done = subprocess.run(
            [*self._base, "capture-pane", "-p", "-t", "t"], capture_output=True, text=True, check=True
        )
        return done.stdout

    def wait(self, *words: str, seconds: float = 90.0) -> str:
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if all(word in screen for word in words):
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"{words} never appeared; the screen shows:\n{screen}")
            time.sleep(0.1)

    def resize(self, width: int, height: int) -> None:
        subprocess.run(
            [*self._base, "resize-window", "-t", "t", "-x", str(width), "-y", str(height)], check=True
        )

    def kill(self) -> None:
        subprocess.run([*self._base, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    server = Tmux(tmp_path)
    yield server
    server.kill()


def status(run: RunDir) -> str:
    with RunReader(run) as reader:
        return reader.info().status


def test_compose_run_watch_understand_quit_and_return(tmux: Tmux, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    app = [sys.executable, "-c", START, str(store)]
    tmux.start(app, size=(80, 24), TERM="xterm-256color", LC_ALL="C.UTF-8", OMP_NUM_THREADS="1")
    tmux.wait("no input closer than r fools this model")
    tmux.keys("n")
    tmux.wait("staircase:c=255")
    tmux.keys("C-r")
    tmux.wait("The command that does the same", "Enter starts the run")
    tmux.keys("Enter")
    tmux.wait("units", "live")
    tmux.resize(120, 30)
    tmux.wait("REFUTED")
    tmux.keys("Home", "Down")
    tmux.wait("FF201 the claim")
    tmux.resize(80, 24)
    tmux.keys("Enter")
    tmux.wait("FF201 refuted", "replay")
    tmux.keys("2")
    tmux.wait("Scale spectrum", "autograd: 0")
    tmux.keys("q")
    tmux.wait("Pane is dead")
    (run,) = list_dirs(store)
    tmux.kill()
    tmux.start(app, size=(100, 30), TERM="xterm-256color", LC_ALL="C.UTF-8")
    tmux.wait(f"run {run.id}", "REFUTED", "done")
    assert status(run) == "done"


def test_a_run_goes_on_when_the_ssh_connection_is_killed(tmux: Tmux, tmp_path: Path) -> None:
    sshd, keygen = shutil.which("sshd") or "/usr/sbin/sshd", shutil.which("ssh-keygen")
    if not Path(sshd).exists() or keygen is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server here")
    port, folder = str(20_000 + os.getpid() % 20_000), tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "keys").write_bytes((folder / "user.pub").read_bytes())
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/keys\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(parents=True, exist_ok=True) if os.getuid() == 0 else None
    server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        if server.poll() is not None:
            pytest.skip("sshd does not start here")
        store = tmp_path / "runs"
        remote = f"env OMP_NUM_THREADS=1 LC_ALL=C.UTF-8 {sys.executable} -c '{START}' {store}"
        ssh = ["ssh", "-tt", "-p", port, "-i", str(folder / "user"), "-o", "StrictHostKeyChecking=no"]
        ssh += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "127.0.0.1", remote]
        tmux.start(ssh, size=(80, 24), TERM="xterm-256color")
        tmux.wait("See the demo")
        tmux.keys("d")
        tmux.wait("live", "units")
        (run,) = list_dirs(store)
        tmux.kill()
        before = status(run)
        end = time.monotonic() + 180
        while status(run) not in ("done", "failed", "lost") and time.monotonic() < end:
            time.sleep(0.5)
        assert (before, status(run)) == ("running", "done")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)


def test_a_terminal_that_cannot_place_text_is_told_what_to_do(tmux: Tmux, tmp_path: Path) -> None:
    shown = (
        "import sys; from pathlib import Path; from falsefloor.errors import UsageError\n"
        "from falsefloor.tui.start import run_app\n"
        "try: run_app(Path(sys.argv[1]))\n"
        "except UsageError as error: print(error)"
    )
    words = ["env", "TERM=dumb", sys.executable, "-c", shown, str(tmp_path)]
    tmux.start(words, size=(300, 10))
    tmux.wait("TERM is dumb", "falsefloor watch RUN", seconds=15)
