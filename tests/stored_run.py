"""One real run for all tests of surfaces: recorded once with real estimators, checks and judge, kept as SQL.

What is in it: an unmasked model, a staircase and a ramp; an input that is misclassified (0); a stranger's
package whose estimator fails on one input (2) and whose check doubts the others; a certified bound, which is
skipped where it does not apply; scores at their caps; a ceiling that nobody asked for.
`python tests/stored_run.py` records it again.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from falsefloor.store.run_dir import RunDir

SQL = Path(__file__).parent / "data" / "run-surfaces.sql"
PRAGMAS = ("user_version", "application_id")
"""What says that a database is a run's, and of which version; a dump leaves both out."""
STUDY = """
models = ["digits:mlp"]
inputs = "digits:39-42"
maskers = ["none", "staircase:c=255", "ramp:c=255,delta=0.2"]
estimators = ["clever", "clever:radius=0.3", "finite-difference", "milp:time_limit=20", "moody"]
tag = "surfaces"
"""
GUESTBOOK = '''
"""A stranger's package: an estimator that fails now and then, and a check that doubts round numbers."""
from dataclasses import dataclass
from typing import ClassVar

import torch

from falsefloor.api import CodeInfo, Estimate, Finding


@dataclass(frozen=True)
class Moody:
    """Fails on inputs of class 3, says 0.02 elsewhere."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("linf",))

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        if (labels == 3).any():
            raise ValueError("class 3 is | not <b>served</b>")
        return Estimate(radius=torch.full((len(inputs),), 0.02), evidence={}, curves={}, witness=None)


class Round:
    """Doubts a radius of 0.02."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict] = {
        "ROUND": CodeInfo(
            name="round", severity="suspect", summary="Too round.", cure="Look again.", source="guestbook"
        )
    }

    def __call__(self, facts, /):
        if abs(facts.judged.radius - 0.02) < 1e-6:
            yield Finding("ROUND", "suspect", "exactly 0.02 | is *odd* <b>", {"radius": 0.02})
'''
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: guestbook\nVersion: 0.3\n",
    "entry_points.txt": "[falsefloor.estimators]\nmoody = guestbook:Moody\n"
    "[falsefloor.checks]\nround = guestbook:Round\n",
    "RECORD": "guestbook.py,,\n",
}


def stored(root: Path, name: str = "5f8d9f78") -> RunDir:
    """The run, in a store of its own or beside others."""
    folder = root / name
    (folder / "commands").mkdir(parents=True)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "worker.log").write_text("started\n", encoding="utf-8")
    with closing(sqlite3.connect(folder / "run.db")) as db:
        db.executescript(SQL.read_text(encoding="utf-8"))
        db.execute("UPDATE meta SET value = ? WHERE key = 'id'", (f'"{name}"',))
        db.commit()
    return RunDir(folder)


def record() -> None:
    """Compute the run with the real command and keep it; arrays that no surface draws are left out."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        info = root / "guestbook-0.3.dist-info"
        info.mkdir()
        (root / "guestbook.py").write_text(GUESTBOOK, encoding="utf-8")
        for file, words in METADATA.items():
            (info / file).write_text(words, encoding="utf-8")
        (root / "study.toml").write_text(STUDY, encoding="utf-8")
        given = {"PYTHONPATH": place, "FALSEFLOOR_STORE": f"{place}/runs", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "falsefloor", "run", "study.toml"]
        told = subprocess.run(command, cwd=place, env=os.environ | given, check=False)
        assert told.returncode == 1, "one estimate fails"
        (file,) = root.glob("runs/*/run.db")
        with closing(sqlite3.connect(file)) as db:
            db.execute("DELETE FROM array WHERE name LIKE '%/pair-%' OR name LIKE '%/counterexample'")
            db.commit()
            ours = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
            lines = [*db.iterdump(), *(f"PRAGMA {name} = {value};" for name, value in ours.items())]
        SQL.write_text("\n".join(lines).replace(place, "/somewhere") + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
