"""The package's own names do not depend on how often they were asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from warm import Forker


@pytest.mark.parametrize(
    "code",
    [
        "import falsefloor as ff; ff.evaluate; assert callable(ff.evaluate)",
        "import falsefloor as ff; ff.Results; assert callable(ff.evaluate)",
        "from falsefloor import evaluate; from falsefloor import evaluate as again; assert callable(again)",
    ],
)
def test_evaluate_is_the_function_however_often_it_is_asked_for(
    forker: Forker, code: str, tmp_path: Path
) -> None:
    with (tmp_path / "said").open("w+") as said:
        ended = forker.popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=tmp_path
        )
        assert ended.wait(60) == 0, (tmp_path / "said").read_text()
