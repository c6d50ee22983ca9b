"""How a child process that runs strangers' code is asked: started apart, listened to, surely ended.

Requests go in as lines of JSON on stdin; answers come back on a pipe of their own, since a plugin may print.
A guard watches over the child, so that ending it ends what it started, and it ends by itself when our end of
stdin closes. What it does is the ``main(request)`` of a module of ours, on its own side by `serve`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import math
import os
import queue
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from falsefloor.errors import FalsefloorError
from falsefloor.plugins.guard import PATIENCE, last_words

_BOOT = """
import json, socket, sys
sys.path[:] = json.loads(sys.argv[1])
from falsefloor.plugins.guard import SHARE, free_memory, guarded
most = int(SHARE * free_memory())
guarded(socket.socket(fileno=int(sys.argv[5])), holds=[int(sys.argv[3])], memory=most, capped=False)
from falsefloor.plugins.process import serve
serve(sys.argv[2], int(sys.argv[3]), heard=sys.argv[4] == 'heard')
"""
LIMIT = 600.0
"""Seconds that `ask` waits for an answer: a model may take long to load."""
LONGEST_LINE = 8 * 2**20
"""Bytes of one answer where a plugin may have written it; more is no answer."""
LARGEST_FILE = 256 * 2**20
"""A plugin that prints in an endless loop may fill this much of the disk before it is stopped."""


class GoneError(Exception):
    """The child ended, or sent something that is no answer."""


class SilentError(Exception):
    """The child did not answer in time."""


def ask(
    module: str, request: Mapping[str, Any], *, doing: str, heard: bool = True
) -> Iterator[dict[str, Any]]:
    """What a process of its own answers, for commands that load a model.

    heard: what it narrates goes to our stderr, where no screen is drawn.

    Raises `FalsefloorError` with the child's own message and exit code, or where it breaks off.
    """
    child = Child(module, heard=heard)
    try:
        yield from child.answers(request, limit=LIMIT)
    except SilentError as error:
        raise FalsefloorError(f"{doing} took more than {LIMIT:.0f} s.") from error
    except GoneError as error:
        raise FalsefloorError(f"{doing} broke off: its process {child.death()}.") from error
    finally:
        child.end()


class Child:
    """A running child; ``module`` is the dotted name of a module of ours with a ``main(request)``.

    It finds the modules that we find, but for those of the working directory. stderr is the last that it
    wrote there, a crash's Python stack, once it ended; what a ``heard`` one writes goes to our own stderr.
    """

    stderr = ""

    def __init__(self, module: str, *, heard: bool = False) -> None:
        self._written = None if heard else (_kept(), _kept())
        stdout, stderr = self._written or (2, 2)
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        # "" is the working directory: a torch.py there must not be imported in torch's place
        path = json.dumps([os.path.abspath(folder) for folder in sys.path if folder])  # noqa: PTH100  (text for text)
        self._leash, held = socket.socketpair()
        numbers = str(writer), "heard" if heard else "", str(held.fileno())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, path, module, *numbers],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[writer, held.fileno()],
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
            )
        finally:
            os.close(writer)
            held.close()
        self._pending, self._longest = bytearray(), math.inf if heard else LONGEST_LINE
        self._status: int | None = None
        self._said = ""

    def send(self, request: Mapping[str, Any]) -> None:
        """One line in; a child that is gone is noticed when its answer is read."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def answers(
        self, request: Mapping[str, Any], *, limit: float, first: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """What the child says to a request, each answer within ``limit`` seconds, the first within ``first``.

        Raises `SilentError`, `GoneError`, and `FalsefloorError` with the message and exit code of what was
        raised there.
        """
        self.send(request)
        seconds = limit if first is None else first
        while "end" not in (answer := self.read(until=time.monotonic() + seconds)):
            if "error" in answer:
                raise _failure(answer)
            yield answer
            seconds = limit

    def read(self, *, until: float) -> dict[str, Any]:
        """The next answer. Raises `SilentError` at the monotonic time ``until``, `GoneError` at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            looked = 0
            while (end := self._pending.find(b"\n", looked)) < 0:
                looked = len(self._pending)
                left = until - time.monotonic()
                if left <= 0:
                    raise SilentError
                if not selector.select(min(left, 0.2)):
                    # A process that a plugin forked may hold the pipe open after the child is gone.
                    if self._process.poll() is not None:
                        raise GoneError
                    continue
                data = os.read(self._reader, 65536)
                if not data or looked > self._longest:
                    raise GoneError
                self._pending += data
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise GoneError from error
        if not isinstance(answer, dict):
            raise GoneError
        return answer

    def end(self) -> int:
        """End the child and whatever it started; its status, its own where it ended by itself."""
        if self._status is None:
            told = last_words(self._leash, within=0.2)
            if told is None:
                self._leash.shutdown(socket.SHUT_WR)
                told = last_words(self._leash, within=PATIENCE)
            self._leash.close()
            if told is None:  # its guard is stopped
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            if self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
            self._status = self._process.wait()
            if told:
                self._status = told["status"]
                self._said = told["said"] if "memory" in told["said"] else ""
            os.close(self._reader)
            if self._written is not None:
                stdout, stderr = self._written
                stdout.close()
                with stderr:
                    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 3000))
                    self.stderr = stderr.read().decode(errors="replace")
        return self._status

    def death(self) -> str:
        """How it ended, in words."""
        status = self.end()
        if self._said:
            return f"was ended: {self._said}"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"crashed the interpreter ({signal.Signals(-status).name})"
        return f"ended the interpreter with status {status}"


def _kept() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _failure(answer: Mapping[str, Any]) -> FalsefloorError:
    """What was raised there. Raises `GoneError` where a plugin made it up."""
    code = answer.get("exit_code")
    if not isinstance(code, int):
        raise GoneError
    failure = FalsefloorError(str(answer["error"]))
    failure.exit_code = code
    return failure


def serve(module: str, out: int, *, heard: bool) -> None:
    """Answer each request with what the module's ``main(request)`` yields, on the pipe ``out``.

    The process ends when the parent closes its end or is killed, even while a plugin hangs. What is raised is
    an answer too, with its exit code: everything, SystemExit too, for this process exists to survive it. What
    was not raised on purpose is told with its traceback where a user hears it.
    """
    requests, send = _settle_in(out, largest=None if heard else LARGEST_FILE)
    main: Callable[[dict[str, Any]], Iterator[dict[str, Any]]] = importlib.import_module(module).main
    for request in requests:
        try:
            for answer in main(request):
                send(answer)
            send({"end": True})
        except BaseException as error:
            said, code = f"{type(error).__name__}: {error}", FalsefloorError.exit_code
            if isinstance(error, FalsefloorError):
                said, code = str(error), error.exit_code
            elif heard:
                traceback.print_exc()
            send({"error": said, "exit_code": code})


def _settle_in(
    out: int, *, largest: int | None
) -> tuple[Iterator[dict[str, Any]], Callable[[dict[str, Any]], None]]:
    """(requests, send): the parent's requests as they come, and how to answer on the pipe ``out``.

    stdin is empty for plugins, no core is dumped.
    """
    faulthandler.enable()
    for limit, ceiling in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, largest)):
        if ceiling is not None:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, (ceiling, ceiling))
    os.set_inheritable(out, False)
    watched = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def watch() -> None:
        with os.fdopen(watched, "rb") as file:
            for line in file:
                lines.put(line)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()

    def requests() -> Iterator[dict[str, Any]]:
        while True:
            yield json.loads(lines.get())

    def send(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(out, data) :]

    return requests(), send


def printed() -> int:
    """Bytes written to stdout so far; it is a file of the parent's."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    return os.fstat(1).st_size
