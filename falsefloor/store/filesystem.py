"""What kind of file system holds a path: SQLite's log and our locks need care on those of other machines."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path

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


def make_folder(path: Path, *, mode: int) -> None:
    """A new directory with exactly this mode, whatever the umask. Raises `FileExistsError`."""
    path.mkdir(mode=0o700)
    if mode != 0o700:
        path.chmod(mode)


def make_file(path: Path, *, mode: int) -> None:
    """The file, empty where it is new, with exactly this mode if so. Others' files keep theirs."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    if mode != 0o600:
        path.chmod(mode)


__all__ = ["NETWORK", "filesystem", "is_network", "make_file", "make_folder", "private_or_shared"]
