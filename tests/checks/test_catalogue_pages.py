"""The catalogue: complete, in plain words, and the same in the terminal and in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from falsefloor.checks.catalogue import CATALOGUE, explain
from falsefloor.checks.judge import TELLING
from falsefloor.checks.verdicts import SEVERITIES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", list(CATALOGUE))
def test_every_entry_is_complete(code: str) -> None:
    entry = CATALOGUE[code]
    assert re.fullmatch(r"FF\d\d\d", code)
    assert entry.info.severity in SEVERITIES
    # the name is what a table's last column shows beside the code
    assert 0 < len(entry.info.name) <= 28
    texts = (
        entry.info.summary,
        entry.info.cure,
        entry.info.source,
        entry.measured,
        entry.cause,
        entry.blind_spot,
    )
    assert all(text and "\n" not in text and text == text.strip() for text in texts)


def test_codes_are_found_in_any_case_and_foreign_ones_are_not() -> None:
    assert explain("ff201") is CATALOGUE["FF201"]
    assert explain("acme:X1") is None


def test_the_order_of_reasons_names_known_codes_once() -> None:
    assert len(set(TELLING)) == len(TELLING)
    assert set(TELLING) <= set(CATALOGUE)


def test_the_documentation_says_what_the_catalogue_says() -> None:
    script = ROOT / "docs" / "warnings" / "generate.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_checks_and_judge_load_without_torch() -> None:
    program = (
        "import sys; from falsefloor.checks import judge, gradient, contradiction, statistics, numerics,"
        " ceiling, domain; print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
