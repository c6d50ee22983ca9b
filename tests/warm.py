"""Processes that need not import torch again: most of a small run's time is two interpreters that start.

One process a test worker imports torch and what computes, and then forks where it is asked to. A fork runs
the command line that was asked for, with its environment, folder and descriptors; a supervisor that began so
forks its compute children itself: process numbers, parents, signals and locks are real. Tests of how a
process starts, what it imports and what stands in `/proc` start real ones: they do without `warm`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import IO, Any, NoReturn

READY = ("falsefloor.worker.supervisor", "falsefloor.worker.kept", "falsefloor.plugins.process")
"""What is imported once for all, beside what a nursery imports."""
FREE = 512
"""Descriptors from here on are nobody's: what a fork was given waits there until its place is free."""
BASE = list(sys.path)
DEAD = "the process that forks for tests is gone"


def become(
    words: Sequence[str], given: Mapping[int, int], *, cwd: str, env: Mapping[str, str], session: bool
) -> NoReturn:
    """Be the interpreter that was asked for, in a fork. ``given``: descriptors by the number they get."""
    code = 1
    try:
        if session:
            os.setsid()
        moved = {number: os.dup2(held, FREE + n) for n, (number, held) in enumerate(given.items())}
        for number, held in moved.items():
            os.dup2(held, number)
        kept = [2, *sorted(number for number in given if number > 2), 65536]
        for before, after in pairwise(kept):
            os.closerange(before + 1, after)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        random.seed()
        _run(list(words[1:]))
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _run(words: list[str]) -> None:
    """`[-P] -m module …` or `[-P] -c code …`, as the interpreter does."""
    safe = words[0] == "-P"
    how, what, *arguments = words[safe:]
    found = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [*([] if safe else [os.getcwd()]), *found, *BASE]  # noqa: PTH109
    importlib.invalidate_caches()
    sys.argv = [what if how == "-m" else how, *arguments]
    if how == "-m":
        sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


class Forked:
    """`subprocess.Popen` of an interpreter, by a fork of this process."""

    returncode: int | None = None

    def __init__(self, words: Sequence[str], *, pass_fds: Sequence[int], stdin: int) -> None:
        assert stdin == subprocess.DEVNULL
        self.pid = os.fork()
        if self.pid == 0:
            given = {0: os.open(os.devnull, os.O_RDONLY), 1: 1, 2: 2, **{fd: fd for fd in pass_fds}}
            become(words, given, cwd=os.getcwd(), env=dict(os.environ), session=False)  # noqa: PTH109

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        return _waited(self, timeout)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Asked:
    """`subprocess.Popen` of an interpreter, by a fork of the process that waits for such wishes."""

    returncode: int | None = None
    stdin: IO[bytes] | None = None

    def __init__(
        self,
        forker: Forker,
        words: Sequence[str],
        *,
        stdin: int,
        stdout: Any,
        stderr: Any,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = False,
        cwd: Any = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        reader, report = os.pipe()
        if stdin == subprocess.PIPE:
            entry, ours = os.pipe()
            self.stdin = os.fdopen(ours, "wb")
        else:
            entry = os.open(os.devnull, os.O_RDONLY)
        given = {0: entry, 1: _number(stdout), 2: _number(stderr), **{fd: fd for fd in pass_fds}}
        forker.send(
            {
                "words": list(words),
                "numbers": list(given),
                "cwd": str(cwd or os.getcwd()),  # noqa: PTH109
                "env": dict(os.environ if env is None else env),
                "session": start_new_session,
            },
            [*given.values(), report],
        )
        os.close(entry)
        os.close(report)
        self._report = reader
        self.pid = int(os.read(reader, 8) or _fail())
        os.set_blocking(reader, False)

    def poll(self) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                self.returncode = int(os.read(self._report, 8) or _fail())
                os.close(self._report)
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        return _waited(self, timeout)


def _fail() -> NoReturn:
    raise RuntimeError(DEAD)


def _number(stream: Any) -> int:
    return stream if isinstance(stream, int) else stream.fileno()


def _waited(process: Forked | Asked, timeout: float) -> int:
    end = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired([], timeout)
        time.sleep(0.005)
    assert process.returncode is not None
    return process.returncode


def forking(popen: Any) -> Any:
    """The module `subprocess`, but for what starts an interpreter."""
    return SimpleNamespace(**{**vars(subprocess), "Popen": popen})


class Forker:
    """Our end of the process that forks; it ends with us."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=env,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, wish: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        socket.send_fds(self._socket, [json.dumps(wish).encode()], descriptors)

    def popen(self, words: Sequence[str], **how: Any) -> Asked:
        return Asked(self, words, **how)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Meanwhile supervisors and the children that run plugins begin here."""
        import pytest  # the process that forks does without it

        from falsefloor.plugins import process
        from falsefloor.worker import launch

        with pytest.MonkeyPatch.context() as patch:
            for starts in (launch, process):
                patch.setattr(starts, "subprocess", forking(self.popen))
            yield

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def main(fd: int) -> None:
    """Import what takes long, then fork for every wish until nobody is there to have one."""
    for name in READY:
        importlib.import_module(name)
    importlib.import_module("falsefloor.worker.child").get_ready()
    sys.modules["falsefloor.worker.kept"].subprocess = forking(Forked)  # type: ignore[attr-defined]
    wishes = socket.socket(fileno=fd)
    while True:
        data, descriptors, _, _ = socket.recv_fds(wishes, 2**20, 64)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if not data else os.WNOHANG)[0]:
                pass
        if not data:
            return
        if os.fork() == 0:
            _keep(json.loads(data), descriptors)
        for held in descriptors:
            os.close(held)


def _keep(wish: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Fork once more, and tell how that ends: only a parent hears of it."""
    *held, report = descriptors
    pid = os.fork()
    if pid == 0:
        given = dict(zip(wish["numbers"], held, strict=True))
        become(wish["words"], given, cwd=wish["cwd"], env=wish["env"], session=wish["session"])
    for fd in held:
        os.close(fd)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"%-8d" % pid)
        os.write(report, b"%-8d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
