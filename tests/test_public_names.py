"""The package's own names do not depend on how often they were asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import falsefloor as ff; ff.evaluate; assert callable(ff.evaluate)",
        "import falsefloor as ff; ff.Results; assert callable(ff.evaluate)",
        "from falsefloor import evaluate; from falsefloor import evaluate as again; assert callable(again)",
    ],
)
def test_evaluate_is_the_function_however_often_it_is_asked_for(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
