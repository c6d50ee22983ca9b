"""The table and an estimate at three sizes, in colour, in ASCII and without colour: each was looked at.

Made with the pinned Textual of constraints.txt; after a change that is meant:
pytest tests/tui/test_looks.py --snapshot-update, and look at the report.
"""

from __future__ import annotations

from typing import Any

import pytest
from screens import until
from textual.pilot import Pilot
from textual.widgets import Static

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.app import Workbench

SIZES = [(80, 24), (140, 40)]
LOOKS = {"colour": {}, "ascii": {"LC_ALL": "C"}, "plain": {"NO_COLOR": "1"}}


async def refuted(pilot: Pilot[Any]) -> None:
    """With the cursor on what is refuted, when its story is told and its pictures are drawn."""
    await until(pilot, lambda: bool(pilot.app.snapshot and pilot.app.snapshot.ended))  # type: ignore[attr-defined]
    await pilot.press("down")
    await until(pilot, lambda: "FF201" in str(pilot.app.screen.query_one("#says").render()))
    if pilot.app.size.width >= 110:
        await until(pilot, lambda: bool(pilot.app.screen.query("#scales .note")))
        note = pilot.app.screen.query_one("#scales .note", Static)
        await until(pilot, lambda: "Where the curve" in str(note.render()))
    await pilot.pause()


async def opened(pilot: Pilot[Any]) -> None:
    await refuted(pilot)
    await pilot.press("enter")
    await until(pilot, lambda: "no change below" in str(pilot.app.screen.query_one("#claim").render()))
    await pilot.pause()


LARGE = pytest.param((200, 50), marks=pytest.mark.slow)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", [*SIZES, LARGE])
def test_the_table_looks_as_it_did(
    snap_compare: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], look: str
) -> None:
    for name, value in LOOKS[look].items():
        monkeypatch.setenv(name, value)
    assert snap_compare(Workbench(run.path.parent, run), terminal_size=size, run_before=refuted)


@pytest.mark.parametrize("size", [*SIZES, LARGE])
def test_an_estimate_looks_as_it_did(snap_compare: Any, run: RunDir, size: tuple[int, int]) -> None:
    assert snap_compare(Workbench(run.path.parent, run), terminal_size=size, run_before=opened)
