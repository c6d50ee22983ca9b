"""What the checks cost beside what they check: seconds of the detection benchmark's units, a family a row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from detection_studies import FAMILIES

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir

DEFAULTS = ("clever", "finite-difference", "attack")
"""The default study's estimators; the paper's form, which the benchmark adds, is left out of the sum."""


def costs(runs: Mapping[str, RunDir], judging: Mapping[str, float]) -> str:
    """A Markdown table. runs, judging: run and seconds of judging all of it, by tag.

    Follow-ups (an estimate with four times its samples) run only where a check fired, so they stand apart.
    """
    spent: dict[str, Counter[str]] = {family.name: Counter() for family in FAMILIES}
    for tag, run in runs.items():
        seconds = spent[tag.split("/")[1]]
        seconds["judging"] += judging.get(tag, 0.0)
        with RunReader(run) as reader:
            labels = {series.id: series.label for series in reader.series()}
            for unit in reader.units():
                kind = labels.get(unit["series"], unit["kind"])
                if "resample" in json.loads(unit["spec"]).get("extra", {}):
                    kind = "more samples"
                seconds[kind] += unit["seconds"]
    lines = [
        "| family | estimating, s | observing | judging | more samples |",
        "| --- | --- | --- | --- | --- |",
    ]
    for family, seconds in spent.items():
        whole = sum(seconds[name] for name in DEFAULTS)
        if whole:
            shares = (seconds[name] / whole for name in ("observe", "judging", "more samples"))
            lines.append(f"| {family} | {whole:.0f} | " + " | ".join(f"{s:.3f}" for s in shares) + " |")
    return "\n".join(lines)


__all__ = ["costs"]
