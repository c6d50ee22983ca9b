"""The supervisor's hold on compute processes: the nursery they come from, their pipes, leashes and deaths."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from falsefloor.errors import WorkerError
from falsefloor.plugins.guard import last_words
from falsefloor.store.records import UnitResult, unpack
from falsefloor.worker.child import WISH

_LENGTH = struct.Struct("!i")
"""What `multiprocessing.connection.Connection` puts before each message."""
LONGEST = 2**30
"""Bytes of one message; more is a model that writes into what is not its own."""
MOURNING = 30.0
"""Seconds that a guard may take to end everything and to say how it ended."""
FAREWELL = 5.0
"""Seconds that a process which says nothing more gets to end by itself, before it is ended."""
NONSENSE = "what it sent is no message, as where a model writes into what is not its own"


class BrokenError(Exception):
    """Nothing more will come."""


class NonsenseError(BrokenError):
    """What came is no message."""


NO_MESSAGE = (
    NonsenseError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
    struct.error,
)  # fmt: skip
"""What reading nonsense as a message may raise."""


_REFUSED: Mapping[str, type] = {"error": str, "exit_code": int}
_PREPARED: Mapping[str, type] = {
    "facts": dict, "fingerprint": dict, "device": str, "threads": int, "versions": dict, "count": int,
    "labels": list, "predicted": list, "inside": list, "said": list,
}  # fmt: skip
"""Of an answer, and of its facts, by what it is read as."""


class Nursery:
    """The process that forks one for every model on a device; started again where it was killed."""

    def __init__(self, words: Sequence[str], device: str) -> None:
        self._words, self._device = list(words), device
        self._start()

    def _start(self) -> None:
        self._wishes, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*self._words, str(theirs.fileno()), self._device],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )

    def fork(self, memory: int) -> Kept:
        """A new compute process, which may take so many bytes of memory."""
        for _ in range(3):
            made = self._asked(memory)
            if made is not None:
                return made
            self._process.kill()
            self._process.wait()
            self._wishes.close()
            self._start()
        raise WorkerError("no process can be started to compute in.")

    def _asked(self, memory: int) -> Kept | None:
        pipe, theirs = socket.socketpair()
        leash, held = socket.socketpair()
        with theirs, held:
            try:
                if self._process.poll() is None:
                    self._process.send_signal(signal.SIGCONT)  # should a model have stopped it
                    fds = [theirs.fileno(), held.fileno()]
                    socket.send_fds(self._wishes, [WISH.pack(memory)], fds)
                    return Kept(pipe, leash)
            except OSError:
                pass
        pipe.close()
        leash.close()
        return None

    def close(self) -> None:
        """It ends by itself, and whatever is below it."""
        self._wishes.close()
        self._process.send_signal(signal.SIGCONT)  # should a model have stopped it
        try:
            self._process.wait(timeout=MOURNING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Kept:
    """A compute process: what is said to it and what it says."""

    def __init__(self, pipe: socket.socket, leash: socket.socket) -> None:
        self.socket, self._leash = pipe, leash
        self._pending, self._unsent = bytearray(), bytearray()
        self._death: str | None = None

    def send(self, command: Mapping[str, Any]) -> None:
        """A process that is gone is noticed when it is read from."""
        data = json.dumps(command).encode()
        self._unsent += _LENGTH.pack(len(data)) + data
        self._flush()

    def _flush(self) -> None:
        """Send what can be sent: code that holds the interpreter may not let it be read."""
        self.socket.setblocking(False)
        with contextlib.suppress(OSError):
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]

    def read(self, timeout: float) -> Iterator[bytes]:
        """The messages that are there, after up to ``timeout`` seconds. Raises `BrokenError` at the end, and
        `NonsenseError` for what is no message.

        It never waits for the rest of a message: what a model wrote there has none.
        """
        self._flush()
        wait([self.socket], timeout)
        broken = False
        try:
            while data := self.socket.recv(2**20):
                self._pending += data
            broken = True
        except BlockingIOError:
            pass
        except OSError:
            broken = True
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if not 0 < length < LONGEST:
                raise NonsenseError
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            message = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield message
        if broken:
            raise BrokenError

    @staticmethod
    def result(message: bytes) -> tuple[int, UnitResult]:
        """Which unit, and what came of it."""
        return struct.unpack_from("<q", message, 1)[0], unpack(message[9:])

    @staticmethod
    def prepared(message: bytes) -> dict[str, Any]:
        """What came of loading a model: {"error", "exit_code"} or what `Executor.prepare` returns."""
        answer = json.loads(message[1:])
        wanted = _REFUSED if "error" in answer else _PREPARED
        for name, kind in wanted.items():
            value = answer[name] if name in answer or wanted is _REFUSED else answer["facts"][name]
            if not isinstance(value, kind):
                raise NonsenseError
        return {**answer}

    def end(self) -> None:
        """End it and whatever it started; returns when that is gone."""
        self.socket.close()
        if self._death is None:
            self._drop()
            self._death = _told(last_words(self._leash, within=MOURNING))
        self._leash.close()

    def obituary(self) -> str:
        """How it ended, in words. One that has closed its pipe and goes on is ended."""
        if self._death is None:
            told = last_words(self._leash, within=FAREWELL)
            if told is None:
                self._drop()
                last_words(self._leash, within=MOURNING)
            self._death = _told(told)
        return self._death

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._leash.shutdown(socket.SHUT_WR)


def _told(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "it closed its pipe"
    if not told:
        return "it was killed together with the process that watches over it"
    if told["said"]:
        return str(told["said"])
    code = told["status"]
    if code >= 0:
        return f"it exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
