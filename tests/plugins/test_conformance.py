"""`plugins check`: the kit in a child, where a plugin that hangs or crashes fails its checks and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_site import Install

from falsefloor.errors import PluginError, UsageError
from falsefloor.plugins import catalogue
from falsefloor.plugins.authoring import Checked, Trial, conformance

pytestmark = pytest.mark.usefixtures("warm")

CHECK = '''
from typing import ClassVar
from falsefloor.api import CodeInfo, Finding

class Rule:
    """A rule."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"ODD": CodeInfo("odd", "suspect", "s", "c", "x")}

    def __call__(self, facts, /):
        BODY
'''
CRASHES = """
        if facts.norm == "l1":
            import ctypes
            ctypes.string_at(0)
        if facts.judged.radius == 0:
            raise SystemExit(3)
        if facts.judged.claim == "upper_bound":
            return [Finding("OTHER", "suspect", "m")]
        return []
"""
HANGS = """
        import time
        time.sleep(60) if facts.norm == "l1" else None
        return []
"""


def checked(install: Install, name: str, body: str, *, limit: float) -> dict[str, Checked]:
    source = CHECK.replace("        BODY", body)
    install(name, source, checks={name: f"{name.replace('-', '_')}:Rule"})
    trial = Trial(catalogue().find("check", name), {})
    return {one.name: one for one in conformance(trial, limit=limit)}


@pytest.mark.usefixtures("cache")
def test_a_crash_fails_its_check_and_the_rest_goes_on(install: Install) -> None:
    told = checked(install, "rule-crashes", CRASHES, limit=60.0)
    failed = {name: one.message for name, one in told.items() if not one.ok}
    for name, message in failed.items():
        assert name.startswith(("gives sound findings", "same facts", "the same in another")), message
    for name in ("gives sound findings", "same facts, same findings"):
        assert "SIGSEGV" in failed[f"{name}: a ceiling that found nothing"]
    assert "SystemExit" in failed["gives sound findings: a radius of 0"]
    assert "declares ODD" in failed["gives sound findings: a ceiling"]
    assert told["gives sound findings: facts of another version"].ok
    assert told["same facts, same findings: facts of another version"].ok


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_hang_fails_its_check_and_the_rest_goes_on(install: Install) -> None:
    told = checked(install, "rule-hangs", HANGS, limit=6.0)
    failed = {name: one.message for name, one in told.items() if not one.ok}
    assert len(told) > len(failed) == 3
    for name, message in failed.items():
        assert name.endswith((": a ceiling that found nothing", "on another day"))
        assert "did not end within 6 s" in message


@pytest.mark.usefixtures("cache")
def test_a_source_wants_a_reference_and_parameters_are_checked() -> None:
    found = catalogue()
    with pytest.raises(UsageError, match="--ref"):
        list(conformance(Trial(found.find("model", "digits"), {})))
    with pytest.raises(UsageError, match="no parameter 'd'"):
        list(conformance(Trial(found.find("masker", "staircase"), {"d": 3})))


@pytest.mark.usefixtures("cache")
def test_a_plugin_that_cannot_be_made_says_why(install: Install, tmp_path: Path) -> None:
    source = CHECK.replace("BODY", "return []").replace(
        '    """A rule."""', '    """A rule."""\n    def __init__(self):\n        raise OSError("no disk")'
    )
    install("rule-picky", source, checks={"rule-picky": "rule_picky:Rule"})
    row = catalogue().find("check", "rule-picky")
    with pytest.raises(PluginError, match="no disk"):
        list(conformance(Trial(row, {})))
