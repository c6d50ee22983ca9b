"""How a command that followed a run ends: its exit code, decided here and nowhere else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from falsefloor.errors import FalsefloorError, UsageError, WorkerError

if TYPE_CHECKING:
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir

INTERRUPTED = 130
GATE = 3
LOADING = 30.0
"""Seconds that a detached run's models may take to load before the command returns all the same."""
LEAVING = 10.0
"""Seconds that a worker whose run has ended may take to go."""
WRITTEN = 20
"""Lines of what a model's own code wrote that are shown where it could not be loaded."""
OUTRANKED = (INTERRUPTED, 5, 4, 2, 1, GATE)
"""Exit codes, highest first: the highest that applies wins. 5, 4, 2 and 1 are also those of `errors`."""
EPILOG = (
    "Exit codes, the highest that applies: 130 interrupted, 5 worker lost, 4 plugin unusable, 2 usage,"
    " 1 an estimate that was asked for failed, 3 --fail-on met or nothing judged, 0 ok."
)


@dataclass(frozen=True)
class Ending:
    """An exit code, and why it is not 0 where the printed run does not say so itself."""

    code: int
    why: str = ""


def ending(run: RunDir, *, interrupted: bool = False, fail_on: str | None = None) -> Ending:
    """How a command ends that followed ``run``. fail_on: the verdict from which on a run fails."""
    from falsefloor.store.reader import RunReader

    with RunReader(run) as reader:
        status = reader.info().status
        found: dict[int, str] = {}
        if interrupted or status == "cancelled":
            found[INTERRUPTED] = ""
        if status == "lost":
            found[WorkerError.exit_code] = ""
        stopped = int(reader.meta().get("exit_code") or 0)
        if stopped or status == "failed":
            found[stopped or FalsefloorError.exit_code] = ""
        if (failed := _failed(reader)) is not None:
            found.setdefault(1, failed)
        if fail_on is not None and (why := _unmet(reader, fail_on)) is not None:
            found[GATE] = why
    code = next((code for code in OUTRANKED if code in found), 0)
    return Ending(code, found.get(code, ""))


def wait_planned(run: RunDir) -> None:
    """Wait until a run's models are loaded and its units planned, or it has ended; not for ever."""
    from falsefloor.store.reader import reading
    from falsefloor.store.standing import ENDED

    deadline = time.monotonic() + LOADING
    while time.monotonic() < deadline:
        with reading(run) as reader:
            info = reader.info()
        if info.units_total or info.status in ENDED:
            return
        time.sleep(0.05)


def refuse_unplanned(run: RunDir) -> None:
    """A slip is no run: where models, inputs or places could not be used and nothing was planned, the run is
    deleted again.

    Raises `UsageError` with what was wrong, after the last that the model's own code wrote.
    """
    from falsefloor.cli.terminal import say
    from falsefloor.store.reader import reading

    with reading(run) as reader:
        info, code = reader.info(), int(reader.meta().get("exit_code") or 0)
    if info.status != "failed" or info.units_total or code != UsageError.exit_code:
        return
    deadline = time.monotonic() + LEAVING
    while run.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-WRITTEN:]:
        say(f"  {line}")
    run.delete()
    raise UsageError(info.error or "nothing could be planned.")


def _failed(reader: RunReader) -> str | None:
    """What failed of what was asked for, "" where the table says so; None where nothing did.

    Neither an unasked ceiling nor a repair, a trap or a resampling was asked for: that one failed is told in
    the table and in the verdicts that lack its check.
    """
    cells = reader.cells()
    asked = [row.id for row in reader.series() if row.asked and row.recovers is None]
    if any(unit["kind"] == "observe" or unit["series"] in asked for unit in reader.units("failed")):
        return ""
    failed = sum(cells[one].verdicts.get("failed", 0) for one in asked)
    return f"{failed} of the estimates that were asked for failed" if failed else None


def _unmet(reader: RunReader, fail_on: str) -> str | None:
    """Why a run does not pass the gate, "" where its table says so; None where it passes."""
    from falsefloor.checks.verdicts import VERDICTS

    counts = reader.info().counts
    if any(counts.get(verdict) for verdict in VERDICTS[: VERDICTS.index(fail_on) + 1]):
        return ""
    return None if (why := reader.unjudged()) is None else f"nothing was judged: {why}"


def leave(ended: Ending) -> None:
    """End the command so. Raises `typer.Exit` for anything but 0."""
    from falsefloor.cli.terminal import say

    if ended.why:
        say(f"exit {ended.code}: {ended.why}")
    if ended.code:
        raise typer.Exit(ended.code)
