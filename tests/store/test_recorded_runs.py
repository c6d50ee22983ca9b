"""A real run of the version before: opened, shown, judged again and resumed by this one.

tests/data/run-schema-2.sql was cancelled after 43 of its 48 units. One of its two models was declared with
bounds that its second input lies outside of (failed); the other misclassifies that input; the exact solver
declines a model in float16 (skipped); the staircase's constants are refuted.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import restored

from falsefloor.cli.app import run_command
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.files import damage
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.worker.launch import resume


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return restored(tmp_path / "store" / "64232e48", 2)


def estimates(run: RunDir) -> list[dict[str, Any]]:
    with RunReader(run) as reader:
        return list(reader.estimates())


def states(run: RunDir) -> Counter[str]:
    return Counter(e["verdict"] or e["status"] for e in estimates(run))


def test_it_opens_with_every_estimate_as_it_was(run: RunDir) -> None:
    assert damage(run) is None
    assert states(run) == {"held": 17, "refuted": 3, "suspect": 1, "failed": 9, "skipped": 2, "cancelled": 4}


def test_it_is_judged_again_to_the_same_verdicts_and_findings(run: RunDir) -> None:
    before = estimates(run)
    with RunJudge() as judge, closing(RunWriter(run.db, judge)) as writer:
        assert writer.judge_all() == 12
    after = estimates(run)
    for e in before:  # of a misclassified input nothing was estimated, nothing held
        if e["verdict"] == "held" and e["label"] != e["predicted"]:
            e["verdict"] = "unchecked"
    for e in (*before, *after):  # a later version has more checks, and counts those that ran
        e["reason"] = re.sub(r"^\d+ checks", "checks", e["reason"])
        for warning in e["warnings"]:  # and says how much nearer where four digits do not show it
            warning["message"] = re.sub(r", 0\.\d+ % nearer$", "", warning["message"])
    for name in ("verdict", "reason", "warnings"):
        assert [e[name] for e in after] == [e[name] for e in before]
    assert damage(run) is None


def test_it_is_shown(run: RunDir, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["show", str(run.path)]) == 0
    shown = capfd.readouterr().out
    for word in ("narrow", "digits:linear", "REFUTED", "FF201 floor above ceiling"):
        assert word in shown


def test_it_is_resumed_and_nothing_that_was_stored_moves(run: RunDir, warm: None) -> None:
    before = estimates(run)
    resume(run, retry=("cancelled",))
    deadline = time.monotonic() + 60
    while run.is_alive():
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.05)
    with RunReader(run) as reader:
        assert reader.info().status == "done", reader.meta()["error"]
    after = {(e["unit"], e["input"]): e for e in estimates(run)}
    for old in before:
        new = after[old["unit"], old["input"]]
        assert new["status"] == ("ok" if old["status"] == "cancelled" else old["status"])
        if old["status"] == "ok":
            assert (new["radius"], new["evidence"]) == (old["radius"], old["evidence"])
    assert damage(run) is None
