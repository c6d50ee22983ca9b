"""A forecast over the actual time: what a study was said to cost before it began, and what it took.

    python benchmarks/forecast.py RUN …

RUN: an id or folder of a finished run. Prints a row a run, and one for each thing computed in it; 1 is a
perfect forecast, below 1 it took longer than was said.
"""

from __future__ import annotations

import sys

from falsefloor.store.reader import reading
from falsefloor.store.run_dir import find_run, store_root


def main(names: list[str]) -> None:
    print("| run | what | forecast s | actual s | ratio |\n| --- | --- | --- | --- | --- |")
    for name in names:
        with reading(find_run(store_root(), name)) as reader:
            expected, series = reader.meta()["forecast"], {s.id: s for s in reader.series()}
            took: dict[str, float] = {}
            for unit in reader.units("ok"):
                if unit["kind"] in ("observe", "estimate"):
                    label = "" if unit["kind"] == "observe" else series[unit["series"]].label
                    took[label] = took.get(label, 0.0) + unit["seconds"]
        rows = [("all", sum(expected["by"].values()), sum(took.get(label, 0.0) for label in expected["by"]))]
        rows += [(label or "observing", s, took.get(label, 0.0)) for label, s in expected["by"].items()]
        for label, said, spent in rows:
            ratio = f"{said / spent:.2f}" if spent else ""
            print(f"| {name} | {label} | {said:.2f} | {spent:.2f} | {ratio} |")


if __name__ == "__main__":
    main(sys.argv[1:])
