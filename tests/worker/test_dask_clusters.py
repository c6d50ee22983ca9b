"""Clusters that somebody else runs, on loopback: nannies, workers and schedulers killed, TLS switched on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_runs import ended, numbers, small

from falsefloor.cli.ending import ending
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import resume, start

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
BUSY = {"chunk": 1, "estimators": ["clever:batches=20,samples=50,radius=0.3"]}


class Cluster:
    """A scheduler and two workers with nannies, as their own commands start them."""

    def __init__(self, folder: Path, *, tls: dict[str, Path] | None = None) -> None:
        self._words = [word for key, file in (tls or {}).items() for word in (f"--{key}", str(file))]
        self._file = folder / "scheduler.json"
        self._folder = folder
        self.protocol = "tls" if tls else "tcp"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler()
        for number in (1, 2):
            self.worker(f"worker {number}")

    def scheduler(self, port: int = 0) -> None:
        self._file.unlink(missing_ok=True)
        self._start("scheduler", "--port", str(port), "--scheduler-file", str(self._file))
        deadline = time.monotonic() + 60
        while not self._file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def worker(self, name: str) -> None:
        words = ("--nworkers", "1", "--nthreads", "1", "--local-directory", str(self._folder))
        self._start(name, self.address, *words)

    def _start(self, name: str, *words: str) -> None:
        module = "distributed.cli.dask_scheduler" if name == "scheduler" else "distributed.cli.dask_worker"
        begin = [
            sys.executable,
            "-P",
            "-m",
            module,
            "--host",
            f"{self.protocol}://127.0.0.1",
            "--no-dashboard",
        ]
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*begin, *self._words, *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
            )

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self) -> None:
        for process in self.processes.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def under_way(run: RunDir, count: int = 2) -> None:
    deadline = time.monotonic() + 120
    while True:
        with RunReader(run) as reader:
            info = reader.info()
        if info.units_done >= count:
            return
        assert info.status in ("queued", "running") and time.monotonic() < deadline, (
            info,
            run.log.read_text(),
        )
        time.sleep(0.01)


def test_two_workers_give_the_bits_that_this_machine_gives(
    cluster: Cluster, launched: Callable[..., RunDir], tmp_path: Path
) -> None:
    local = launched(**BUSY)
    run, _ = start(small(**BUSY), tmp_path / "dask", on=f"dask:{cluster.address}")
    assert ended(run, limit=200) == ended(local, limit=200) == "done"
    assert numbers(run) == numbers(local)


def test_a_killed_nanny_loses_nothing(
    cluster: Cluster, launched: Callable[..., RunDir], tmp_path: Path
) -> None:
    local = launched(**BUSY)
    run, _ = start(small(**BUSY), tmp_path / "dask", on=f"dask:{cluster.address}")
    under_way(run)
    cluster.kill("worker 1")
    assert ended(run, limit=200) == ended(local, limit=200) == "done"
    assert numbers(run) == numbers(local)


def test_a_killed_scheduler_ends_the_run_with_its_reason_and_it_goes_on_with_another(
    cluster: Cluster, launched: Callable[..., RunDir], tmp_path: Path
) -> None:
    local = launched(**BUSY)
    run, _ = start(small(**BUSY), tmp_path / "dask", on=f"dask:{cluster.address}")
    under_way(run)
    port = int(cluster.address.rpartition(":")[2])
    cluster.kill("scheduler")
    assert ended(run, limit=200) == "failed"
    assert ending(run).code == 5
    with RunReader(run) as reader:
        info = reader.info()
        kept = {u["key"]: u["finished"] for u in reader.units() if u["status"] == "ok"}
    assert "scheduler went away" in str(info.error) and len(kept) >= 2
    cluster.scheduler(port)
    cluster.worker("worker 3")
    resume(run)
    assert ended(run, limit=200) == ended(local, limit=200) == "done"
    with RunReader(run) as reader:
        after = {u["key"]: u["finished"] for u in reader.units()}
    assert kept.items() <= after.items()
    assert numbers(run) == numbers(local)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_cluster_under_tls_is_asked_under_tls(
    launched: Callable[..., RunDir], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    names = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, *names], check=True, capture_output=True)
    cluster = Cluster(tmp_path, tls={"tls-ca-file": certificate, "tls-cert": certificate, "tls-key": key})
    try:
        assert cluster.address.startswith("tls://")
        local = launched(**BUSY)
        plain, _ = start(small(**BUSY), tmp_path / "plain", on=f"dask:{cluster.address}")
        assert ended(plain, limit=100) == "failed", "without a certificate nobody is let in"
        tls = "DASK_DISTRIBUTED__COMM__TLS__"
        monkeypatch.setenv(f"{tls}CA_FILE", str(certificate))
        monkeypatch.setenv(f"{tls}CLIENT__CERT", str(certificate))
        monkeypatch.setenv(f"{tls}CLIENT__KEY", str(key))
        run, _ = start(small(**BUSY), tmp_path / "dask", on=f"dask:{cluster.address}")
        assert ended(run, limit=200) == ended(local, limit=200) == "done"
        assert numbers(run) == numbers(local)
    finally:
        cluster.close()
