"""Where runs live, on what kind of file system, how one is named, and who computes it and is alive."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import platformdirs

from falsefloor.errors import StoreError, did_you_mean
from falsefloor.store.received import (
    FILES,
    delete,
    give_order,
    is_regular,
    make_file,
    make_folder,
    open_regular,
    opened,
    read_regular,
)

ROOM = 4096
"""Bytes that a lock holds on to, so that a worker on a full disk can say that it is full."""
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
            give_order(self.path, name, mode=private_or_shared(self.path)[0])
        except OSError as error:
            raise StoreError(f"cannot ask run {self.id} to {name}: {error.strerror or error}.") from error

    def is_alive(self) -> bool:
        """Whether a worker holds the lock. A dead one cannot: the kernel releases it with the process.

        On a network file system the kernel may not know of other hosts' locks: there a heartbeat counts too.
        """
        try:
            with os.fdopen(open_regular(self.lock, os.O_RDONLY), "rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return is_network(self.path) and self.heartbeat() < STALE

    def is_starting(self) -> bool:
        """Whether somebody holds it by `starting`."""
        try:
            with opened(self.path) as folder:
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def leave_word(self, word: str) -> None:
        """Write why the worker ends where nothing can be stored: into room that its lock has held for it."""
        with suppress(OSError):
            held = open_regular(self.lock, os.O_WRONLY)
            try:
                os.pwrite(held, word.encode()[:ROOM].ljust(ROOM), 0)
            finally:
                os.close(held)

    def last_word(self) -> str | None:
        """What a worker left by `leave_word`."""
        try:
            return read_regular(self.lock, most=ROOM).decode(errors="replace").strip() or None
        except OSError:
            return None

    def heartbeat(self) -> float:
        """Seconds since the worker last touched its lock; inf where there is none."""
        try:
            return abs(time.time() - self.lock.stat().st_mtime)  # a clock that jumped back is no sign of life
        except OSError:
            return float("inf")

    def born(self) -> float:
        """When its study was written, where it has one."""
        for file in (self.study, self.db):
            with suppress(OSError):
                return file.lstat().st_mtime
        return 0.0

    def delete(self) -> None:
        """Delete the run, and nothing that no run holds. Raises `StoreError`."""
        if self.is_alive():
            raise StoreError(f"run {self.id} is being computed; cancel it first: falsefloor cancel {self.id}")
        delete(self.path)

    def size(self) -> int:
        """Bytes of all its files."""
        found = 0
        for name in FILES:
            with suppress(OSError):
                found += (self.path / name).lstat().st_size
        return found


@contextmanager
def starting(run: RunDir) -> Iterator[None]:
    """Hold a run until its worker holds its lock: meanwhile it is queued, and nobody else can start it.

    The folder itself is locked, as long as this process lives; not across hosts. Raises `StoreError`.
    """
    try:
        folder = os.open(run.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"cannot open {run.path}: {error.strerror or error}.") from error
    try:
        for _ in range(50):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)  # a viewer that only asks holds it for microseconds
            except OSError:
                break  # a file system without such locks
        else:
            raise StoreError(f"run {run.id} is being started already; watch it: falsefloor watch {run.id}")
        yield
    finally:
        os.close(folder)


def take_lock(run: RunDir) -> IO[bytes]:
    """Hold the run's lock until the file is closed. Raises `StoreError` where another worker has it.

    Closing any other handle of the file in the same process would release it too (POSIX locks belong to
    processes): whoever holds it must not ask `RunDir.is_alive`.
    """
    try:
        make_file(run.lock, mode=private_or_shared(run.path)[1])
        file = os.fdopen(open_regular(run.lock, os.O_WRONLY), "wb")
    except OSError as error:
        raise StoreError(f"cannot write in {run.path}: {error.strerror or error}.") from error
    for _ in range(20):
        try:
            # lockf and not flock: a forked orphan inherits flock, and a dead worker would look alive
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)  # a viewer that only asks holds it for microseconds
        else:
            with suppress(OSError):
                os.pwrite(file.fileno(), b" " * ROOM, 0)
            return file
    file.close()
    raise StoreError(f"run {run.id} is being computed already; watch it: falsefloor watch {run.id}")


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
            try:
                make_folder(path / "commands", mode=mode)
            except OSError:
                with suppress(OSError):
                    path.rmdir()
                raise
            return RunDir(path)
    except OSError as error:
        raise StoreError(
            f"cannot make a run in {root}: {error.strerror or error}. Give another place: --store DIR."
        ) from error
    raise StoreError(f"cannot make a new run in {root}.")


def hold_room(run: RunDir) -> None:
    """A lock that nobody holds yet, with room for a last word; no heartbeat is in its time."""
    make_file(run.lock, mode=private_or_shared(run.path)[1])
    with os.fdopen(open_regular(run.lock, os.O_WRONLY), "wb") as file:
        file.write(b" " * ROOM)
    os.utime(run.lock, (0, 0), follow_symlinks=False)


def list_dirs(root: Path) -> list[RunDir]:
    """All runs of a store, newest first: its folders with a run.db, be it damaged. A link is none."""
    found = [run for run in _folders(root) if is_regular(run.db)]
    return sorted(found, key=lambda run: (run.born(), run.id), reverse=True)


def strays(root: Path) -> list[str]:
    """Names of the folders of a store that are no runs, such as one whose making was killed."""
    return sorted(run.id for run in _folders(root) if not is_regular(run.db))


def _folders(root: Path) -> list[RunDir]:
    try:
        with os.scandir(root) as entries:
            return [RunDir(root / entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"cannot read {root}: {error.strerror or error}.") from error


def find_run(root: Path, ref: str) -> RunDir:
    """The run named by a unique prefix of its id, a path, `last`, or `last~2`: two runs before it.

    Raises `StoreError`.
    """
    if "/" in ref or Path(ref).is_dir():
        path = Path(ref)
        path = path.parent if path.name == "run.db" else path
        if (path / "run.db").exists() or (path / "study.toml").exists():
            return RunDir(path.resolve())
        raise StoreError(f"no run at {ref}: there is no run.db. `falsefloor runs` lists the runs in {root}.")
    if ref.endswith(".db") and Path(ref).is_file():
        return RunDir(Path(ref).resolve().parent)
    runs = list_dirs(root)
    if ref == "last" or re.fullmatch(r"last~\d{1,9}", ref):
        before = int(ref[5:] or 0)
        if not runs:
            raise StoreError(f"there are no runs in {root} yet; start one: falsefloor demo")
        if before >= len(runs):
            raise StoreError(
                f"no run {ref!r}: there are {len(runs)} in {root}. `falsefloor runs` lists them."
            )
        return runs[before]
    matches = [run for run in runs if run.id.startswith(ref)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(run.id for run in matches)
        raise StoreError(f"{ref!r} is the beginning of {len(matches)} runs: {ids}; give more of it.")
    if not runs:
        raise StoreError(f"no run {ref!r}: there are none in {root} yet; start one: falsefloor demo")
    raise StoreError(f"no run {ref!r} in {root}. {did_you_mean(ref, ['last', *(run.id for run in runs)])}")


NETWORK = frozenset(
    (
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "9p", "afs", "beegfs", "ceph", "glusterfs",
        "orangefs", "pvfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse",
        "fuse.rclone",
    )
)  # fmt: skip
"""File systems on which SQLite's log is not safe, since its shared memory does not reach other hosts."""
MOUNTS = Path("/proc/mounts")


@lru_cache(maxsize=64)
def filesystem(path: Path) -> str:
    """The type of the file system that holds a path, on Linux; empty where that cannot be known."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind, real = -1, "", path.resolve()
    for line in mounts:
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = words[1].encode().decode("unicode_escape")
        if real.is_relative_to(place) and len(place) >= best:
            best, kind = len(place), words[2]
    return kind


def is_network(path: Path) -> bool:
    """Whether other machines may hold this path too."""
    return filesystem(path) in NETWORK


def private_or_shared(folder: Path) -> tuple[int, int]:
    """Modes for a new directory and a new file in a folder: private, unless the folder was made to be shared.

    A store that its owner gave to a group (`chmod 2770`, as for a shared git repository) keeps doing so.
    """
    try:
        mode = folder.stat().st_mode
    except OSError:
        return 0o700, 0o600
    shared = bool(mode & stat.S_ISGID) and mode & 0o070 == 0o070
    return (0o2770, 0o660) if shared else (0o700, 0o600)
