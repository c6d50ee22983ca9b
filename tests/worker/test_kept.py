"""What a supervisor is sent, or not sent, by a process that runs a stranger's code; whom a guard ends."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from falsefloor.plugins import guard
from falsefloor.store.records import EstimateResult, UnitResult, pack, unpack
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


FACTS = {"count": 1, "labels": [0], "predicted": [0], "inside": [True], "said": [], "training": False}
PREPARED = {"facts": FACTS, "fingerprint": {}, "device": "cpu", "threads": 1, "versions": {}}


def test_a_model_that_replaced_what_answers_for_it_is_refused_and_the_run_goes_on() -> None:
    assert Kept.prepared(b"J" + json.dumps(PREPARED).encode()) == PREPARED
    refused = {"error": "no", "exit_code": 2}
    assert Kept.prepared(b"J" + json.dumps(refused).encode()) == refused
    for answer in (
        [], {}, 7, "error", {"error": 1, "exit_code": 2}, {"error": "no"}, {**PREPARED, "facts": {}},
        {**PREPARED, "threads": "1"}, {**PREPARED, "facts": {**FACTS, "labels": 3}},
    ):  # fmt: skip
        with pytest.raises(NO_MESSAGE):
            Kept.prepared(b"J" + json.dumps(answer).encode())


@pytest.mark.parametrize(
    "changed",
    [{"radius": "0.1"}, {"input": 2**70}, {"status": "fine"}, {"evidence": []},
     {"interval": ("a", "b")}, {"notes": [("FF105", 7)]}, {"seconds": None}],
)  # fmt: skip
def test_a_result_of_other_kinds_is_no_message(changed: dict[str, Any]) -> None:
    honest = UnitResult("key", estimates=[EstimateResult(0, radius=0.1, notes=[])], observations=[])
    assert unpack(pack(honest)) == honest
    forged = UnitResult("key", estimates=[EstimateResult(**{"input": 0, **changed})])
    with pytest.raises(NO_MESSAGE):
        unpack(pack(forged))


def test_half_a_character_is_sent_as_a_question_mark_and_taken_from_nobody() -> None:
    said = UnitResult("key", "failed", "no file \udcff")
    assert unpack(pack(said)).error == "no file ?"
    forged = pack(UnitResult("key", "failed", "MARKED")).replace(b"MARKED", b"\\ud800")
    with pytest.raises(NO_MESSAGE):
        unpack(forged)


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
