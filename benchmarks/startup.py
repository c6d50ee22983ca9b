"""How long `falsefloor --help` takes, as a ratio to an empty typer program with as many commands.

    python benchmarks/startup.py [ROUNDS]

Both are started in turn, in fresh processes, so that a busy machine slows both alike. Medians are compared;
the figure to keep is 1.5.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

LIMIT = 1.5
EMPTY = """
import typer

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


def make(name):
    def command() -> None:
        "Does nothing, and says so in one line of help."

    return app.command(name)(command)


for number in range(COUNT):
    make(f"command{number}")
app()
"""
HEAVY = "torch numpy scipy textual rich.live sqlite3 falsefloor.worker.launch"


def seconds(command: list[str]) -> float:
    """One run of a command, in seconds of wall time."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(rounds: int) -> int:
    from falsefloor.cli.app import app

    count = len(app.registered_commands) + len(app.registered_groups)
    ours = [sys.executable, "-m", "falsefloor", "--help"]
    with TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY.replace("COUNT", str(count)), encoding="utf-8")
        empty = [sys.executable, str(script), "--help"]
        for command in (ours, empty):
            seconds(command)  # the first one compiles
        pairs = [(seconds(ours), seconds(empty)) for _ in range(rounds)]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, falsefloor.cli.app; print([m for m in '{HEAVY}'.split() if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ratio = mine / theirs
    figures = {
        "help_s": mine,
        "empty_s": theirs,
        "commands": count,
        "ratio": ratio,
        "limit": LIMIT,
        "heavy": loaded,
    }
    print(json.dumps(figures))
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
