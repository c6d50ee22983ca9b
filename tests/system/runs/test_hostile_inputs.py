"""Hundreds of hostile files, and every reader of models and inputs over them: read, or refused in words."""

from __future__ import annotations

import os
import resource
import sys
import traceback
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hostile_inputs import made

from falsefloor.engine.prepare import load
from falsefloor.engine.session import Session
from falsefloor.errors import FalsefloorError

pytest.importorskip("PIL")
ROOM = 2**31
"""Bytes that reading one file may take."""
MODEL = {"use": "digits:mlp"}


def tried(folder: Path, seeds: range) -> list[str]:
    """What went wrong, over files of these seeds, in this process."""
    wrong, mark = [], folder / "mark"
    for seed in seeds:
        is_model, ref, what = made(folder / str(seed), seed, mark=mark)
        try:
            if is_model:
                load({"use": ref}, "digits:0-3")
            else:
                load(MODEL, ref)
            answer = Session().ready(
                {"use": ref} if is_model else MODEL, "digits:0-3" if is_model else ref, [[]]
            )
            if "error" in answer and ("Error: " in answer["error"] or "Traceback" in answer["error"]):
                wrong.append(f"{seed} {what} {ref}: prepared: {answer['error'][:300]}")
        except FalsefloorError as error:
            if not str(error) or len(str(error)) > 3000:
                wrong.append(f"{seed} {what}: refused with {len(str(error))} characters")
        except BaseException:
            wrong.append(f"{seed} {what} {ref}: {traceback.format_exc()[-700:]}")
        if mark.exists():
            wrong.append(f"{seed} {what} {ref}: executed")
            mark.unlink()
    return wrong


def apart(folder: Path, seeds: range) -> str:
    """`tried` in a fork that has so much room; what it found wrong."""
    said = folder / "said"
    pid = os.fork()
    if pid == 0:
        try:
            warnings.simplefilter("ignore")
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + ROOM, pages * 4096 + ROOM))
            said.write_text("\n".join(tried(folder, seeds)) or "nothing")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return said.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="limits its memory by /proc")
@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(100, 500, 50))]
)
def test_hostile_files_are_read_or_refused_in_words(tmp_path: Path, first: int) -> None:
    assert apart(tmp_path, range(first, first + 50)) == "nothing"
