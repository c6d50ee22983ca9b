"""The package's own names do not depend on how often they were asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from warm import Forker

ROOT = Path(__file__).parents[1]


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


def _is_below(module: ModuleType, name: str) -> bool:
    return hasattr(module, "__path__") and find_spec(f"{module.__name__}.{name}") is not None


def test_what_the_documents_and_benchmarks_import_is_there() -> None:
    files = [*(ROOT / "docs").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    asked = {
        (node.module, name.name)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("falsefloor.")
        for name in node.names
    }
    gone = []
    for module, name in sorted(asked):
        if not hasattr(found := importlib.import_module(module), name) and not _is_below(found, name):
            gone.append(f"{module}.{name}")
    assert len(asked) > 50 and not gone
