"""The plugin pages say what the code does: the tutorial's code runs, the list of checks is the kits' own."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from falsefloor.testing import Result, check_estimator

PAGES = Path(__file__).parents[2] / "docs" / "plugins"


def block(name: str) -> str:
    text = (PAGES / "tutorial.md").read_text(encoding="utf-8")
    found = re.search(rf"```python\n# {name}\.py\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None, name
    return found[1]


def failures(name: str, cls: str) -> list[Result]:
    space: dict[str, Any] = {"__name__": "__main__"}
    # As a file of its own: without this one's future annotations.
    exec(compile(block(name), name, "exec", dont_inherit=True), space)
    return [result for result in check_estimator(space[cls](), raises=False) if not result.ok]


def test_the_constant_fails_exactly_the_checks_that_the_tutorial_names() -> None:
    told = (
        (PAGES / "tutorial.md")
        .read_text(encoding="utf-8")
        .partition("$ python ask.py\n")[2]
        .partition("```")[0]
    )
    assert [result.name for result in failures("constant", "Constant")] == told.splitlines()
    assert len([line for line in block("constant").splitlines() if line]) <= 12


def test_the_second_estimator_passes_every_check() -> None:
    assert failures("local", "Local") == []


def test_the_list_of_conformance_checks_is_what_the_kits_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PAGES / "generate.py"), run_name="__main__")
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_link_between_pages_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (PAGES / page).read_text(encoding="utf-8")):
        assert (PAGES / target).exists(), target
