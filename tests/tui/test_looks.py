"""Four pictures of the table, compared letter by letter and colour by colour. Few, so that each is looked at.

Made with the pinned Textual of constraints.txt; after a change that is meant:
pytest tests/tui/test_looks.py --snapshot-update, and look at the report.
"""

from __future__ import annotations

from typing import Any

import pytest
from screens import until
from textual.pilot import Pilot

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.app import Workbench


async def refuted(pilot: Pilot[Any]) -> None:
    """With the cursor on what is refuted, when its story is told."""
    await until(pilot, lambda: bool(pilot.app.snapshot and pilot.app.snapshot.ended))  # type: ignore[attr-defined]
    await pilot.press("down")
    await until(pilot, lambda: "FF201" in str(pilot.app.screen.query_one("#says").render()))
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_table_looks_as_it_did(snap_compare: Any, run: RunDir, size: tuple[int, int]) -> None:
    assert snap_compare(Workbench(run.path.parent, run), terminal_size=size, run_before=refuted)


def test_the_table_in_ascii_looks_as_it_did(
    snap_compare: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert snap_compare(Workbench(run.path.parent, run), terminal_size=(80, 24), run_before=refuted)


def test_the_table_without_colour_looks_as_it_did(
    snap_compare: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(Workbench(run.path.parent, run), terminal_size=(80, 24), run_before=refuted)
