"""Runs that came by mail: nothing outside their folder is read, written or deleted for them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from recorded_runs import restored

from falsefloor.errors import StoreError
from falsefloor.store.files import copy_folder
from falsefloor.store.reader import RunReader
from falsefloor.store.received import contents, delete, give_order, open_regular, take_orders
from falsefloor.store.run_dir import RunDir, find_run, list_dirs, take_lock
from falsefloor.store.schema import VERSION
from falsefloor.store.writer import RunWriter


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return restored(tmp_path / "store" / "aa11bb22", VERSION - 1)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody's with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "cancel").write_text("precious")
    return folder


def test_orders_are_left_and_taken_once_in_their_order(run: RunDir) -> None:
    for order in ("pause", "resume", "cancel"):
        give_order(run.path, order, mode=0o700)
        os.utime(run.commands / order, ns=(0, {"pause": 2, "resume": 3, "cancel": 1}[order]))
    assert take_orders(run.path, ("pause", "cancel")) == ["cancel", "pause"]
    assert take_orders(run.path) == ["resume"]
    assert take_orders(run.path) == []


def test_orders_that_are_a_link_are_neither_taken_nor_given(run: RunDir, outside: Path) -> None:
    run.commands.rmdir()
    run.commands.symlink_to(outside)
    assert take_orders(run.path) == []
    with pytest.raises(StoreError, match="cannot ask run"):
        run.command("kill")
    assert [(file.name, file.read_text()) for file in outside.iterdir()] == [("cancel", "precious")]


def test_an_order_that_is_a_link_touches_nothing(run: RunDir, outside: Path) -> None:
    (run.commands / "kill").symlink_to(outside / "new")
    with pytest.raises(StoreError, match="cannot ask run"):
        run.command("kill")
    assert not (outside / "new").exists()


@pytest.mark.parametrize("name", ["run.db", "lock", "worker.log", "study.toml"])
def test_what_has_another_name_elsewhere_is_read_and_not_written(
    run: RunDir, outside: Path, name: str
) -> None:
    place, precious = run.path / name, outside / "cancel"
    if name == "run.db":
        shutil.copy(place, precious)
    place.unlink(missing_ok=True)
    place.hardlink_to(precious)
    before = precious.read_bytes()
    if name == "run.db":
        with RunReader(run) as reader:
            assert reader.info().id
        with pytest.raises(StoreError, match="another name elsewhere"):
            RunWriter(run.db, lambda *_: [])
    else:
        for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
            with pytest.raises(OSError, match="link"):
                open_regular(place, flags)
    assert precious.read_bytes() == before


@pytest.mark.parametrize("name", ["run.db", "run.db-wal", "run.db-journal"])
def test_a_database_behind_a_link_or_a_pipe_is_not_opened(run: RunDir, outside: Path, name: str) -> None:
    elsewhere = shutil.copy(run.db, outside / "run.db")
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match="no regular file"):
        RunReader(run)
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(StoreError, match="no regular file"):
        RunReader(run)


def test_a_journal_that_names_another_file_is_not_played_back(run: RunDir) -> None:
    journal = run.path / "run.db-journal"
    journal.write_bytes(bytes(512) + b"/somewhere/precious" + bytes.fromhex("d9d505f920a163d7"))
    with pytest.raises(StoreError, match="journal names another file"):
        RunReader(run)


@pytest.mark.parametrize("name", ["study.toml", "worker.log"])
def test_a_copy_takes_nothing_from_behind_a_link(
    run: RunDir, outside: Path, tmp_path: Path, name: str
) -> None:
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(outside / "cancel")
    with pytest.raises(StoreError, match=f"{name}: it is a link"):
        copy_folder(run, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "store"]


def test_a_lock_that_is_a_link_is_not_held(run: RunDir, outside: Path) -> None:
    run.lock.unlink(missing_ok=True)
    run.lock.symlink_to(outside / "new")
    with pytest.raises(StoreError, match="cannot write in"):
        take_lock(run)
    assert not run.is_alive() and not (outside / "new").exists()


def test_a_run_is_deleted_with_all_that_is_its_own(run: RunDir) -> None:
    run.log.write_text("said")
    give_order(run.path, "cancel", mode=0o700)
    assert list(contents(run.path)) == ["commands/cancel", "study.toml", "worker.log", "run.db"]
    run.delete()
    assert not run.path.exists()


@pytest.mark.parametrize("place", ["notes.txt", "commands/notes.txt"])
def test_a_run_with_anything_else_in_it_is_kept_whole(run: RunDir, place: str) -> None:
    (run.path / place).write_text("mine")
    with pytest.raises(StoreError, match=f"holds '{place}', which no run does"):
        run.delete()
    assert run.db.exists() and (run.path / place).exists()


@pytest.mark.parametrize("place", ["study.toml", "commands"])
def test_deleting_follows_no_link(run: RunDir, outside: Path, place: str) -> None:
    shutil.rmtree(run.commands)
    (run.path / place).unlink(missing_ok=True)
    (run.path / place).symlink_to(outside if place == "commands" else outside / "cancel")
    with pytest.raises(StoreError):
        run.delete()
    assert (outside / "cancel").read_text() == "precious" and run.db.exists()


def test_a_folder_with_a_study_is_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "study.toml").write_text('models = ["digits:mlp"]')
    assert list_dirs(tmp_path) == []
    for made in (b"", b"SQLite format 3\0" + bytes(200)):
        (folder / "run.db").write_bytes(made)
        with pytest.raises(StoreError, match="not one of falsefloor's"):
            delete(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["run.db", "study.toml"]


def test_a_link_in_a_store_is_no_run_of_it(run: RunDir, tmp_path: Path) -> None:
    root = tmp_path / "another"
    root.mkdir()
    (root / "linked00").symlink_to(run.path)
    assert list_dirs(root) == []
    with pytest.raises(StoreError):
        RunDir(root / "linked00").delete()
    assert find_run(root, str(root / "linked00")).path == run.path, "who names it means it"
    assert run.db.exists()


def test_a_database_of_another_program_is_no_run(run: RunDir) -> None:
    data = bytearray(run.db.read_bytes())
    data[68:72] = b"else"
    run.db.write_bytes(data)
    with pytest.raises(StoreError, match="not one of falsefloor's"):
        contents(run.path)
    with pytest.raises(StoreError, match="another program"):
        RunReader(run)
