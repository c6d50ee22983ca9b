"""A run's judge asks other people's checks in one child, while it is open, and only where there are any."""

from __future__ import annotations

import array
import math
import os
import sqlite3

import pytest
from plugin_site import Install

from falsefloor.api import Facts, Record
from falsefloor.plugins import judging
from falsefloor.plugins.judging import RunJudge
from falsefloor.plugins.process import Child
from falsefloor.store.verdicts import Curves

pytestmark = pytest.mark.usefixtures("warm")

SOURCE = '''
import os
from typing import ClassVar
from falsefloor.api import CodeInfo, Finding

class Who:
    """Says which process it runs in and what it was given."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"PID": CodeInfo("pid", "note", "s", "c", "x")}

    def __call__(self, facts, /):
        evidence = {"pid": os.getpid(), "curve": sum(facts.judged.curves.get("c", [0.0]))}
        yield Finding("PID", "note", "here", evidence)
'''


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The children that judging started."""
    seen: list[Child] = []

    def watched(module: str) -> Child:
        seen.append(Child(module))
        return seen[-1]

    monkeypatch.setattr(judging, "Child", watched)
    return seen


def facts(curves: object = None) -> Facts:
    judged = Record("clever", "lower_estimate", "autograd", 0.3, {"fit": "max"}, curves or {})  # type: ignore[arg-type]
    return Facts("l2", judged, [Record("attack", "upper_bound", "autograd", math.inf)], {})


@pytest.mark.usefixtures("cache")
def test_no_child_is_started_where_nobody_elses_check_is_installed(
    install: Install, started: list[Child]
) -> None:
    install("only-an-estimator")
    with RunJudge() as judge:
        assert judge(facts(), ()).checks > 0
    assert started == []


@pytest.mark.usefixtures("cache")
def test_one_child_serves_a_run_and_ends_with_it(install: Install, started: list[Child]) -> None:
    install("who-judges", SOURCE, checks={"who": "who_judges:Who"})
    judge = RunJudge()
    assert started == []
    found = [judge(facts(), ()).findings for _ in range(3)]
    pids = {f.evidence["pid"] for findings in found for f in findings if f.code == "who-judges:PID"}
    assert len(started) == len(pids) == 1
    judge.close()
    (pid,) = pids
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    judge.close()


@pytest.mark.usefixtures("cache")
def test_curves_that_lie_in_the_database_reach_the_check(install: Install) -> None:
    install("who-reads", SOURCE, checks={"reads": "who_reads:Who"})
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE array (name TEXT, data BLOB)")
    db.execute("INSERT INTO array VALUES ('cell/0/curve-c', ?)", (array.array("f", [1.0, 2.5]).tobytes(),))
    with RunJudge() as judge:
        findings = judge(facts(Curves(db, "cell/0/curve-")), ()).findings
    (mine,) = [f for f in findings if f.code == "who-reads:PID"]
    assert mine.evidence["curve"] == 3.5
