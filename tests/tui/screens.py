"""What is on a screen, and how to wait until it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from textual.pilot import Pilot

from falsefloor.tui.app import Workbench
from falsefloor.tui.widgets.live_table import LiveTable


def text(app: Workbench) -> str:
    """What is on the screen, as letters."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


async def until(pilot: Pilot[Any], true: Callable[[], bool], *, seconds: float = 8.0) -> None:
    """Wait until something is so; fails with what is on the screen where it never is."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"still not so; the screen shows:\n{text(pilot.app)}")  # type: ignore[arg-type]
        await pilot.pause(0.01)


async def home(pilot: Pilot[Any]) -> None:
    """Back to the table of the run, on its first number."""
    while len(pilot.app.screen_stack) > 1:
        pilot.app.pop_screen()
    await pilot.pause()
    table = pilot.app.screen.query_one(LiveTable)
    table.focus()
    table.cursor = 0
    for _ in range(8):
        table.action_aside(-1)
    await pilot.pause()


async def reach(pilot: Pilot[Any], keys: Iterable[str]) -> None:
    """Press keys, and wait for what each leads to."""
    for key in keys:
        await pilot.press(key)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def shows(pilot: Pilot[Any], *words: str, joined: bool = False) -> str:
    """Wait until all words are on the screen, or in its lines joined to one; returns it."""

    def all_there() -> bool:
        screen = text(pilot.app)  # type: ignore[arg-type]
        return all(word in (" ".join(screen.split()) if joined else screen) for word in words)

    await until(pilot, all_there)
    return text(pilot.app)  # type: ignore[arg-type]
