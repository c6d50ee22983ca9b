"""Robust accuracy of 500 digits between what is certified and what was found, held against exact distances;
and how often the interval over other inputs covers, over 200 sets drawn from them.

python benchmarks/sets.py --store sets.json --seconds 200 [--write]

Goes on where it stopped, ten digits at a time; prints what it has.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from pages import arguments, show, table

import falsefloor as ff
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.report.accuracy import InputSet, input_sets

RADII = (0.03, 1 / 16, 0.1)
INPUTS, EACH, SETS, SIZE = 500, 10, 200, 100
KEPT = ("model", "masker", "norm", "input", "label", "predicted", "claim", "radius", "verdict", "status")


def measure(model: Any, first: int) -> list[dict[str, Any]]:
    """Records of ten digits: certified by linear relaxation, attacked, and exact."""
    inputs, labels = (part[first : first + EACH] for part in load_split(held_out=True))
    found = ff.evaluate(
        model, inputs, labels, estimators=["crown", "attack", "milp"], effort="quick", recover="off"
    )
    # a milp that was not solved to the end proves less than the distance: then it is no truth
    return [
        {key: record[key] for key in (*KEPT, "witness", "name", "capped")}
        | {"input": first + record["input"], "evidence": {}, "warnings": []}
        | {"exact": (record["evidence"] or {}).get("exact") == 1}
        for record in found
    ]


def report(records: list[dict[str, Any]], *, write: bool) -> None:
    truth = {
        one["input"]: (0.0 if one["label"] != one["predicted"] else float(one["radius"]))
        for one in records
        if one["name"] == "milp"
        and one["status"] == "ok"
        and (one["exact"] or one["label"] != one["predicted"])
    }
    told = [one for one in records if one["name"] != "milp" and one["input"] in truth]
    (all_of_them,) = input_sets(told)
    rows = []
    draw = random.Random(0)
    for radius in RADII:
        at = all_of_them.at(radius)
        exact = sum(distance > radius for distance in truth.values()) / len(truth)
        low, high = at.bracket
        covered = 0
        for _ in range(SETS):
            drawn = draw.choices(sorted(truth), k=SIZE)
            some = {n: all_of_them.known[m] for n, m in enumerate(drawn)}
            ends = InputSet(all_of_them.place, some).at(radius).interval
            covered += ends[0] <= exact <= ends[1]
        within = "" if low <= exact <= high else ": exact is OUTSIDE"
        shares = f"{100 * low:.1f} to {100 * high:.1f} %{within}"
        width = f"{100 * (high - low):.1f} points"
        rows.append((f"{radius:.4g}", f"{100 * exact:.1f} %", shares, width, covered))
    headings = ("radius", "exact", "certified to not attacked", "width", f"interval covers, of {SETS} sets")
    show("sets", table(headings, rows), write=write, note=f"Digits with an exact distance: {len(truth)}")


def main() -> None:
    asked = arguments(__doc__)
    asked.add_argument("--store", type=Path, required=True)
    asked.add_argument("--seconds", type=float, default=1e9)
    given = asked.parse_args()
    records = json.loads(given.store.read_text(encoding="utf-8")) if given.store.exists() else []
    done, began = {one["input"] for one in records}, time.monotonic()
    model = DigitsModel()("mlp").module
    for first in range(0, INPUTS, EACH):
        if first not in done and time.monotonic() - began < given.seconds:
            records += measure(model, first)
            given.store.write_text(json.dumps(records), encoding="utf-8")
    report(records, write=given.write)


if __name__ == "__main__":
    main()
