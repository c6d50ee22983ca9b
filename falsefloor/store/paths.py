"""Where runs live, how one is named, and whether its worker is alive."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from falsefloor.errors import StoreError, did_you_mean
from falsefloor.store.filesystem import is_network, make_folder, private_or_shared

STALE = 30.0
"""Seconds without a heartbeat after which a worker on another host counts as lost."""


def store_root(given: Path | None = None) -> Path:
    """--store, else FALSEFLOOR_STORE, else the platform's state directory."""
    if given is not None:
        return given
    named = os.environ.get("FALSEFLOOR_STORE")
    return Path(named) if named else platformdirs.user_state_path("falsefloor") / "runs"


@dataclass(frozen=True)
class RunDir:
    """One run's directory. Everything between who runs and who looks passes through it."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def db(self) -> Path:
        return self.path / "run.db"

    @property
    def study(self) -> Path:
        return self.path / "study.toml"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    def command(self, name: str) -> None:
        """Ask the worker for something: cancel, kill, pause, resume."""
        try:
            if not self.commands.is_dir():
                make_folder(self.commands, mode=private_or_shared(self.path)[0])
            (self.commands / name).touch()
        except OSError as error:
            raise StoreError(f"cannot ask run {self.id} to {name}: {error.strerror or error}.") from error

    def is_alive(self) -> bool:
        """Whether a worker holds the lock. A dead one cannot: the kernel releases it with the process.

        On a network file system the kernel may not know of other hosts' locks: there a heartbeat counts too.
        """
        try:
            with self.lock.open("rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return is_network(self.path) and self.heartbeat() < STALE

    def heartbeat(self) -> float:
        """Seconds since the worker last touched its lock; inf where there is none."""
        try:
            return abs(time.time() - self.lock.stat().st_mtime)  # a clock that jumped back is no sign of life
        except OSError:
            return float("inf")

    def delete(self) -> None:
        if self.is_alive():
            raise StoreError(f"run {self.id} is being computed; cancel it first: falsefloor cancel {self.id}")
        try:
            if self.path.is_symlink():
                self.path.unlink()  # what it points to is somebody's who put it there
            else:
                shutil.rmtree(self.path)
        except OSError as error:
            raise StoreError(f"cannot delete {self.path}: {error.strerror or error}.") from error

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.lstat().st_size for entry in self.path.rglob("*") if not entry.is_dir())


def create_run(root: Path) -> RunDir:
    """A new directory with a short random id; private, or its group's where the store is.

    Raises `StoreError`.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode, _ = private_or_shared(root)
        for _ in range(100):
            path = root / secrets.token_hex(4)
            try:
                make_folder(path, mode=mode)
            except FileExistsError:
                continue
            make_folder(path / "commands", mode=mode)
            return RunDir(path)
    except OSError as error:
        raise StoreError(
            f"cannot make a run in {root}: {error.strerror or error}. Give another place: --store DIR."
        ) from error
    raise StoreError(f"cannot make a new run in {root}.")


def list_dirs(root: Path) -> list[RunDir]:
    """All runs of a store, newest first."""
    if not root.is_dir():
        return []
    try:
        found = [RunDir(entry) for entry in root.iterdir() if (entry / "study.toml").exists()]
    except OSError as error:
        raise StoreError(f"cannot read {root}: {error.strerror or error}.") from error
    return sorted(found, key=lambda run: (_born(run), run.id), reverse=True)


def _born(run: RunDir) -> float:
    try:
        return run.study.stat().st_mtime
    except OSError:
        return 0.0


def find_run(root: Path, ref: str) -> RunDir:
    """The run named by a unique prefix of its id, a path, or `last`. Raises `StoreError`."""
    if "/" in ref or Path(ref).is_dir():
        path = Path(ref)
        path = path.parent if path.name == "run.db" else path
        if (path / "run.db").exists() or (path / "study.toml").exists():
            return RunDir(path.resolve())
        raise StoreError(f"no run at {ref}: there is no run.db. `falsefloor runs` lists the runs in {root}.")
    if ref.endswith(".db") and Path(ref).is_file():
        return RunDir(Path(ref).resolve().parent)
    runs = list_dirs(root)
    if ref == "last":
        if not runs:
            raise StoreError(f"there are no runs in {root} yet; start one: falsefloor demo")
        return runs[0]
    matches = [run for run in runs if run.id.startswith(ref)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(run.id for run in matches)
        raise StoreError(f"{ref!r} is the beginning of {len(matches)} runs: {ids}; give more of it.")
    raise StoreError(f"no run {ref!r} in {root}. {did_you_mean(ref, ['last', *(run.id for run in runs)])}")
