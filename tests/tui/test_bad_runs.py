"""Runs that vanish, are half written, locked, from another version or full of nonsense: no crash, no lie."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sample_run import STUDY, StoredRun
from screens import shows, text, until

from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import VERSION
from falsefloor.study.study import ModelSpec, StackSpec
from falsefloor.tui.snapshot import RunList, RunWatch


async def test_a_run_that_vanishes_keeps_its_last_numbers_and_says_that_it_is_gone(
    opened: Any, store: Path
) -> None:
    live = StoredRun(store, done=5)
    async with opened(live.dir) as pilot:
        await shows(pilot, "5/12 units")
        live.close()
        shutil.rmtree(live.dir.path)
        screen = await shows(pilot, "is gone")
        assert "≤0.0986" in screen, "what was read stays"
        await pilot.press("enter")
        await shows(pilot, "no run.db")


async def test_a_worker_that_died_is_called_lost(opened: Any, store: Path) -> None:
    dead = StoredRun(store, done=5)
    dead.writer.set_meta(in_process=False)
    dead.close()
    async with opened(dead.dir) as pilot:
        await shows(pilot, "LOST", "5/12 units", f"{dead.dir.id}`, goes on where it stopped")


async def test_a_run_of_a_newer_version_says_so(opened: Any, run: RunDir) -> None:
    with sqlite3.connect(run.db) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    async with opened(run) as pilot:
        await shows(pilot, "newer falsefloor", "Upgrade", "unreadable")
        await pilot.press("r")
        await shows(pilot, "unreadable", "newer falsefloor")


async def test_a_file_that_is_no_database_is_named_and_nothing_else_happens(opened: Any, run: RunDir) -> None:
    run.db.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 8)
    async with opened(run) as pilot:
        await shows(pilot, "unreadable")
        for key in ("enter", "w", "escape", "v", "i", "s", "y", "Y", "space"):
            await pilot.press(key)
        await until(pilot, lambda: "unreadable" in text(pilot.app))


async def test_a_run_that_is_being_prepared_appears_when_its_database_does(opened: Any, store: Path) -> None:
    done = StoredRun(store, id="aaaa0000").close()
    young = store / "bbbb0000"
    young.mkdir()
    shutil.copy(done.study, young / "study.toml")
    async with opened(RunDir(young)) as pilot:
        await shows(pilot, "being prepared")
        shutil.copy(done.db, young / "run.db")
        await shows(pilot, "REFUTED")


async def test_names_with_markup_escapes_and_wide_letters_are_shown_letter_by_letter(
    opened: Any, store: Path
) -> None:
    model = ModelSpec("digits:mlp", label="[red]模型[/red]\x1b[31m\u202eevil")
    study = replace(
        STUDY, models=(model,), maskers=(StackSpec((), "[@click=app.quit]x[/]"), *STUDY.maskers[1:])
    )
    run = StoredRun(
        store, study=study, notes=[("FF504", "\x1b]0;title\x07 [bold]note")], names=["\x1b[H0"]
    ).close()
    async with opened(run, size=(110, 30)) as pilot:
        screen = await shows(pilot, "[red]模型[/red]\\x1b[31m\\u202eevil", "[@click=app.quit]x[/]")
        await pilot.press("enter")
        screen += await shows(pilot, "\\x1b]0;title\\x07 [bold]note", "\\x1b[H0")
        await pilot.press("w", "end")
        screen += await shows(pilot, "FF504")
        assert "\x1b" not in screen and "\u202e" not in screen


def test_a_watch_reads_nothing_where_nothing_changed(store: Path) -> None:
    live = StoredRun(store, done=5)
    watch = RunWatch(live.dir)
    assert watch.take() is not None
    assert watch.take() is None
    live.advance()
    moved = watch.take()
    assert moved is not None and moved.info is not None and moved.info.units_done == 6
    watch.close()
    assert watch.take() is None
    live.close()


def test_a_run_replaced_by_another_file_is_opened_anew(store: Path) -> None:
    first = StoredRun(store, id="aaaa0000", done=5)
    first.close()
    second = StoredRun(store, id="bbbb0000").close()
    watch = RunWatch(first.dir)
    assert watch.take() is not None
    shutil.move(second.db, first.dir.db)
    moved = watch.take()
    assert moved is not None and moved.info is not None and moved.info.units_done == 12
    watch.close()


async def test_a_run_of_endless_nesting_is_a_row_beside_the_run_that_is_watched(
    opened: Any, store: Path, run: RunDir
) -> None:
    bad = StoredRun(store, id="bbbb0000").close()
    with closing(sqlite3.connect(bad.db)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'study'", ("[" * 2000,))
        db.commit()
    async with opened(run) as pilot:
        await shows(pilot, "REFUTED")
        await pilot.press("r")
        await shows(pilot, "unreadable", "done")


def test_the_list_of_runs_survives_runs_that_cannot_be_read(store: Path, run: RunDir) -> None:
    broken = store / "dead0000"
    broken.mkdir()
    (broken / "run.db").write_bytes(b"nonsense")
    empty = store / "beef0000"
    empty.mkdir()
    lines = RunList().take([run, RunDir(broken), RunDir(empty)])
    assert [line.info is not None for line in lines] == [True, False, False]
    assert "not a falsefloor run" in lines[1].problem and lines[2].problem == "no run.db"
