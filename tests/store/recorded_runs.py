"""Runs as each released schema stored them, brought back to life."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from falsefloor.store.run_dir import RunDir

DATA = Path(__file__).parents[1] / "data"


def restored(folder: Path, version: int) -> RunDir:
    folder.mkdir(parents=True)
    (folder / "commands").mkdir()
    (folder / "study.toml").touch()
    with closing(sqlite3.connect(folder / "run.db")) as db:
        db.executescript((DATA / f"run-schema-{version}.sql").read_text())
    return RunDir(folder)
