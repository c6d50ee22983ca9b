"""Third-party checks run in a child: their findings come back, their failures stay theirs."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from plugin_site import Install

from falsefloor.api import Facts, Record
from falsefloor.checks.judge import judge
from falsefloor.errors import PluginError
from falsefloor.plugins import discover
from falsefloor.plugins.describe import describe
from falsefloor.plugins.judging import ForeignCheck, JudgingChild, foreign_checks

pytestmark = pytest.mark.usefixtures("warm")

SOURCE = '''
import os, sys, time
from typing import ClassVar
from falsefloor.api import CodeInfo, Finding

class Odd:
    """Says what it was given."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"ODD": CodeInfo("odd", "suspect", "s", "c", "x")}
    def __call__(self, facts, /):
        BODY
'''
FACTS = Facts(
    "l2",
    Record("clever", "lower_estimate", "autograd", 0.3, {"lipschitz": 0.0, "fit": "max"}, {"c": [1.0]}),
    (Record("attack", "upper_bound", "autograd", math.inf),),
    {"margin": math.nan, "nested": {"a": [1, 2]}},
)


@pytest.fixture
def child() -> Iterator[JudgingChild]:
    with closing(JudgingChild(limit=1.0)) as running:
        yield running


@pytest.fixture
def foreign(install: Install, child: JudgingChild) -> object:
    """foreign(**bodies): installs one check a body and returns them by name."""

    def make(**bodies: str) -> dict[str, ForeignCheck]:
        for name, body in bodies.items():
            install(name, SOURCE.replace("BODY", body), checks={name: f"{name}:Odd"})
        rows = describe(plugin for plugin in discover() if not plugin.own)
        return {check.dist: check for check in foreign_checks(rows, child)}

    return make


def test_findings_come_back_under_the_distributions_name(foreign) -> None:
    said = "f'{facts.judged.radius} {facts.others[0].radius}'"
    body = f"yield Finding('ODD', 'suspect', {said}, {{'a': 1.5}})"
    (finding,) = foreign(tell=body)["tell"](FACTS)
    assert (finding.code, finding.severity, finding.message) == ("tell:ODD", "suspect", "0.3 inf")
    assert finding.evidence == {"a": 1.5}
    assert "tell" not in sys.modules


def test_the_judge_takes_a_foreign_check_as_one_of_its_own(foreign) -> None:
    checks = foreign(one="yield Finding('ODD', 'suspect', 'odd')", two="raise RuntimeError('broken')")
    judgement = judge(FACTS, list(checks.values()))
    assert judgement.verdict == "suspect"
    assert {finding.code for finding in judgement.findings} == {"one:ODD", "FF901"}


FAILURES = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("sys.exit(3)", "SystemExit"),
    "undeclared": ("yield Finding('FF201', 'refuted', 'm')", "undeclared:FF201"),
    "unsound": ("yield Finding('ODD', 'certain', 'm')", "certain"),
    "wordy": ("yield 'ODD'", "failed"),
    "flood": ("yield from [Finding('ODD', 'note', str(i)) for i in range(99)]", "99 things"),
}


def test_a_check_that_fails_raises_and_the_next_is_answered(foreign) -> None:
    checks = foreign(**{name: body for name, (body, _) in FAILURES.items()}, fine="return []")
    for name, (_, reason) in FAILURES.items():
        with pytest.raises(PluginError, match=reason):
            checks[name](FACTS)
        assert checks["fine"](FACTS) == []


def test_a_hang_and_a_crash_cost_one_time_limit_and_no_other_check(foreign) -> None:
    checks = foreign(hangs="time.sleep(600)", dies="os._exit(9)", fine="return []")
    assert checks["fine"](FACTS) == []
    for name, reason in (("dies", "status 9"), ("hangs", "did not answer")):
        os.environ["FALSEFLOOR_PLUGIN_TIMEOUT"] = "1"
        try:
            with pytest.raises(PluginError, match=reason):
                checks[name](FACTS)
        finally:
            del os.environ["FALSEFLOOR_PLUGIN_TIMEOUT"]
        start = time.monotonic()
        with pytest.raises(PluginError, match=reason):
            checks[name](FACTS)
        assert time.monotonic() - start < 0.1
        assert checks["fine"](FACTS) == []


def test_what_a_check_prints_is_no_answer(foreign) -> None:
    (finding,) = foreign(loud="print('{}'); yield Finding('ODD', 'note', '\\x1b[2J')")["loud"](FACTS)
    assert finding.message == "\\x1b[2J"
