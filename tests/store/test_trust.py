"""A run that this account did not start runs no code of its own unasked."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from falsefloor.checks.judge import Judgement
from falsefloor.errors import UsageError
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir, create_run
from falsefloor.store.trust import Code, check_trust, code_of, seal
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.units import Unit

STUDY: dict[str, Any] = {
    "models": ["python:net.py:build"],
    "inputs": "npz:batch.npz",
    "estimators": ["clever"],
}


def stored(root: Path, *, sealed: bool = True, on: str = "local", **changes: Any) -> RunDir:
    """A run of one unit as a start leaves it, sealed or not."""
    study = study_from({**STUDY, **changes})
    run = create_run(root)
    told = {"study": study.to_json(), "cwd": str(root), "on": on, "reuse": None}
    with closing(RunWriter(run.db, lambda *_: Judgement("held", (), "", 1))) as writer:
        writer.set_meta(status="cancelled", id=run.id, **told, **({"seal": seal(told)} if sealed else {}))
        writer.add_units(
            [Unit("observe", study.models[0], study.maskers[0], "linf", study.inputs, (0, 1), 0)]
        )
    return run


def code(run: RunDir) -> Code:
    with RunReader(run) as reader:
        return code_of(reader)


def change(run: RunDir, statement: str, *given: object) -> None:
    with closing(sqlite3.connect(run.db)) as db:
        db.execute(statement, given)
        db.commit()


def test_what_was_started_here_needs_no_word(tmp_path: Path) -> None:
    found = code(stored(tmp_path))
    assert found.ours and found.names == ("python:net.py:build",)


def test_a_copy_of_it_is_still_ours(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(stored(tmp_path).path, copy)
    assert code(RunDir(copy)).ours


@pytest.mark.parametrize("key", ["study", "cwd", "on", "reuse"])
def test_what_decides_the_code_cannot_be_changed_under_the_seal(tmp_path: Path, key: str) -> None:
    run = stored(tmp_path)
    other = {**STUDY, "models": ["python:evil.py:build"]} if key == "study" else "/elsewhere"
    change(run, "UPDATE meta SET value = ? WHERE key = ?", json.dumps(other), key)
    assert not code(run).ours


def test_a_unit_that_names_more_than_the_study_is_not_ours(tmp_path: Path) -> None:
    run = stored(tmp_path)
    change(run, "UPDATE unit SET spec = replace(spec, 'net.py', 'evil.py')")
    found = code(run)
    assert not found.ours and "python:evil.py:build" in found.names


def test_a_name_given_twice_is_read_as_the_worker_reads_it(tmp_path: Path) -> None:
    run = stored(tmp_path, models=["digits:mlp"], inputs="digits:0-1")
    twice = '{"model": {"use": "digits:mlp"}, "model": {"use": "python:evil.py"}, "inputs": "digits:0-1"}'
    change(run, "UPDATE unit SET spec = ?", twice)
    assert code(run) == Code(("python:evil.py",), tmp_path, ours=False)


def test_another_accounts_key_makes_another_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stored(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not code(run).ours


def test_an_account_that_can_keep_no_secret_trusts_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert not code(stored(tmp_path / "store")).ours


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "python:net.py:build"),
        ({"models": ["falsefloor/python:net.py:build"]}, "falsefloor/python:net.py:build"),
        ({"models": ["hub:a/b"]}, "hub:a/b"),
        ({"models": ["export:net.pt2"], "on": "dask:tcp://10.0.0.1:8786"}, "dask:tcp://10.0.0.1:8786"),
    ],
)
def test_a_received_run_is_refused_by_what_it_would_run(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    (tmp_path / "net.py").touch()
    run = stored(tmp_path, sealed=False, **changes)
    with pytest.raises(UsageError, match=r"not started by this account.*Nothing was run.*--trust") as said:
        check_trust(run, f"falsefloor resume {run.id}")
    assert named in str(said.value)
    if "net.py" in named:
        assert f"({tmp_path / 'net.py'}, of " in str(said.value)


def test_a_received_run_that_names_data_alone_needs_no_word(tmp_path: Path) -> None:
    run = stored(tmp_path, sealed=False, models=["digits:mlp", "export:net.pt2"])
    assert code(run).names == ()
    check_trust(run, "falsefloor resume")
