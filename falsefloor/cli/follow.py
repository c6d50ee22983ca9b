"""Follows a run that somebody else computes: a live table on a terminal, plain lines elsewhere, on stderr.

Whoever follows only reads the run's directory, and asks through it: Ctrl-C of its owner asks the worker to
stop, a hang-up asks nothing and the run goes on.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from falsefloor.cli.terminal import console, say
from falsefloor.errors import StoreError
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.standing import ENDED

if TYPE_CHECKING:
    from rich.live import Live

    from falsefloor.report.comparison import Comparison
    from falsefloor.store.standing import RunInfo

LOOK = 0.05
"""Seconds between looks at whether the run moved, which cost 9 µs each."""
PAINT = 0.2
"""Seconds between what is shown of it."""
TRUTH = 2.0
"""Seconds between looks at whether the worker lives, where nothing was written."""
PATIENCE = 30.0
"""Seconds for a run's database to appear."""
LAST_WORDS = 5.0
"""Seconds that a killed worker gets before we stop looking."""


class Screen(Protocol):
    """What shows a run that moves."""

    def update(self, reader: RunReader, info: RunInfo) -> None: ...
    def say(self, message: str) -> None: ...


def follow(run: RunDir, *, owner: bool, named: bool = True) -> bool:
    """Show a run until it ends. Returns whether it was interrupted here.

    owner: Ctrl-C cancels the run and a second one kills it; for others it only stops looking and raises
    KeyboardInterrupt. What made it fail is said by what is printed afterwards. named: its id was said; where
    it was not, it is as soon as something is planned, for a slip is no run.
    """
    from falsefloor.report.text import clean

    with _reader(run) as reader, _screen() as screen, _presses() as presses:
        seen, shown, asked, event, killed, moved = 0.0, 0.0, 0, 0, 0.0, False
        while True:
            if len(presses) > asked:
                asked = len(presses)
                if not owner:
                    raise KeyboardInterrupt
                killed = killed or (time.monotonic() if asked > 1 else 0.0)
                run.command("kill" if asked > 1 else "cancel")
                screen.say("killing the worker" if asked > 1 else "cancelling; Ctrl-C again kills the worker")
            moved, now = reader.changed() or moved, time.monotonic()
            if moved or now - seen > TRUTH or killed:
                info, seen = reader.info(), now
                over = info.status in ENDED or (killed and now - killed > LAST_WORDS)
                if over or now - shown > PAINT:
                    moved, shown = False, now
                    if not named and info.units_total:
                        screen.say(f"run {run.id}")
                        named = True
                    for row in reader.events(after=event):
                        event = row["id"]
                        if row["kind"] != "failed":
                            screen.say(f"{row['kind']}: {clean(str(row['message']))}")
                    screen.update(reader, info)
                if over:
                    return asked > 0
            time.sleep(LOOK)


@contextmanager
def _presses() -> Iterator[list[int]]:
    """Every Ctrl-C that was pressed: noted, so that none can break into the middle of a line."""
    presses: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: presses.append(number))
    try:
        yield presses
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _Lines:
    """A line on stderr for every cell that is complete."""

    told: set[int] = field(default_factory=set)

    def say(self, message: str) -> None:
        say(message)

    def update(self, reader: RunReader, info: RunInfo) -> None:
        from falsefloor.report.text import glyphs_for

        glyphs = glyphs_for(sys.stderr.encoding)
        for row in _comparison(reader).rows:
            for entry in row.entries:
                if entry is not None and entry.complete and entry.series.id not in self.told:
                    self.told.add(entry.series.id)
                    say(f"[{info.units_done}/{info.units_total}] {row.alone(entry).line(glyphs)}")


@dataclass
class _Table:
    """The table itself, repainted in place; it leaves nothing behind."""

    live: Live

    def say(self, message: str) -> None:
        self.live.console.print(message, style="yellow")

    def update(self, reader: RunReader, info: RunInfo) -> None:
        from falsefloor.report.summary import Summary

        self.live.update(Summary(info, _comparison(reader), live=True), refresh=True)


def _comparison(reader: RunReader) -> Comparison:
    from falsefloor.report.comparison import read_comparison

    return read_comparison(reader)


@contextmanager
def _screen() -> Iterator[Screen]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.live import Live

    shown = console(sys.stderr)
    if shown.is_dumb_terminal:
        yield _Lines()
        return
    with Live(console=shown, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        yield _Table(live)


def _reader(run: RunDir) -> RunReader:
    """A reader, waiting for the run's database to appear. Raises `StoreError`."""
    deadline = time.monotonic() + PATIENCE
    while not run.db.exists() and run.is_alive() and time.monotonic() < deadline:
        time.sleep(LOOK)
    try:
        return RunReader(run)
    except StoreError as error:
        raise StoreError(f"{error} What the worker said is in {run.log}.") from error
