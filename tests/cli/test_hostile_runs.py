"""Runs that no falsefloor wrote: one row each where runs are listed, one message where one is opened."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import Command
from sample_run import sample

from falsefloor.cli import doctor
from falsefloor.store.run_dir import RunDir

NESTED = "[" * 2000
BAD = {
    "nesting that exhausts the stack": f"UPDATE meta SET value = '{NESTED}' WHERE key = 'study'",
    "nesting that is valid": f"UPDATE meta SET value = '{'[' * 300 + ']' * 300}' WHERE key = 'device'",
    "a negative version": "PRAGMA user_version = -5",
    "no version": "PRAGMA user_version = 0",
    "a word for a time": "UPDATE meta SET value = '\"noon\"' WHERE key = 'started'",
    "a time that is no date": "UPDATE meta SET value = '1e300' WHERE key = 'started'",
    "no number": "UPDATE meta SET value = 'NaN' WHERE key = 'created'",
    "a list for a text": "UPDATE meta SET value = '[]' WHERE key = 'tag'",
    "a blob": "UPDATE meta SET value = x'00ff'",
    "a status that is none": "UPDATE meta SET value = '\"fine\"' WHERE key = 'status'",
    "a claim of another kind": "UPDATE series SET asked = 'x'",
    "another program's mark": "PRAGMA application_id = 7",
    "no table of units": "DROP TABLE unit",
}


def change(run: RunDir, statement: str) -> None:
    with closing(sqlite3.connect(run.db)) as db:
        db.executescript(statement)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` without what looks at anything but runs."""
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    monkeypatch.setattr(doctor, "_plugins", lambda: iter(()))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_run_is_one_row_and_hides_no_other(
    command: Command, store: Path, quick: None, kind: str
) -> None:
    good, bad = sample(store), sample(store)
    change(bad, BAD[kind])
    listed = command("runs", "--json")
    rows = {row["id"]: row["status"] for row in json.loads(listed.out)["runs"]}
    assert rows == {good.id: "done", bad.id: "unreadable"}
    assert good.id in command("runs").out
    cleaned = command("runs", "gc", "--older", "0", "--keep", "0")
    assert cleaned.code == 0 and bad.id in cleaned.err and bad.db.exists()
    told = command("doctor", "--json")
    said = [finding["found"] for finding in json.loads(told.out)["findings"]]
    assert any(bad.id in one for one in said) and not any(good.id in one for one in said)
    for words in (("show", bad.id), ("watch", bad.id), ("judge", bad.id)):
        shown = command(*words)
        assert shown.code == 2 and shown.err.startswith("error: ") and "Traceback" not in shown.err


LOST = {
    "series": "DELETE FROM series",
    "units": "DELETE FROM unit",
    "the tally": "DELETE FROM tally",
    "models": "DELETE FROM model",
    "what it says of itself": "DELETE FROM meta",
    "findings' estimates": "DELETE FROM estimate",
}


@pytest.mark.parametrize("what", LOST)
def test_missing_rows_are_no_traceback(command: Command, store: Path, quick: None, what: str) -> None:
    run = sample(store)
    change(run, LOST[what])
    for words in (
        *(("show", run.id), ("show", run.id, "--json"), ("watch", run.id), ("runs",), ("doctor",)),
        *(("export", run.id, "-f", form, "-o", "-") for form in ("csv", "md", "html")),
        *(("judge", run.id), ("replay", run.id, "x"), ("compare", run.id, run.id)),
    ):
        shown = command(*words)
        assert shown.code in (0, 1, 2, 5) and "Traceback" not in shown.err


ESCAPES = """
UPDATE meta SET value = '"\\u001b[2Jid"' WHERE key = 'id';
UPDATE meta SET value = '"\\u001b]0;title\\u0007"' WHERE key IN ('tag', 'device', 'error');
UPDATE series SET label = char(27) || '[31m' || id, masker = char(27) || '[1m' || masker;
UPDATE finding SET message = char(27) || '[8mhidden', code = char(27) || '[5m' || code;
UPDATE estimate SET reason = char(27) || '[7m' || reason;
INSERT INTO event (at, kind, message) VALUES (1, char(27) || '[4mkind', char(27) || '[4mtold');
"""


@pytest.fixture
def escaping(store: Path) -> Iterator[RunDir]:
    """A run whose every name, and whose folder, holds escape codes."""
    run = sample(store, status="running")
    change(run, ESCAPES)
    moved = store / "\x1b[2Jfolder"
    run.path.rename(moved)
    yield RunDir(moved)


def test_no_stored_name_reaches_the_terminal_raw(command: Command, escaping: RunDir, quick: None) -> None:
    for words in (
        *(("show", "last"), ("watch", "last"), ("runs",), ("doctor",), ("replay", "last", "x")),
        *(("runs", "gc", "--older", "0", "--keep", "0"), ("cancel", "last"), ("compare", "last", "last")),
    ):
        shown = command(*words)
        assert "\x1b" not in shown.out + shown.err, words
    assert "\\x1b[2Jid" in command("show", "last").out


def test_an_export_into_what_is_no_file_writes_through_it(
    command: Command, store: Path, tmp_path: Path
) -> None:
    run = sample(store)
    kept, link, pipe = tmp_path / "kept.json", tmp_path / "link.json", tmp_path / "pipe"
    kept.write_text("old")
    link.symlink_to(kept)
    assert command("export", run.id, "-o", link).code == 0
    assert link.is_symlink() and json.loads(kept.read_text())["run"]["id"] == run.id
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert command("export", run.id, "-f", "md", "-o", pipe).code == 0
    assert os.read(reader, 65536).startswith(b"# falsefloor run") and pipe.is_fifo()
    os.close(reader)


@pytest.mark.parametrize("form", ["json", "html", "svg", "run"])
def test_an_export_that_breaks_off_leaves_what_was_there(
    command: Command, store: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = sample(store), tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("old")
    target = {"svg": out, "run": out / "copy"}.get(form, out / "kept")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("falsefloor.store.files.os.fchmod", full)
    monkeypatch.setattr("falsefloor.store.files.copy_run", full)
    shown = command("export", run.id, "-f", form, "-o", target)
    assert shown.code == 2 and "No space left" in shown.err
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("kept", "old")]
