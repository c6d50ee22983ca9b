"""An empty run in a store of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from falsefloor.store.run_dir import RunDir, create_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = create_run(tmp_path / "store")
    made.study.write_text("")
    return made
