"""What runs cost beside their estimators: driver, pipe, store, Dask, readers, and a million estimates.

    python benchmarks/runs.py [--quick] [--json FILE] [ROW …]

Rows: local, empty, readers, dask, million; all of them where none is named. Figures that compare two ways are
measured in turn in this same process, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PARTS = Path(__file__).with_name("runs_parts.py")
REACH = {
    "local": "overhead over a loop, 1,000 units of 50 ms: at most 3 %",
    "empty": "supervisor, pipe and store, synchronous=FULL: at least 2,000 units/s",
    "readers": "20 readers at 10 Hz: the driver's rate within 5 %",
    "dask": "two workers of one thread: at least 0.9 of two plain processes' speed-up",
    "million": "a million stored estimates: a usable table in at most 2 s",
}


def study(estimators: Sequence[str], inputs: str = "digits:0-499") -> Any:
    from falsefloor.study.file import study_from

    return study_from(
        {
            "models": ["digits:linear"],
            "inputs": inputs,
            "estimators": list(estimators),
            "ceiling": False,
            "recover": "off",
            "chunk": 1,
        }
    )


def drive(folder: Path, given: Any, executor: Any, *, every: bool = False) -> tuple[float, int]:
    """Seconds from the first unit to the last, as stored, and how many units there were."""
    from falsefloor.plugins import catalogue
    from falsefloor.plugins.judging import RunJudge
    from falsefloor.store.writer import RunWriter
    from falsefloor.study.units import series_of
    from falsefloor.worker.drive import Drive

    path = folder / f"{random.randrange(10**9)}.db"
    with RunJudge() as ours:
        writer = RunWriter(path, ours)
        writer.set_meta(status="running", created=time.time(), in_process=True)
        series = series_of(given, catalogue())
        Drive(writer, given, series, executor).run()
        writer.close()
    executor.close()
    with sqlite3.connect(path) as db:
        first, last, count, failed = db.execute(
            "SELECT min(finished - seconds), max(finished), count(*), count(error) FROM unit"
            " WHERE kind = 'estimate' OR ?",
            (every,),
        ).fetchone()
    if failed:
        raise RuntimeError(f"{failed} units failed")
    return last - first, count


def waits(count: int, seconds: float) -> list[str]:
    """Estimators that make this many units over 500 inputs."""
    return [f"wait:seconds={seconds},which={n}" for n in range(max(1, count // 500))]


def inputs_for(count: int) -> str:
    return f"digits:0-{min(count, 500) - 1}"


def loop(count: int, seconds: float) -> float:
    """Seconds of calling the estimator alone, in a plain loop over single inputs."""
    import torch

    from falsefloor.engine.context import RunContext, generators
    from falsefloor.engine.session import Session
    from falsefloor.plugins.loading import make

    torch.set_num_threads(1)
    session = Session()
    model = {"use": "digits:linear"}
    prepared = session.prepared(model, inputs_for(count))
    subject = session.subject(model, inputs_for(count), [])
    estimator = make("estimator", "wait", {"seconds": seconds})
    start = time.perf_counter()
    for n in range(count):
        at = n % len(prepared.inputs)
        inputs, labels = prepared.inputs[at : at + 1], prepared.labels[at : at + 1]
        context = RunContext(generators(inputs, seed=0, norm="linf"))
        estimator(subject, inputs, labels, norm="linf", context=context)
    return time.perf_counter() - start


def local(folder: Path, quick: bool) -> dict[str, Any]:
    from runs_parts import Unobserved

    from falsefloor.worker.local import LocalExecutor

    count = 100 if quick else 1000
    alone = loop(count, 0.05)
    given = study(waits(count, 0.05), inputs_for(count))
    run, units = drive(folder, given, Unobserved(LocalExecutor(["cpu"])))
    return {
        "units": units,
        "loop_s": alone,
        "run_s": run,
        "overhead": run / alone - 1,
        "ok": run / alone <= 1.03,
    }


def answering() -> Any:
    from falsefloor.worker.local import LocalExecutor

    return LocalExecutor(["cpu"], child=(sys.executable, str(PARTS), "answer"))


def empty(folder: Path, quick: bool) -> dict[str, Any]:
    from runs_parts import Unobserved

    from falsefloor.worker.local import LocalExecutor

    count = 2000 if quick else 10000
    rates = []
    for _ in range(3):
        cpu = time.process_time()
        seconds, units = drive(folder, study(waits(count, 0.0)), answering(), every=True)
        rates.append((units / seconds, (time.process_time() - cpu) / units))
    rate, each = (statistics.median(column) for column in zip(*rates, strict=True))
    whole, units = drive(folder, study(waits(1000, 0.0)), Unobserved(LocalExecutor(["cpu"])))
    return {
        "units_per_s": rate,
        "driver_cpu_us_per_unit": each * 1e6,
        "with_a_real_child_units_per_s": units / whole,
        "ok": rate >= 2000,
    }


def readers(folder: Path, quick: bool) -> dict[str, Any]:
    """The rate with readers and without, in turn; the driver's own CPU time beside it."""
    from falsefloor.plugins import catalogue
    from falsefloor.plugins.judging import RunJudge
    from falsefloor.store.run_dir import RunDir
    from falsefloor.store.writer import RunWriter
    from falsefloor.study.units import series_of
    from falsefloor.worker.drive import Drive

    count = 3000 if quick else 10000
    given = study(waits(count, 0.0))
    rates: dict[int, list[tuple[float, float]]] = {0: [], 20: []}
    for round_ in range(4):
        for viewers in (0, 20) if round_ % 2 else (20, 0):
            run = RunDir(folder / f"watched-{round_}-{viewers}")
            run.path.mkdir()
            with RunJudge() as judge:
                writer = RunWriter(run.db, judge)
                writer.set_meta(status="running", created=time.time(), in_process=True)
                looking = [
                    subprocess.Popen(
                        [sys.executable, str(PARTS), "read", str(run.path), "60"], stdout=subprocess.DEVNULL
                    )
                    for _ in range(viewers)
                ]
                time.sleep(3.0 if viewers else 0.0)
                executor = answering()
                cpu, start = time.process_time(), time.perf_counter()
                Drive(writer, given, series_of(given, catalogue()), executor).run()
                seconds = time.perf_counter() - start
                rates[viewers].append(((count + 500) / seconds, (time.process_time() - cpu) / count * 1e6))
                executor.close()
                writer.close()
            for process in looking:
                process.kill()
                process.wait()
    alone, watched = (statistics.median(rate for rate, _ in rates[n]) for n in (0, 20))
    cpu_alone, cpu_watched = (statistics.median(cpu for _, cpu in rates[n]) for n in (0, 20))
    return {
        "alone_units_per_s": alone,
        "watched_units_per_s": watched,
        "ratio": watched / alone,
        "driver_cpu_us": [cpu_alone, cpu_watched],
        "ok": watched / alone >= 0.95,
    }


PLAIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from runs import loop; print(loop(int(sys.argv[2]), 0.05))"
)


def plain(processes: int, count: int) -> float:
    """Seconds of the slowest of plain processes that share the units, without their start."""
    command = [sys.executable, "-c", PLAIN, str(PARTS.parent), str(count // processes)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in running)


def dask(folder: Path, quick: bool) -> dict[str, Any]:
    import distributed
    from runs_parts import Unobserved

    from falsefloor.worker.dask import DaskExecutor

    count = 200 if quick else 1000
    one, two = plain(1, count), plain(2, count)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        given = study(waits(count, 0.05), inputs_for(count))
        # Both workers load before the clock starts, as the plain processes did.
        drive(
            folder,
            study(waits(20, 0.0), inputs_for(count)),
            Unobserved(DaskExecutor(f"dask:{cluster.scheduler_address}")),
        )
        seconds, _ = drive(folder, given, Unobserved(DaskExecutor(f"dask:{cluster.scheduler_address}")))
    ratio = (one / seconds) / (one / two)
    return {
        "one_process_s": one,
        "two_processes_s": two,
        "dask_s": seconds,
        "speed_up": [one / two, one / seconds],
        "share": ratio,
        "ok": ratio >= 0.9,
    }


def million(folder: Path, quick: bool) -> dict[str, Any]:
    from falsefloor.plugins import catalogue
    from falsefloor.plugins.judging import RunJudge
    from falsefloor.report.comparison import read_comparison
    from falsefloor.store.reader import RunReader
    from falsefloor.store.run_dir import RunDir
    from falsefloor.store.writer import RunWriter
    from falsefloor.study.file import study_from
    from falsefloor.study.units import plan, series_of

    total = 100_000 if quick else 1_000_000
    maskers = ["none", *(f"staircase:c={c}" for c in (2, 4, 8, 16, 32, 64, 128, 255, 511))]
    given = study_from({"models": ["digits:mlp"], "inputs": "digits:0-9", "maskers": maskers, "chunk": 32})
    series = series_of(given, catalogue())
    inputs = total // len(series)
    run = RunDir(folder / "million")
    run.path.mkdir()
    run.study.touch()
    with RunJudge() as judge:
        writer = RunWriter(run.db, judge, durable=False)
        writer.set_meta(status="running", created=time.time(), id="million")
        writer.add_series(series)
        writer.add_units(plan(given, series, {"digits:mlp": inputs}))
        writer.close()
    with sqlite3.connect(run.db) as db:
        fill(db)
        db.execute("INSERT OR REPLACE INTO meta VALUES ('status', '\"done\"')")
    times: dict[str, float] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = action()
        times[name] = time.perf_counter() - start
        return found

    with RunReader(run) as reader:
        timed("info", reader.info)
        timed("cells", reader.cells)
        timed("table", lambda: read_comparison(reader))
        timed("one input", lambda: list(reader.estimates(series=5, input=inputs // 2)))
    shown = [sys.executable, "-m", "falsefloor", "show", str(run.path)]
    timed("falsefloor show", lambda: subprocess.run(shown, check=True, stdout=subprocess.DEVNULL))
    version = [sys.executable, "-m", "falsefloor", "--version"]
    timed("falsefloor --version", lambda: subprocess.run(version, check=True, stdout=subprocess.DEVNULL))
    size = run.db.stat().st_size
    return {
        "estimates": inputs * len(series),
        "bytes_per_estimate": size / total,
        "seconds": times,
        "ok": times["falsefloor show"] <= 2.0,
    }


def fill(db: sqlite3.Connection) -> None:
    """Every unit stored, as the writer would have left it; verdicts in the shares of a masked study."""
    chance = random.Random(0)
    evidence = json.dumps({f"fact_{n}": 0.123456 * n for n in range(20)})
    units = db.execute("SELECT id, series, first, stop FROM unit WHERE kind = 'estimate'").fetchall()
    verdicts = ("refuted", "suspect", "vacuous", "held", "held", "held")
    reasons = {"refuted": "FF201", "suspect": "FF102", "vacuous": "FF701", "held": "21 checks"}

    def rows() -> Any:
        for unit, series, first, stop in units:
            for n in range(first, stop):
                verdict = chance.choice(verdicts) if series % 3 else "held"
                yield unit, series, n, chance.random() * 0.1, verdict, reasons[verdict], evidence

    db.executemany(
        "INSERT INTO estimate (unit, series, input, radius, verdict, reason, evidence, forward, backward,"
        " seconds, status) VALUES (?, ?, ?, ?, ?, ?, ?, 100, 100, 0.1, 'ok')",
        rows(),
    )
    db.execute("INSERT INTO tally SELECT series, verdict, count(*) FROM estimate GROUP BY series, verdict")
    db.execute("UPDATE unit SET status = 'ok', finished = 1, seconds = 1, forward = 100")
    db.execute(
        "INSERT INTO finding SELECT 'f' || id, id, reason, verdict, 'a sentence about it', '{}', NULL"
        " FROM estimate WHERE verdict != 'held'"
    )


ROWS: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "local": local,
    "empty": empty,
    "readers": readers,
    "dask": dask,
    "million": million,
}


def main() -> int:
    from runs_parts import install

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        install(folder / "site")
        sys.path.insert(0, str(folder / "site"))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
        os.environ["OMP_NUM_THREADS"] = "1"
        for name in asked.rows or ROWS:
            found[name] = ROWS[name](folder, asked.quick)
            print(f"{name}: {REACH[name]}\n  {json.dumps(found[name])}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(row["ok"] for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
