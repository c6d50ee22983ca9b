"""What the app costs: CPU, bytes on the line, lag, first paint, opening a large run, memory, keys under load.

Each case is a real program on a pseudo-terminal of its own, so bytes are what an SSH link would carry. Ratios
compare programs measured in the same run, one after the other. Prints JSON. Usage: python benchmarks/app.py
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

ROWS, COLUMNS, CHANGES, RATE = 500, 10, 50, 10
SIZE = (40, 140)
MARK = "▸".encode()
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
    return [sys.executable, str(HERE), "--child", *words]


# The programs


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
                table.show(
                    [Column(k, k, "right", frozen=n < 2, narrowest=8) for n, k in enumerate(keys)],
                    [Row(r, tuple(Cell("0.00000") for _ in keys)) for r in range(ROWS)],
                )
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
            self.run_worker(self.watch_lag())
            self.set_timer(seconds, self.end)

        def used(self) -> float:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            return usage.ru_utime + usage.ru_stime

        def change(self) -> None:
            picked = [(dice.randrange(ROWS), dice.choice(keys), dice.random()) for _ in range(CHANGES)]
            table = self.query_one("#table")
            if isinstance(table, LiveTable):
                table.change([(r, k, Cell(f"{v:.5f}", tones[int(v * 4)])) for r, k, v in picked])
            else:
                assert isinstance(table, DataTable)
                for r, k, v in picked:
                    table.update_cell(str(r), k, f"{v:.5f}")

        async def watch_lag(self) -> None:
            while True:
                due = time.perf_counter() + 0.005
                await asyncio.sleep(0.005)
                self.lags.append(time.perf_counter() - due)

        def end(self) -> None:
            wall, lags = time.perf_counter() - self.began, sorted(self.lags)
            made = {"cpu": (self.used() - self.cpu) / wall, "lag_p99_ms": 1e3 * lags[int(0.99 * len(lags))]}
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


def build_run(root: Path, *, series: int = 100, inputs: int = 100) -> None:
    """A finished run of `series` cells over `inputs` inputs, stored by the real writer."""
    from falsefloor.checks.judge import Judgement
    from falsefloor.store.records import EstimateResult, UnitResult
    from falsefloor.store.run_dir import create_run
    from falsefloor.store.writer import RunWriter
    from falsefloor.study.file import study_from, write_study
    from falsefloor.study.units import plan, series_of

    class Installed:
        def params(self, kind: str, name: str, given: Any) -> dict[str, Any]:  # noqa: ARG002
            return dict(given)

        def claim(self, name: str) -> str:
            return "upper_bound" if name == "attack" else "lower_estimate"

        def origin(self, kind: str, name: str) -> dict[str, str]:  # noqa: ARG002
            return {"dist": "falsefloor", "version": "0"}

    maskers = ["none", *(f"staircase:c={n}" for n in range(2, series // 4 + 1))]
    names = ["clever:radius=0.3", "clever", "finite-difference", "attack"]
    study = study_from({"models": ["digits:mlp"], "maskers": maskers, "estimators": names})
    run, dice = create_run(root), random.Random(0)
    run.study.write_text(write_study(study), encoding="utf-8")
    writer = RunWriter(run.db, lambda _facts, _notes: Judgement("held", (), "21 checks"), durable=False)
    writer.set_meta(
        id=run.id, study=study.to_json(), status="running", created=time.time(), started=time.time()
    )
    cells = series_of(study, Installed())
    writer.add_series(cells)
    units = list(plan(study, cells, {"digits:mlp": inputs}))
    writer.add_units(units)
    for (number, _), unit in zip(writer.queued(), units, strict=True):
        found = (
            [EstimateResult(n, 3, 3, radius=dice.random()) for n in range(*unit.inputs)]
            if unit.series
            else []
        )
        writer.store(number, UnitResult(unit.key, estimates=found, seconds=0.1))
    writer.finish("done")
    writer.close()


# The measurements


def measure_opening(repeats: int = 5) -> dict[str, Any]:
    """First paint against an empty Textual program's, time from there to a usable table, memory, modules."""
    empty, paint, table, memory = [], [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        build_run(root)
        for _ in range(repeats + 1):
            terminal = Terminal(child("empty"))
            terminal.wait_for(b"first-paint")
            empty.append(time.perf_counter() - terminal.started)
            terminal.stop()
            terminal = Terminal(child("app", str(root)))
            terminal.wait_for(b"falsefloor")
            paint.append(time.perf_counter() - terminal.started)
            if b"staircase" not in terminal.seen:
                terminal.wait_for(b"staircase")
            table.append(time.perf_counter() - terminal.started - paint[-1])
            terminal.read(1.0)
            status = Path(f"/proc/{terminal.process.pid}/status")
            if status.exists():
                line = next(n for n in status.read_text().splitlines() if n.startswith("VmHWM"))
                memory = max(memory, int(line.split()[1]) / 1024)
            maps = Path(f"/proc/{terminal.process.pid}/maps")
            heavy = [w for w in ("torch", "numpy", "scipy") if maps.exists() and f"/{w}/" in maps.read_text()]
            terminal.stop()
    # The first of each warms the disk's cache.
    return {
        "first_paint_s": statistics.median(paint[1:]),
        "first_paint_empty_s": statistics.median(empty[1:]),
        "first_paint_ratio": statistics.median(paint[1:]) / statistics.median(empty[1:]),
        "table_after_first_paint_ms": 1e3 * statistics.median(table[1:]),
        "memory_mb": memory,
        "heavy_libraries": heavy,
    }


def measure_tables(seconds: float) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for kind in ("live", "datatable"):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            terminal = Terminal(child("table", kind, str(seconds), report.name))
            terminal.wait_for(b"0.00000")
            terminal.read(0.3)
            terminal.bytes = 0
            while terminal.process.poll() is None:
                terminal.read(0.2)
            made[kind] = json.loads(Path(report.name).read_text()) | {"bytes_s": terminal.bytes / seconds}
            terminal.stop()
    made["bytes_ratio"] = made["live"]["bytes_s"] / made["datatable"]["bytes_s"]
    made["cpu_ratio"] = made["live"]["cpu"] / made["datatable"]["cpu"]
    return made


def measure_keys(presses: int = 40) -> dict[str, Any]:
    """From a key to the cursor's mark in its new place, while 50 cells change ten times a second."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        terminal = Terminal(child("table", "live", "60", report.name))
        terminal.wait_for(b"0.00000")
        terminal.read(1.0)
        dice, times = random.Random(1), []
        for _ in range(presses):
            terminal.read(0.05 + dice.random() * 0.1)
            terminal.press(b"\x1b[B")
            times.append(terminal.wait_for(MARK))
        terminal.stop()
    times.sort()
    return {"key_p50_ms": 1e3 * statistics.median(times), "key_p95_ms": 1e3 * times[int(0.95 * len(times))]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    if given.child:
        what, *rest = given.child
        if what == "table":
            run_table(rest[0], float(rest[1]), rest[2])
        elif what == "app":
            run_app_on(rest[0])
        else:
            run_empty()
        return
    made = {"tables": measure_tables(given.seconds), "keys": measure_keys(), "opening": measure_opening()}
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
