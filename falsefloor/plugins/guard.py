"""A process that runs a stranger's code, and the one that watches over it.

who asks ── leash ──> guard (ours alone) ── fork ──> what runs the code, and whatever that starts

The guard ends all of it where the leash is dropped, where its child ends, or where that takes more memory
than it may; it keeps the first of what is printed; and it says how its child ended. On Linux nothing gets
away: a process that was forked twice, or that left its session, is the guard's own as soon as it is orphaned.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

LINUX = sys.platform == "linux"
KEPT = 2**20
"""Bytes of what a child prints that are kept; one may print without end."""
LOOK = 0.05
"""Seconds between looks at the memory: at 2 GB a second that is 100 MB too much."""
TREE = 20
"""Looks between those at the memory of all that was started; finding it takes a look at every process."""
PATIENCE = 30.0
"""Seconds for processes that were killed to be gone; a moment, unless the machine is overbooked."""
SHARE = 0.8
"""Of the memory that is free, what a child may take where nobody says."""
_CUT = "\n[what this process prints from here on is not kept]\n"


def guarded(leash: socket.socket, *, holds: Sequence[int] = (), memory: int = 0, capped: bool = True) -> None:
    """Fork: returns in the child, which has a session of its own; the guard stays behind and never returns.

    leash: where the guard says, in JSON, how it ended; dropped, everything ends. holds: descriptors that are
    the child's alone. memory: bytes that the child and what it starts may take, 0 for any. capped: what is
    printed is kept up to `KEPT` bytes; otherwise it goes where it always went.
    """
    adopt_orphans()
    reader, writer = os.pipe()
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        end_with(guard)
        if capped:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
        for end in (reader, writer, woken, waker):
            os.close(end)
        leash.close()
        _first_to_go()
        return
    for end in (writer, *holds):
        os.close(end)
    try:
        watch = _Watch(child, leash, reader, woken, memory)
        told = watch.until_the_end()
        with contextlib.suppress(OSError):
            leash.sendall(json.dumps(told).encode())
    except BaseException:
        traceback.print_exc()
        end_below()
    finally:
        os._exit(0)


def last_words(leash: socket.socket, *, within: float) -> dict[str, Any] | None:
    """How a guard's child ended, {"status", "said"}, an empty one where the guard was killed; None where it
    says nothing for so many seconds."""
    data = b""
    try:
        leash.settimeout(within)
        while part := leash.recv(4096):
            data += part
        told = json.loads(data)
        return {"status": int(told["status"]), "said": str(told["said"])}
    except TimeoutError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return {}


class _Watch:
    """The guard's one loop."""

    def __init__(self, child: int, leash: socket.socket, reader: int, woken: int, memory: int) -> None:
        self._child, self._leash, self._reader, self._woken = child, leash, reader, woken
        self._memory = memory
        self._printed, self._looks = 0, 0
        self._status: int | None = None
        self._said = ""

    def until_the_end(self) -> dict[str, Any]:
        """Ends everything below, and returns how the child ended: {"status", "said"}."""
        with selectors.DefaultSelector() as selector:
            for end in (self._leash.fileno(), self._reader, self._woken):
                selector.register(end, selectors.EVENT_READ)
            while self._status is None and not self._said:
                ready = {key.fd for key, _ in selector.select(LOOK if self._memory else None)}
                if self._leash.fileno() in ready:
                    self._said = "its leash was dropped"
                if self._woken in ready:
                    os.read(self._woken, 4096)
                    self._reap()
                if self._reader in ready and not self._drain():
                    selector.unregister(self._reader)
                if self._memory and self._too_much():
                    self._said = (
                        f"it took more than {self._memory / 1e9:.3g} GB of memory; --memory gives more"
                    )
        with contextlib.suppress(OSError):
            os.killpg(self._child, signal.SIGKILL)
        end_below(reaped=self._note)
        os.set_blocking(self._reader, False)
        with contextlib.suppress(BlockingIOError):
            while self._drain():
                pass
        return {"status": -signal.SIGKILL if self._status is None else self._status, "said": self._said}

    def _note(self, pid: int, status: int) -> None:
        if pid == self._child:
            self._status = status

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._note(found[0], os.waitstatus_to_exitcode(found[1]))

    def _drain(self) -> bool:
        """Whether more may come."""
        data = os.read(self._reader, 65536)
        if data and self._printed < KEPT:
            data = data[: KEPT - self._printed]
            self._printed += len(data)
            with contextlib.suppress(OSError):
                os.write(2, data + (_CUT.encode() if self._printed >= KEPT else b""))
        return bool(data)

    def _too_much(self) -> bool:
        self._looks += 1
        taken = _taken(self._child)
        if self._looks % TREE == 0:
            taken += sum(_taken(pid) for pid in below(self._child))
        return taken > self._memory


def _taken(pid: int) -> int:
    """Bytes of memory that are this process's own; 0 where that cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _prctl(option: int, value: int) -> None:
    if LINUX:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Be the parent of whatever is orphaned below this process, instead of the system's first one."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def end_with(parent: int) -> None:
    """Be ended by the kernel with one's parent, even where a plugin holds the interpreter."""
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _first_to_go() -> None:
    """Where the machine has no memory left, this process goes before any other; and it dumps no core."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_allocations(memory: int) -> None:
    """Let allocations of this process fail where it would take more than ``memory`` bytes than now."""
    if not LINUX or not memory:
        return
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    now = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = now + memory
        if hard == resource.RLIM_INFINITY or wanted < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def free_memory() -> int:
    """Bytes that could be taken now: of the machine, and of the group this process is in."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // 2
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            left = int((group / most).read_text(encoding="ascii")) - int(
                (group / used).read_text(encoding="ascii")
            )
            free = min(free, max(left, 0))
    return free


def _parents() -> dict[int, int]:
    """Every process with its parent, dead ones too until they are reaped: threads of one may live on."""
    found = {}
    if LINUX:
        for name in os.listdir("/proc"):  # noqa: PTH208  (a Path a process would take three times as long)
            if name.isdigit():
                with (
                    contextlib.suppress(OSError, ValueError, IndexError),
                    open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file,  # noqa: PTH123
                ):
                    found[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        return found
    listed = subprocess.run(
        ["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, timeout=10, check=False
    )
    for line in listed.stdout.splitlines():
        pid, parent = line.split()
        found[int(pid)] = int(parent)
    return found


def below(pid: int, parents: Mapping[int, int] | None = None) -> list[int]:
    """Its children, theirs, and so on; by what ``parents`` are, else by a look at them now."""
    parents, asked = _parents() if parents is None else parents, {pid}
    found: list[int] = []
    while asked:
        asked = {child for child, parent in parents.items() if parent in asked}
        found += asked
    return found


def end_below(
    *, but: frozenset[int] = frozenset(), reaped: Callable[[int, int], object] = lambda *_: None
) -> None:
    """End every process that this one, and what it started, has started; but for some children.

    reaped: hears the number and exit code of each child.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        seen = _parents()  # one look: what a spared one starts between two would not be spared
        spared = but.union(*(below(pid, seen) for pid in but))
        left = [pid for pid in below(os.getpid(), seen) if pid not in spared]
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                reaped(found[0], os.waitstatus_to_exitcode(found[1]))
        if not left:
            return
        time.sleep(0.005)


def leave() -> NoReturn:
    """End this process, and whatever is below it."""
    end_below()
    os._exit(0)
