"""What the app costs: CPU, bytes on the line, lag, first paint, opening a large run, memory, keys under load,
warnings by the ten thousand.

Each case is a real program on a pseudo-terminal of its own, so bytes are what an SSH link would carry. Ratios
compare programs measured in the same run, one after the other. Each part takes one to three minutes.

python benchmarks/app.py [--only tables|keys|opening|whole|warnings] [--json] [--write]
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

from pages import show, table, writes

ROWS, COLUMNS, CHANGES, RATE = 500, 10, 50, 10
SIZE, FEWER = (40, 140), (36, 140)
"""Lines and columns: with the pictures of what the cursor is on, and too few for them."""
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
            self.run_worker(self.watch_lag())
            self.set_timer(seconds, self.end)

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

        def origin(self, kind: str, name: str) -> dict[str, str]:  # noqa: ARG002
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


# The measurements


def cpu_of(process: int) -> float:
    """Seconds of CPU that a process took."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure_whole(seconds: float = 20.0, *, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """The whole app on a run that changes ten times a second, pictures and all, a reader beside it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        writer = subprocess.Popen(
            child("live", str(root), str(seconds + 15)), stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        run = writer.stdout.readline().strip()
        reader = subprocess.Popen(
            [sys.executable, "-m", "falsefloor", "watch", run],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        terminal = Terminal(child("app", str(root)), size=size)
        terminal.wait_for(b"staircase")
        terminal.read(3.0)
        began, spent, terminal.bytes = time.perf_counter(), cpu_of(terminal.process.pid), 0
        terminal.read(seconds / 2)
        wall = time.perf_counter() - began
        made = {
            "cpu": (cpu_of(terminal.process.pid) - spent) / wall,
            "bytes_s": terminal.bytes / wall,
        }
        dice, times = random.Random(1), []
        for n in range(40):
            terminal.read(0.1 + dice.random() * 0.15)
            terminal.press(b"\x1b[B" if n % 20 < 10 else b"\x1b[A")
            times.append(terminal.wait_for(MARK))
        status = Path(f"/proc/{terminal.process.pid}/status").read_text().splitlines()
        made["memory_mb"] = int(next(n for n in status if n.startswith("VmHWM")).split()[1]) / 1024
        for process in (reader, writer):
            process.kill()
            process.wait()
        terminal.stop()
    times.sort()
    keys = {"key_p50_ms": 1e3 * statistics.median(times), "key_p95_ms": 1e3 * times[int(0.95 * len(times))]}
    return made | keys


def measure_warnings(seconds: float = 10.0) -> dict[str, Any]:
    """The page of 10,000 warnings: to open it, its longest freeze, and its CPU while the run goes on."""
    import asyncio

    from falsefloor.tui.app import Workbench
    from falsefloor.tui.widgets.live_table import LiveTable

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        writer = subprocess.Popen(
            child("live", str(root), str(seconds + 25), "2"), stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()

        async def measured() -> dict[str, Any]:
            app, lags, spans = Workbench(root), [0.0], [0.0]

            async def watch() -> None:
                while True:
                    due, spent = time.perf_counter() + 0.002, time.thread_time()
                    await asyncio.sleep(0.002)
                    lags.append(time.perf_counter() - due)
                    spans.append(time.thread_time() - spent)

            async with app.run_test(size=(SIZE[1], SIZE[0])) as pilot:
                await pilot.pause(2.0)
                made: dict[str, Any] = {}
                for name, keys in (("groups", "w"), ("single", "gg")):
                    watching = asyncio.create_task(watch())
                    lags[:] = spans[:] = [0.0]
                    before = app.screen.query_one(LiveTable).count if name == "single" else 0
                    began = time.perf_counter()
                    app.post_message(_key(keys[0]))
                    if len(keys) > 1:
                        app.post_message(_key(keys[1]))
                    while True:
                        await asyncio.sleep(0.001)
                        tables = app.screen.query(LiveTable)
                        if app.screen.query("#words") and tables and tables.first().count > before:
                            break
                    made[name] = {"open_s": time.perf_counter() - began}
                    await asyncio.sleep(0.5)
                    made[name] |= {
                        "freeze_ms": 1e3 * max(lags),
                        "freeze_cpu_ms": 1e3 * max(spans),
                        "rows": app.screen.query_one(LiveTable).count,
                    }
                    watching.cancel()
                    spent, began = time.process_time(), time.perf_counter()
                    await asyncio.sleep(seconds / 2)
                    made[name]["cpu"] = (time.process_time() - spent) / (time.perf_counter() - began)
                return made

        made = asyncio.run(measured())
        writer.kill()
        writer.wait()
    return made


def _key(key: str) -> Any:
    from textual.events import Key

    return Key(key, key)


def measure_opening(repeats: int = 5) -> dict[str, Any]:
    """First paint against an empty Textual program's, time from there to a usable table, memory, modules."""
    empty, paint, table, memory = [], [], [], 0.0
    cores: dict[str, list[float]] = {"empty": [], "app": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        build_run(root)
        for _ in range(repeats + 1):
            terminal = Terminal(child("empty"))
            terminal.wait_for(b"first-paint")
            empty.append(time.perf_counter() - terminal.started)
            cores["empty"].append(cpu_of(terminal.process.pid))
            terminal.stop()
            terminal = Terminal(child("app", str(root)))
            terminal.wait_for(b"falsefloor")
            paint.append(time.perf_counter() - terminal.started)
            cores["app"].append(cpu_of(terminal.process.pid))
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
        "first_paint_cpu_ratio": statistics.median(cores["app"][1:]) / statistics.median(cores["empty"][1:]),
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


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _tables(made: dict[str, Any]) -> str:
    rows = [
        (
            of,
            _percent(made[kind]["cpu"]),
            f"{made[kind]['bytes_s']:,.0f}",
            f"{made[kind]['lag_p99_ms']:.1f} ms",
        )
        for kind, of in (("live", "LiveTable"), ("datatable", "DataTable"))
    ]
    rows.append(("the first over the second", f"{made['cpu_ratio']:.3f}", f"{made['bytes_ratio']:.3f}", ""))
    return table(
        ("500 × 10 cells, 50 of them new ten times a second", "CPU", "bytes a second", "lag p99"), rows
    )


def _keys(made: dict[str, Any]) -> str:
    row = (f"{made['key_p50_ms']:.0f} ms", f"{made['key_p95_ms']:.0f} ms")
    return table(("key to screen, that table alone", "p95"), [row])


def _opening(made: dict[str, Any]) -> str:
    row = (
        f"{made['first_paint_s']:.2f} s",
        f"{made['first_paint_empty_s']:.2f} s",
        f"{made['first_paint_ratio']:.2f}",
        f"{made['first_paint_cpu_ratio']:.2f}",
        f"{made['table_after_first_paint_ms']:.0f} ms",
        f"{made['memory_mb']:.0f} MB",
    )
    return table(
        (
            "first paint",
            "an empty Textual app's",
            "ratio",
            "of processor time",
            "then to the table",
            "memory",
        ),
        [row],
    )


def _whole(made: dict[str, Any]) -> str:
    rows = [
        (
            f"{size[1]} × {size[0]}, {kind} pictures",
            _percent(made[kind]["cpu"]),
            f"{made[kind]['bytes_s']:,.0f}",
            f"{made[kind]['key_p50_ms']:.0f} ms",
            f"{made[kind]['key_p95_ms']:.0f} ms",
            f"{made[kind]['memory_mb']:.0f} MB",
        )
        for kind, size in (("with", SIZE), ("without", FEWER))
    ]
    heads = ("the whole app, ten units a second", "CPU", "bytes a second", "key to screen", "p95", "memory")
    return table(heads, rows)


def _warnings(made: dict[str, Any]) -> str:
    rows = [
        (
            of,
            f"{made[kind]['rows']:,}",
            f"{made[kind]['open_s']:.2f} s",
            f"{made[kind]['freeze_ms']:.0f} ms",
            f"{made[kind]['freeze_cpu_ms']:.0f} ms",
            _percent(made[kind]["cpu"]),
        )
        for kind, of in (("groups", "by code and cell"), ("single", "one by one"))
    ]
    return table(
        (
            "warnings, their run going on",
            "rows",
            "to open",
            "longest freeze",
            "of processor time",
            "CPU while the run goes on",
        ),
        rows,
    )


TABLES = {
    "tables": _tables,
    "keys": _keys,
    "opening": _opening,
    "whole": _whole,
    "warnings": _warnings,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default="", help="one of tables, keys, opening, whole, warnings")
    parser.add_argument("--json", action="store_true", help="print JSON, no table")
    writes(parser)
    given = parser.parse_args()
    if given.child:
        what, *rest = given.child
        if what == "table":
            run_table(rest[0], float(rest[1]), rest[2])
        elif what == "app":
            run_app_on(rest[0])
        elif what == "live":
            few = {"series": 500, "inputs": 64} if len(rest) < 3 else {"series": 100, "inputs": 128}
            build_run(
                Path(rest[0]), **few, live=float(rest[1]), warnings=int(rest[2]) if len(rest) > 2 else 0
            )
        else:
            run_empty()
        return
    parts = {
        "tables": lambda: measure_tables(given.seconds),
        "keys": measure_keys,
        "opening": measure_opening,
        "whole": lambda: {"with": measure_whole(), "without": measure_whole(size=FEWER)},
        "warnings": measure_warnings,
    }
    made = {name: measure() for name, measure in parts.items() if given.only in ("", name)}
    if given.json:
        print(json.dumps(made, indent=2))
        return
    for name, figures in made.items():
        others = f"Load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
        show(f"app {name}", TABLES[name](figures), write=given.write, note=others)


if __name__ == "__main__":
    main()
