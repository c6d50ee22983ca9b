"""What a supervisor is sent, or not sent, by a process that runs a stranger's code; whom a guard ends."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from falsefloor.plugins import guard
from falsefloor.worker import kept
from falsefloor.worker.kept import NO_MESSAGE, BrokenError, Kept, NonsenseError


@pytest.fixture
def ends() -> Iterator[tuple[Kept, socket.socket, socket.socket]]:
    """A compute process as its supervisor holds it, its end of the pipe, and its guard's end of the leash."""
    pipe, theirs = socket.socketpair()
    leash, held = socket.socketpair()
    yield Kept(pipe, leash), theirs, held
    for one in (pipe, theirs, leash, held):
        one.close()


def test_what_is_no_message_is_told_from_the_end(
    ends: tuple[Kept, socket.socket, socket.socket],
) -> None:
    process, theirs, _ = ends
    theirs.sendall(struct.pack("!i", 3) + b"J{}")
    assert [*process.read(0.0)] == [b"J{}"]
    theirs.sendall(b"x" * 64)
    with pytest.raises(NonsenseError):
        next(process.read(0.0), None)
    process._pending.clear()
    theirs.close()
    with pytest.raises(BrokenError) as ended:
        next(process.read(0.0), None)
    assert not isinstance(ended.value, NonsenseError)


@pytest.mark.parametrize("message", [b"R", b"R" + bytes(8), b"R" + b"\xff" * 40, b"R" + bytes(8) + b"[" * 99])
def test_a_result_that_cannot_be_read_is_no_message(message: bytes) -> None:
    with pytest.raises(NO_MESSAGE):
        Kept.result(message)


def test_one_that_closed_its_pipe_and_goes_on_is_ended_and_not_waited_for(
    ends: tuple[Kept, socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _, held = ends
    monkeypatch.setattr(kept, "FAREWELL", 0.05)

    def guards() -> None:
        assert held.recv(1) == b""
        held.sendall(json.dumps({"status": -9, "said": "its leash was dropped"}).encode())
        held.close()

    watching = threading.Thread(target=guards)
    watching.start()
    began = time.monotonic()
    assert process.obituary() == "it closed its pipe"
    assert time.monotonic() - began < kept.MOURNING / 2
    watching.join()
    process.end()


def test_what_a_spared_process_starts_meanwhile_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new guard forks its child at any moment, between two looks at who is whose child too."""
    me, mine, child = guard.os.getpid(), 10**9, 10**9 + 1
    looks = iter([{mine: me}, {mine: me, child: mine}])
    last = {mine: me, child: mine}
    ended: list[int] = []
    monkeypatch.setattr(guard, "_parents", lambda: next(looks, last))
    monkeypatch.setattr(guard.os, "kill", lambda pid, _: ended.append(pid))
    guard.end_below(but=frozenset((mine,)))
    assert ended == []
