"""What keeps the loop free for keys: work in threads, and how little they hold it up.

A folder, a plugin or a disk may never answer, so nobody waits for a thread: pages go on, and the app is left.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from textual.app import App

T = TypeVar("T")
HAND_OVER = 0.0005
"""Seconds that a thread which reads a run keeps the interpreter from a key: Python's own 5 ms are paid at
each of the dozen turns that a key takes through the event loop."""
PATIENCE = 2.0
"""Seconds that whoever leaves the app waits for what may be being written."""
NAME = "falsefloor apart"


def apart(app: App[Any], work: Callable[[], T], then: Callable[[T], None] = lambda _: None) -> None:
    """Work in a thread of its own, and `then` on the loop, which goes on meanwhile."""
    loop, context = asyncio.get_running_loop(), copy_context()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.cancelled():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as raised:  # raised again where it is waited for
            error = raised
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    async def waited() -> None:
        then(await answer)

    app.run_worker(waited(), group="apart")
    # Not one of the loop's own threads: those are waited for, without end, when it is closed.
    threading.Thread(target=run, name=NAME, daemon=True).start()


def quick(app: App[Any]) -> None:
    """Keep the interpreter from holding up the loop, as far as can be: when much has been imported."""
    sys.setswitchinterval(HAND_OVER)
    if not app.is_headless:
        # What is imported stays: looking through it for garbage held up a key by 35 ms now and then.
        gc.freeze()


def leave() -> None:
    """Called when the app is left."""
    until = time.monotonic() + PATIENCE
    for thread in threading.enumerate():
        if thread.name == NAME:
            thread.join(max(0.0, until - time.monotonic()))
