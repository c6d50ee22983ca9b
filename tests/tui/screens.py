"""What is on a screen, and how to wait until it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from falsefloor.tui.app import Workbench


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


async def shows(pilot: Pilot[Any], *words: str) -> str:
    """Wait until all words are on the screen; returns it."""
    await until(pilot, lambda: all(word in text(pilot.app) for word in words))  # type: ignore[arg-type]
    return text(pilot.app)  # type: ignore[arg-type]
