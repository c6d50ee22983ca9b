"""One way to ask a child process: what it answers, raises or does to itself reaches who asked, as such."""

from __future__ import annotations

import os

import pytest

from falsefloor.errors import FalsefloorError
from falsefloor.plugins import process
from falsefloor.plugins.process import LONGEST_LINE, Child, GoneError, SilentError, ask

CHILD = "asked_child"


def test_every_answer_comes_back_and_the_process_is_gone() -> None:
    first, second = ask(CHILD, {"a": [1, None]}, doing="trying")
    assert (first["got"], second) == ({"a": [1, None]}, {"text": "x"})
    with pytest.raises(ProcessLookupError):
        os.kill(first["pid"], 0)


@pytest.mark.parametrize(
    ("wish", "says", "code"),
    [
        ("refuse", "not like this", 2),
        ("raise", "ValueError: no luck", 1),
        ("exit", "SystemExit: 3", 1),
        ("abort", r"trying broke off: its process crashed the interpreter \(SIGABRT\)", 1),
    ],
)
def test_what_happens_there_is_an_error_here(
    wish: str, says: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FalsefloorError, match=says) as raised:
        list(ask(CHILD, {"then": wish}, doing="trying"))
    assert raised.value.exit_code == code
    out, err = capfd.readouterr()
    assert out == ""
    assert "said aloud" in err
    assert ("Traceback" in err) == (wish in ("raise", "exit")), "what we raise on purpose needs none"


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LIMIT", 0.6)
    with pytest.raises(FalsefloorError, match="trying took more than 1 s"):
        list(ask(CHILD, {"then": "sleep"}, doing="trying"))


def test_one_child_answers_again_after_it_refused() -> None:
    child = Child(CHILD)
    try:
        with pytest.raises(FalsefloorError, match="no luck"):
            list(child.answers({"then": "raise"}, limit=20))
        assert [answer.get("text") for answer in child.answers({}, limit=20)] == [None, "x"]
    finally:
        child.end()


def test_only_who_asks_on_a_commands_behalf_takes_answers_of_any_length() -> None:
    request = {"long": LONGEST_LINE + 100_000}
    assert len(list(ask(CHILD, request, doing="trying"))[1]["text"]) == request["long"]
    child = Child(CHILD)
    try:
        with pytest.raises(GoneError):
            list(child.answers(request, limit=20))
    finally:
        child.end()


def test_each_answer_has_its_own_time() -> None:
    child = Child(CHILD)
    try:
        answers = child.answers({"then": "sleep"}, first=20, limit=0.1)
        assert "pid" in next(answers)
        with pytest.raises(SilentError):
            next(answers)
    finally:
        child.end()
