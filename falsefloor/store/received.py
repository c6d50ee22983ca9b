"""What is believed of a run's folder, whoever made it: that it is a directory with our database.

A run may have come by mail. So a file of it is opened only where it is a regular file and no link, and a run
is deleted name by name, only where it holds our database and nothing that no run holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from falsefloor.errors import StoreError

APPLICATION_ID = 0x66666C72
""" "fflr", in the head of each of our databases."""
DB = "run.db"
BESIDE = ("-wal", "-shm", "-journal")
"""Endings of what SQLite keeps beside a database."""
COMMANDS = "commands"
ORDERS = ("cancel", "kill", "pause", "resume")
FILES = (*(DB + end for end in BESIDE), "study.toml", "worker.log", "lock", DB)
"""All that a run's folder holds beside its commands, the database last: until then it is still a run."""
_HEAD = b"SQLite format 3\0"
_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")


def open_regular(path: str | Path, flags: int, *, folder: int | None = None) -> int:
    """A descriptor of a regular file that is no link; no pipe is waited for. Raises `OSError`.

    Nor is one written that has another name: that may be somebody else's file.
    """
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | careful, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _odd(path) from error
        raise
    state = os.fstat(descriptor)
    writes = flags & (os.O_WRONLY | os.O_RDWR)
    if not stat.S_ISREG(state.st_mode) or (writes and state.st_nlink > 1):
        os.close(descriptor)
        raise _odd(path)
    if flags & os.O_TRUNC:
        os.ftruncate(descriptor, 0)
    return descriptor


def is_regular(path: Path) -> bool:
    """Whether there is a file that is no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _odd(path: str | Path) -> OSError:
    return OSError(errno.EINVAL, "it is a link, a pipe or a device, which no run holds", str(path))


def read_regular(path: Path, *, most: int | None = None) -> bytes:
    """What a run's file holds, or the end of it. Raises `OSError`."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        if most is not None:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read()


def check_database(db: Path, *, writes: bool = False) -> None:
    """Raise `StoreError` for what SQLite must not open: it would follow a link, wait at a pipe, delete the
    file that a planted journal names, or write what has another name elsewhere."""
    for end in ("", *BESIDE):
        beside = db.with_name(db.name + end)
        try:
            state = beside.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise StoreError(f"cannot open {beside}: {error.strerror or error}.") from error
        if not stat.S_ISREG(state.st_mode):
            raise StoreError(f"cannot open {beside}: it is no regular file, and a run holds nothing else.")
        if writes and state.st_nlink > 1:
            raise StoreError(
                f"cannot write {beside}: the file has another name elsewhere (a hard link). Copy the run:"
                " falsefloor export RUN -f run."
            )
    journal = db.with_name(db.name + "-journal")
    # Only a transaction over several databases ends its journal so, and a run is one.
    with suppress(FileNotFoundError, NotADirectoryError):
        if read_regular(journal, most=len(_JOURNAL_END)) == _JOURNAL_END:
            raise StoreError(f"cannot open {db}: its journal names another file; no run's does.")


def _ours(folder: int) -> bool:
    with os.fdopen(open_regular(DB, os.O_RDONLY, folder=folder), "rb") as file:
        head = file.read(100)
    return head.startswith(_HEAD) and int.from_bytes(head[68:72], "big") == APPLICATION_ID


@contextmanager
def opened(path: str | Path, *, folder: int | None = None) -> Iterator[int]:
    """A directory that is no link. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def contents(path: Path) -> dict[str, int]:
    """What deleting a run would delete: the names in its folder, the database last, with their bytes.

    Raises `StoreError` where the folder is no run of ours, or holds anything that no run holds.
    """
    with _said(path), opened(path) as folder:
        return _contents(folder, path)


def delete(path: Path, *, half_made: bool = False) -> None:
    """Delete a run, name by name. Raises `StoreError` as `contents` does, before anything is deleted.

    half_made: by who makes it, where its database may not be one yet.
    """
    with _said(path):
        with opened(path) as folder:
            names = _contents(folder, path, half_made=half_made)
            with suppress(FileNotFoundError), opened(COMMANDS, folder=folder) as commands:
                for name in ORDERS:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=commands)
                os.rmdir(COMMANDS, dir_fd=folder)
            for name in names:
                if name in FILES:
                    os.unlink(name, dir_fd=folder)
        path.rmdir()


def _contents(folder: int, path: Path, *, half_made: bool = False) -> dict[str, int]:
    if not half_made and not _ours(folder):
        raise StoreError(f"{path} is not deleted: its {DB} is not one of falsefloor's.")
    found, odd = _sorted_out(folder, FILES)
    if COMMANDS in odd:
        with opened(COMMANDS, folder=folder) as commands:
            orders, odd_orders = _sorted_out(commands, ORDERS)
        odd.remove(COMMANDS)
        odd += [f"{COMMANDS}/{name}" for name in odd_orders]
        found = {f"{COMMANDS}/{name}": size for name, size in orders.items()} | found
    if odd:
        raise StoreError(f"{path} is not deleted: it holds {odd[0]!r}, which no run does.")
    return found


def _sorted_out(folder: int, known: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """(regular files of known names with their bytes, in that order; names of everything else)."""
    states = {name: os.stat(name, dir_fd=folder, follow_symlinks=False) for name in os.listdir(folder)}
    regular = {name for name, state in states.items() if stat.S_ISREG(state.st_mode)}
    found = {name: states[name].st_size for name in known if name in regular}
    return found, sorted(states.keys() - found.keys())


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot delete {path}: {error.strerror or error}.") from error


def give_order(path: Path, order: str, *, mode: int) -> None:
    """Leave an order for a run's worker. Raises `OSError`. mode: of the folder of orders, where it is new."""
    commands = path / COMMANDS
    with suppress(FileExistsError):
        make_folder(commands, mode=mode)
    with opened(commands) as folder:
        descriptor = open_regular(order, os.O_CREAT | os.O_WRONLY, folder=folder)
        os.utime(descriptor)
        os.close(descriptor)


def take_orders(path: Path, wanted: Collection[str] = ORDERS) -> list[str]:
    """The orders that were left, in the order they were given: a pause after a resume is another wish than
    before it. Each is there once."""
    try:
        with opened(path / COMMANDS) as folder:
            found = [
                (os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns, name)
                for name in os.listdir(folder)  # noqa: PTH208  (a descriptor)
                if name in wanted
            ]
            for _, name in found:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
            return [name for _, name in sorted(found)]
    except OSError:
        return []


def make_folder(path: Path, *, mode: int) -> None:
    """A new directory with exactly this mode, whatever the umask. Raises `FileExistsError`."""
    path.mkdir(mode=0o700)
    if mode != 0o700:
        path.chmod(mode)


def make_file(path: Path, *, mode: int) -> None:
    """The file, empty where it is new, with exactly this mode if so. Others' files keep theirs.

    Raises `OSError`, for a link too.
    """
    try:
        descriptor = open_regular(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    except FileExistsError:
        os.close(open_regular(path, os.O_RDONLY))
        return
    if mode != 0o600:
        os.fchmod(descriptor, mode)
    os.close(descriptor)
