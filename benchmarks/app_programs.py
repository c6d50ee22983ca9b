"""The programs that `app.py` measures, each on a pseudo-terminal of its own, and the runs that they show.

python benchmarks/app_programs.py table|empty|app|live …
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

ROWS, COLUMNS, CHANGES, RATE = 500, 10, 50, 10
SIZE = (40, 140)
"""Lines and columns: with the pictures of what the cursor is on."""
HERE = Path(__file__).resolve()


class Terminal:
    """A child program on a pseudo-terminal; counts what it writes."""

    def __init__(self, words: list[str], *, size: tuple[int, int] = SIZE, **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        given = (
            os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"} | environ
        )
        given.pop("NO_COLOR", None)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=given)
        os.close(slave)
        self.seen = b""
        self.bytes = 0

    def read(self, seconds: float) -> bytes:
        """What it writes within a time."""
        got, until = b"", time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                break
            if not data:
                break
            got += data
        self.bytes += len(got)
        return got

    def wait_for(self, word: bytes, seconds: float = 20.0) -> float:
        """Seconds until a word was written, counted from now; raises where it never was."""
        began, got = time.perf_counter(), b""
        while time.perf_counter() - began < seconds:
            ready, _, _ = select.select([self.master], [], [], 0.5)
            if ready:
                data = os.read(self.master, 1 << 16)
                self.bytes += len(data)
                got += data
                self.seen = got
                if word in got:
                    return time.perf_counter() - began
        raise RuntimeError(f"{word!r} was never written; the end of what was: {got[-400:]!r}")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def child(*words: str) -> list[str]:
    return [sys.executable, str(HERE), *words]


def run_table(kind: str, seconds: float, report: str) -> None:
    """A table of 500 × 10 where 50 cells change ten times a second, in either widget."""
    import asyncio
    import resource

    from textual.app import App, ComposeResult
    from textual.widgets import DataTable

    from falsefloor.tui.widgets.live_table import Cell, Column, LiveTable, Row

    dice = random.Random(0)
    keys = [f"c{n}" for n in range(COLUMNS)]
    tones = ("held", "suspect", "refuted", "")

    class Bench(App[None]):
        ENABLE_COMMAND_PALETTE = False
        lags: list[float]

        def compose(self) -> ComposeResult:
            if kind == "live":
                yield LiveTable(id="table")
            else:
                yield DataTable(id="table", cursor_type="row", fixed_columns=2)

        def on_mount(self) -> None:
            self.lags = []
            table = self.query_one("#table")
            table.focus()
            if isinstance(table, LiveTable):
                self.columns = [Column(k, k, "right", frozen=n < 2, narrowest=8) for n, k in enumerate(keys)]
                self.cells = [(Cell("0.00000"),) * COLUMNS for _ in range(ROWS)]
                self.show(table)
            else:
                assert isinstance(table, DataTable)
                for key in keys:
                    table.add_column(key, key=key, width=8)
                for r in range(ROWS):
                    table.add_row(*["0.00000"] * COLUMNS, key=str(r))
            self.call_after_refresh(self.begin)

        def begin(self) -> None:
            self.cpu, self.began = self.used(), time.perf_counter()
            self.set_interval(1 / RATE, self.change)
            self.set_timer(seconds / 2, self.half)
            self.set_timer(seconds, self.end)

        def half(self) -> None:
            """The lag is watched after the CPU was: looking at it two hundred times a second costs 2 %."""
            self.spent = (self.used() - self.cpu) / (time.perf_counter() - self.began)
            self.run_worker(self.watch_lag())

        def used(self) -> float:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return usage.ru_utime + usage.ru_stime

        def change(self) -> None:
            picked = [(dice.randrange(ROWS), dice.choice(keys), dice.random()) for _ in range(CHANGES)]
            table = self.query_one("#table")
            if isinstance(table, LiveTable):
                for r, k, v in picked:
                    cells = list(self.cells[r])
                    cells[keys.index(k)] = Cell(f"{v:.5f}", tones[int(v * 4)])
                    self.cells[r] = tuple(cells)
                self.show(table)
            else:
                assert isinstance(table, DataTable)
                for r, k, v in picked:
                    table.update_cell(str(r), k, f"{v:.5f}")

        def show(self, table: LiveTable) -> None:
            """All rows, as the app does: what changed is for the table to find."""
            table.show(self.columns, [Row(r, cells) for r, cells in enumerate(self.cells)])

        async def watch_lag(self) -> None:
            while True:
                due = time.perf_counter() + 0.005
                await asyncio.sleep(0.005)
                self.lags.append(time.perf_counter() - due)

        def end(self) -> None:
            lags = sorted(self.lags)
            made = {"cpu": self.spent, "lag_p99_ms": 1e3 * lags[int(0.99 * len(lags))]}
            Path(report).write_text(json.dumps(made))
            self.exit()

    Bench().run(mouse=False)


def run_empty() -> None:
    """The least that Textual can show: what the first paint is compared with."""
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Empty(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("first-paint")

    Empty().run(mouse=False)


def run_app_on(root: str) -> None:
    """The app on the newest run of a store."""
    from falsefloor.tui.start import run_app

    run_app(Path(root))


def build_run(
    root: Path, *, series: int = 100, inputs: int = 100, warnings: int = 0, live: float = 0.0
) -> None:
    """A run of `series` cells over `inputs` inputs, stored by the real writer.

    warnings: how many each estimate has. live: seconds over which its last 400 units arrive, ten a second, in
    this process; the run is finished otherwise.
    """
    from falsefloor.api import Finding
    from falsefloor.checks.judge import Judgement
    from falsefloor.store.records import EstimateResult, UnitResult
    from falsefloor.store.run_dir import create_run
    from falsefloor.store.writer import RunWriter
    from falsefloor.study.file import study_from, write_study
    from falsefloor.study.units import plan, series_of

    class Installed:
        def params(self, kind: str, name: str, given: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG002
            return dict(given)

        def is_own(self, kind: str, name: str) -> bool:
            del kind, name
            return True

        def claim(self, name: str) -> str:
            return "upper_bound" if name == "attack" else "lower_estimate"

        def origin(self, name: str) -> dict[str, str]:  # noqa: ARG002
            return {"dist": "falsefloor", "version": "0"}

    maskers = ["none", *(f"staircase:c={n}" for n in range(2, series // 4 + 1))]
    names = ["clever:radius=0.3", "clever", "finite-difference", "attack"]
    study = study_from({"models": ["digits:mlp"], "maskers": maskers, "estimators": names})
    run, dice = create_run(root), random.Random(0)
    run.study.write_text(write_study(study), encoding="utf-8")
    told = tuple(
        Finding(f"FF{101 + n}", "suspect", f"number {n} of them, told at length") for n in range(warnings)
    )
    judgement = Judgement(
        "suspect" if told else "held", told, "FF101 vanished gradient" if told else "21 checks"
    )
    writer = RunWriter(run.db, lambda _facts, _notes: judgement, durable=False)
    times = {"created": time.time(), "started": time.time()}
    writer.set_meta(id=run.id, study=study.to_json(), status="running", in_process=bool(live), **times)
    cells = series_of(study, Installed())
    writer.add_series(cells)
    units = list(plan(study, cells, {"digits:mlp": inputs}))
    writer.add_units(units)
    queued = list(zip(writer.queued(), units, strict=True))
    begin = time.monotonic()
    for n, ((number, _), unit) in enumerate(queued):
        late = n - max(0, len(queued) - round(RATE * live))
        if live and late >= 0:
            if late == 0:
                print(run.path, flush=True)
                begin = time.monotonic()
            time.sleep(max(0.0, begin + late / RATE - time.monotonic()))
        found = (
            [EstimateResult(n, 3, 3, radius=dice.random()) for n in range(*unit.inputs)]
            if unit.series
            else []
        )
        writer.store(number, UnitResult(unit.key, estimates=found, seconds=0.1))
    writer.finish("done")
    writer.close()


def main(what: str, *given: str) -> None:
    if what == "table":
        kind, seconds, report = given
        run_table(kind, float(seconds), report)
    elif what == "app":
        run_app_on(given[0])
    elif what == "live":
        root, seconds, *warnings = given
        few = {"series": 100, "inputs": 128} if warnings else {"series": 500, "inputs": 64}
        build_run(Path(root), **few, live=float(seconds), warnings=int(warnings[0]) if warnings else 0)
    else:
        run_empty()


if __name__ == "__main__":
    main(*sys.argv[1:])
