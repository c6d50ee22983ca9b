"""`doctor`: what would go wrong on this machine, before it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer

from falsefloor.cli.terminal import AsJson, show, show_document
from falsefloor.errors import FalsefloorError

LITTLE = 200e6
"""Bytes of free space below which a long run may not fit."""
PATIENCE = 20.0
"""Seconds that looking for damage may take; the newest runs come first."""
TORCH_LIMIT = 120.0
TORCH = (
    "import json, torch; a = torch.accelerator;"
    "on = a.is_available() if hasattr(torch, 'accelerator') else torch.cuda.is_available();"
    "kind = (a.current_accelerator().type if hasattr(torch, 'accelerator') else 'cuda') if on else '';"
    "print(json.dumps([torch.__version__, kind, torch.get_num_threads()]))"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. status: ok, warning or bad; cure where it is not ok."""

    what: str
    status: str
    found: str
    cure: str = ""


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check this machine: store, terminal, plugins, torch. Exit code 1 if something would go wrong."""
    from falsefloor.report.text import clean

    root: Path = ctx.obj
    findings = list(_examine(root))
    bad = any(finding.status == "bad" for finding in findings)
    if as_json:
        show_document(
            {"schema": "falsefloor.doctor/1", "ok": not bad, "findings": [asdict(f) for f in findings]}
        )
    else:
        from falsefloor.report.listings import Listing

        rows = tuple((f.what, f.status, clean(f"{f.found} {f.cure}".strip())) for f in findings)
        show(Listing(("what", "status", "found"), rows, 1))
    if bad:
        raise typer.Exit(1)


def _examine(root: Path) -> Iterator[Finding]:
    from falsefloor import __version__

    yield Finding("falsefloor", "ok", f"{__version__}, Python {sys.version.split()[0]}, {sys.platform}")
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "store": partial(_store, root),
        "runs": partial(_runs, root),
        "sqlite": _sqlite,
        "logout": _leaving,
        "terminal": _terminal,
        "cores": _threads,
        "plugins": _plugins,
        "torch": _torch,
    }
    for what, check in checks.items():
        try:
            yield from check()
        except (OSError, ValueError, FalsefloorError) as error:
            yield Finding(what, "warning", f"could not be looked at: {error}")


def _store(root: Path) -> Iterator[Finding]:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = root / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding("store", "bad", f"{root}: {error.strerror or error}.", "Give another: --store DIR.")
        return
    from falsefloor.store.run_dir import filesystem, is_network, private_or_shared

    kind = filesystem(root)
    if is_network(root):
        yield Finding(
            "store", "warning", f"{root} is on {kind}, a network file system: runs are written without"
            " SQLite's log there, more slowly, and other hosts may see them late.",
            "Keep the store on a local disk (FALSEFLOOR_STORE)."
        )  # fmt: skip
    elif root.stat().st_mode & 0o077 and private_or_shared(root)[0] == 0o700:
        yield Finding(
            "store", "warning", f"{root} can be entered by others; the runs in it cannot.",
            f"chmod 700 {root}, or share it with a group: chmod 2770."
        )  # fmt: skip
    else:
        yield Finding("store", "ok", f"{root}{f' ({kind})' if kind else ''}")
    free = shutil.disk_usage(root).free
    yield Finding("space", "ok" if free > LITTLE else "warning", f"{free / 1e9:.1f} GB free")


def _runs(root: Path) -> Iterator[Finding]:
    """Damage, workers that are gone or stand still, and how much room it all takes."""
    import time

    from falsefloor.store.files import damage
    from falsefloor.store.run_dir import STALE, list_dirs, strays

    runs, start, looked = list_dirs(root), time.monotonic(), 0
    for name in strays(root):
        yield Finding("store", "warning", f"{name} is no run: it has no run.db.", f"Look at {root / name}.")
    for run in runs:
        if time.monotonic() - start > PATIENCE:
            break
        looked += 1
        if (said := damage(run)) is not None:
            yield Finding("run", "bad", f"{run.id} is damaged: {said}", "Restore a copy, or delete it.")
        elif run.is_alive() and run.heartbeat() > STALE:
            yield Finding(
                "run", "warning", f"the worker of {run.id} has shown no sign for {run.heartbeat():.0f} s.",
                f"falsefloor cancel {run.id}; if it stays: end the process named in its run.db."
            )  # fmt: skip
    size = sum(run.size() for run in runs)
    rest = f"; {len(runs) - looked} older ones not looked at" if looked < len(runs) else ""
    shown = f"{len(runs)}, {size / 1e6:.1f} MB, {looked} looked through for damage{rest}"
    yield Finding("runs", "ok", shown, "falsefloor runs gc" if size > 5e9 else "")


def _sqlite() -> Iterator[Finding]:
    import sqlite3  # half of this command's start

    good = sqlite3.sqlite_version_info >= (3, 35)
    yield Finding(
        "sqlite", "ok" if good else "bad", sqlite3.sqlite_version, "" if good else "Needs 3.35 or later."
    )


def _leaving() -> Iterator[Finding]:
    """Whether the system ends our worker when its user logs out (systemd's KillUserProcesses)."""
    if shutil.which("loginctl") is None:
        return
    told = subprocess.run(
        ["loginctl", "show-user", str(os.getuid()), "--property=Linger"],
        capture_output=True, text=True, timeout=5, check=False,
    )  # fmt: skip
    kill = subprocess.run(
        ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
         "org.freedesktop.login1.Manager", "KillUserProcesses"],
        capture_output=True, text=True, timeout=5, check=False,
    ) if shutil.which("busctl") else None  # fmt: skip
    if kill is not None and "true" in kill.stdout and "Linger=yes" not in told.stdout:
        yield Finding(
            "logout", "warning", "this system ends all processes at logout.", "loginctl enable-linger"
        )
    else:
        yield Finding("logout", "ok", "a detached run survives logging out")


def _terminal() -> Iterator[Finding]:
    term, encoding = os.environ.get("TERM", ""), sys.stdout.encoding or ""
    if not sys.stdout.isatty():
        yield Finding("terminal", "ok", f"none here (encoding {encoding}); tables are plain text")
        return
    if term in ("", "dumb"):
        yield Finding(
            "terminal", "warning", f"TERM={term!r} cannot show the app.", "Use falsefloor watch RUN."
        )
        return
    size = shutil.get_terminal_size()
    small = size.columns < 80 or size.lines < 24
    shown = f"{term}, {size.columns}×{size.lines}, {encoding}"
    yield Finding("terminal", "warning" if small else "ok", shown, "The app wants 80×24." if small else "")


def _threads() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    busy = load > cores
    yield Finding(
        "cores", "warning" if busy else "ok", f"{cores}, load {load:.1f}",
        "The machine is busy: expect runs to take longer." if busy else "",
    )  # fmt: skip


def _plugins() -> Iterator[Finding]:
    from falsefloor.plugins import catalogue

    rows = catalogue().plugins
    broken = [row for row in rows if not row.usable]
    ours = [row for row in broken if row.plugin.own]
    for row in broken:
        status = "bad" if row in ours else "warning"
        yield Finding(
            "plugin", status, f"{row.kind} {row.spec} is {row.status}.", f"falsefloor plugins show {row.spec}"
        )
    if not broken:
        others = sum(not row.plugin.own for row in rows)
        yield Finding("plugins", "ok", f"{len(rows) - others} of our own, {others} of others")


def _torch() -> Iterator[Finding]:
    """In a child, since importing torch takes seconds and may crash where a driver is broken."""
    import json
    import time

    start = time.perf_counter()
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("torch", "bad", f"importing it took more than {TORCH_LIMIT:.0f} s.")
        return
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        yield Finding("torch", "bad", f"cannot be imported: {last}", "Install falsefloor again.")
        return
    version, kind, threads = json.loads(child.stdout)
    took = time.perf_counter() - start
    device = f"accelerator {kind}" if kind else "no accelerator"
    yield Finding("torch", "ok", f"{version}, {device}, {threads} threads, imported in {took:.1f} s")
