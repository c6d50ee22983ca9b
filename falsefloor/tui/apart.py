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
from queue import SimpleQueue
from typing import Any, TypeVar

from textual.app import App

T = TypeVar("T")
HAND_OVER = 0.0005
"""Seconds that a thread which reads a run keeps the interpreter from a key: Python's own 5 ms are paid at
each of the dozen turns that a key takes through the event loop."""
PATIENCE = 2.0
"""Seconds that whoever leaves the app waits for what may be being written."""
TIDY, OFTEN, NEVER = 2.0, 10, 10**9
"""Seconds without a key after which garbage is looked for among all objects, and after how many looks among
the young ones: as often as Python does it by itself."""


_WAITING: SimpleQueue[Callable[[], None]] = SimpleQueue()
_IDLE = threading.Semaphore(0)
_AT_WORK: set[threading.Event] = set()


def apart(app: App[Any], work: Callable[[], T], then: Callable[[T], None] = lambda _: None) -> None:
    """Work in a thread, and `then` on the loop, which goes on meanwhile."""
    loop, context, done = asyncio.get_running_loop(), copy_context(), threading.Event()
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
        done.set()
        _AT_WORK.discard(done)

    async def waited() -> None:
        then(await answer)

    app.run_worker(waited, group="apart")  # type: ignore[arg-type]
    _AT_WORK.add(done)
    _WAITING.put(run)
    if not _IDLE.acquire(blocking=False):
        # Not one of the loop's own threads: those are waited for, without end, when it is closed.
        threading.Thread(target=_serve, daemon=True).start()


def _serve() -> None:
    while True:
        _WAITING.get()()
        _IDLE.release()


def quick(app: App[Any], *, last_key: Callable[[], float] = lambda: 0.0) -> None:
    """Keep the interpreter from holding up the loop, as far as can be: now and from now on."""
    sys.setswitchinterval(HAND_OVER)
    if app.is_headless:
        return

    def tidy() -> None:
        if gc.get_count()[2] > OFTEN and time.monotonic() - last_key() > TIDY:
            gc.collect()

    # A look through all objects held up a key by 35 ms: it is done where nobody types.
    often, seldom, _ = gc.get_threshold()
    gc.set_threshold(often, seldom, NEVER)
    app.set_interval(TIDY, tidy)


def leave() -> None:
    """Called when the app is left."""
    until = time.monotonic() + PATIENCE
    for done in list(_AT_WORK):
        done.wait(max(0.0, until - time.monotonic()))
