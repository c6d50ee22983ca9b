"""What the app costs: CPU, bytes on the line, lag, first paint, opening a large run, memory, keys under load,
warnings by the ten thousand.

Each case is a real program on a pseudo-terminal of its own, so bytes are what an SSH link would carry. Ratios
compare programs measured in the same run, one after the other. Each part takes one to three minutes.

python benchmarks/app.py [--only tables|keys|opening|whole|warnings] [--json] [--write]
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from app_programs import SIZE, Terminal, build_run, child
from pages import arguments, show, table

FEWER = (36, 140)
"""Lines and columns: too few for the pictures of what the cursor is on."""
MARK = "▸".encode()


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
    import gc

    from falsefloor.tui.apart import NEVER
    from falsefloor.tui.app import Workbench
    from falsefloor.tui.widgets.live_table import LiveTable

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        writer = subprocess.Popen(
            child("live", str(root), str(seconds + 25), "2"), stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        # As in a terminal (`apart.quick`): an app without one leaves garbage to Python.
        gc.set_threshold(*gc.get_threshold()[:2], NEVER)

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
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default="", help="one of tables, keys, opening, whole, warnings")
    parser.add_argument("--json", action="store_true", help="print JSON, no table")
    given = parser.parse_args()
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
