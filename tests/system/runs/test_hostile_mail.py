"""Hundreds of hostile runs, and every command over each: words, and nothing executed, followed or deleted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "cli")]
from commands import Command, Outcome  # noqa: E402  (of the commands' own tests)
from hostile_mail import mail  # noqa: E402  (beside this folder)
from stored_run import stored  # noqa: E402

from falsefloor.cli import doctor  # noqa: E402
from falsefloor.worker import launch  # noqa: E402

WORDS = (
    ("show",), ("show", "--json"), ("watch",), ("judge",), ("compare", "RUN"), ("replay", "x"), ("cancel",),
    ("pause",), ("resume", "--detach"),
    *(("export", "-f", form, "-o", "-") for form in ("json", "csv", "md", "html")),
    ("export", "-f", "run", "-o", "OUT"),
)  # fmt: skip
STORE = (("runs",), ("runs", "--json"), ("runs", "gc", "--older", "0", "--keep", "0"), ("doctor", "--json"))
ENDS = {0, 1, 2, 3, 4, 5, 130}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


@pytest.fixture
def command(
    tmp_path: Path, warm: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """A command in this process; what would start a worker only says so."""
    from falsefloor.cli.app import run_command

    monkeypatch.setenv("FALSEFLOOR_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "launch", lambda run: None)
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    monkeypatch.setattr(doctor, "_plugins", lambda: iter(()))

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        code = run_command([str(word) for word in words])
        seen = capfd.readouterr()
        return Outcome(code, seen.out, seen.err)

    yield run


def tree(folder: Path) -> list[tuple[str, str, int]]:
    return sorted((str(one), one.read_text(), one.stat().st_mtime_ns) for one in folder.rglob("*"))


def check(outcome: Outcome, what: object) -> None:
    said = outcome.out + outcome.err
    assert outcome.code in ENDS, what
    assert "Traceback" not in said, (what, outcome.err[-2000:])
    raw = [mark for mark in ("\x1b", "\x9b", "\u202e", "\u2066", "\x07") if mark in said]
    assert not raw, (what, raw)


def deliver(command: Command, tmp_path: Path, outside: Path, seeds: range) -> None:
    store, mark, before = tmp_path / "store", tmp_path / "mark", tree(outside)
    for seed in seeds:
        run, how = mail(store, seed, outside=outside, mark=mark)
        for words in WORDS:
            named = [str(run.path) if word == "RUN" else "out" if word == "OUT" else word for word in words]
            outcome = command(named[0], run.path, *named[1:])
            check(outcome, (how, words))
            if "html" in words:
                assert "<script>alert" not in outcome.out and "<img src=x" not in outcome.out, how
        assert not mark.exists(), (how, mark.read_text())
        assert tree(outside) == before, how
        for left in tmp_path.glob("out*"):
            if left != outside:
                left.rename(tmp_path / f"kept-{seed}")
    for words in STORE:
        check(command(*words), words)
    assert tree(outside) == before and not mark.exists()
    command("runs", "gc", "--older", "0", "--keep", "0", "--yes")
    assert tree(outside) == before


def test_a_few_hostile_runs_end_in_words(command: Command, tmp_path: Path, outside: Path) -> None:
    deliver(command, tmp_path, outside, range(6))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(500, 540))
async def test_the_app_shows_a_hostile_run_beside_another_and_does_not_end(
    tmp_path: Path, outside: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from falsefloor.tui.app import Workbench

    monkeypatch.setenv("TERM", "xterm-256color")
    store, mark, before = tmp_path / "store", tmp_path / "mark", tree(outside)
    stored(store)
    run, how = mail(store, seed, outside=outside, mark=mark)
    app = Workbench(store, run)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause(0.3)
        for keys in (
            ("enter", "escape"),
            ("w", "escape"),
            ("r", "down", "enter"),
            ("r", "end", "enter"),
            ("q",),
        ):
            await pilot.press(*keys)
            await pilot.pause(0.2)
        await app.workers.wait_for_complete()
    assert not mark.exists() and tree(outside) == before, how


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 500, 40))
def test_hundreds_of_hostile_runs_end_in_words(
    command: Command, tmp_path: Path, outside: Path, first: int
) -> None:
    deliver(command, tmp_path, outside, range(first, first + 40))
