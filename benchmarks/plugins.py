"""How long `falsefloor plugins list` takes with 50 other packages installed, as a ratio to none.

    python benchmarks/plugins.py [ROUNDS] [PACKAGES]

The real command in fresh processes, warm: every plugin is described and cached before the clock starts.
The packages lie in a folder on PYTHONPATH as an installer leaves them, and each imports torch, so that
loading even one would show. With and without are run in turn, so that a busy machine slows both alike, and
medians are compared. The figure to keep is 1.5, with none of them imported.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

LIMIT = 1.5
SOURCE = '''
import os
from dataclasses import dataclass
from typing import ClassVar

import torch

from falsefloor.api import Estimate, option

with open(os.environ["SEEN"], "a") as seen:
    seen.write("x")


@dataclass(frozen=True)
class Plugin:
    """An estimator that is installed and never used."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("l2", "linf"))
    samples: int = option(100, help="how many", ge=1)
    radius: float = option(0.3, help="how far", gt=0)

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        return Estimate(radius=torch.zeros(len(inputs)))
'''


def install(site: Path, count: int) -> None:
    """Packages of one estimator each, as they lie in site-packages."""
    for number in range(count):
        module = f"bench_plugin_{number:02}"
        (site / f"{module}.py").write_text(SOURCE, encoding="utf-8")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        name = module.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[falsefloor.estimators]\n{name} = {module}:Plugin\n")
        (info / "RECORD").write_text(f"{module}.py,,\n")


def listed(variables: dict[str, str]) -> tuple[float, int]:
    """(seconds, rows) of one `falsefloor plugins list --json`."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "falsefloor", "plugins", "list", "--json"],
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
    )
    seconds = time.perf_counter() - start
    return seconds, len(json.loads(done.stdout)["plugins"])


def main(rounds: int, count: int) -> int:
    with TemporaryDirectory() as folder:
        site, seen = Path(folder) / "site", Path(folder) / "seen"
        site.mkdir()
        seen.touch()
        install(site, count)
        none = {"FALSEFLOOR_CACHE": f"{folder}/none", "SEEN": str(seen)}
        many = {"FALSEFLOOR_CACHE": f"{folder}/many", "SEEN": str(seen), "PYTHONPATH": str(site)}
        cold, rows = listed(many)
        imported_cold = seen.stat().st_size
        own = listed(none)[1]
        seen.write_text("")
        listed(many)
        pairs = [(listed(many)[0], listed(none)[0]) for _ in range(rounds)]
        imported = seen.stat().st_size
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    figures = {
        "packages": rows - own,
        "with_s": mine,
        "none_s": theirs,
        "ratio": mine / theirs,
        "limit": LIMIT,
        "imported_warm": imported,
        "first_time_s": cold,
        "imported_first_time": imported_cold,
    }
    print(json.dumps(figures))
    return int(mine > LIMIT * theirs or imported > 0 or rows - own != count)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *(9, 50)[len(given) :]))
