"""Real runs in a store of their own, small enough for a second."""

from __future__ import annotations

import time
from typing import Any

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import ENDED
from falsefloor.study.file import study_from
from falsefloor.study.study import Study

SMALL = {
    "models": ["digits:mlp"],
    "inputs": "digits:0-3",
    "maskers": ["none", "staircase:c=255"],
    "estimators": ["clever:batches=4,samples=8,radius=0.3"],
    "ceiling": False,
    "recover": "off",
}


def small(**changes: Any) -> Study:
    return study_from({**SMALL, **changes})


def ended(run: RunDir, *, limit: float = 60.0) -> str:
    """The status a run ends with."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        with RunReader(run) as reader:
            status = reader.info().status
        if status in ENDED and not run.is_alive():
            return status
        time.sleep(0.05)
    raise AssertionError(f"{run.id} did not end in {limit} s: {run.log.read_text()}")


def numbers(run: RunDir) -> list[tuple[Any, ...]]:
    """What must be the same whenever the same study is computed again."""
    with RunReader(run) as reader:
        return [
            (e["masker"], e["name"], e["input"], e["radius"], e["verdict"], e["evidence"])
            for e in reader.estimates()
        ]
