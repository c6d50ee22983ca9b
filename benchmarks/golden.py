"""The same bits before and after a change: records every number of a study over all maskers, norms and
estimators, and compares a later version with them.

    python benchmarks/golden.py record golden.json     # before
    python benchmarks/golden.py compare golden.json    # after; exits with 1 where anything moved

Bits belong to a machine, its torch and its threads: record and compare on the same one. It looks from outside
(the command and the run's file), so that no rearrangement inside needs another script.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

STUDIES = (
    # every masker and norm, the paper's form too, traps and resampling
    """
    models = ["digits:mlp"]
    inputs = "digits:0-4"
    norms = ["linf", "l2", "l1"]
    trap = true
    maskers = ["none", "staircase:c=255", "staircase:c=16,mode=round", "ramp:c=255,delta=0.2",
        "ramp:c=255,delta=1e-7", "sigmoid:gain=10,at=logits", "sigmoid-staircase:c=255,gain=400",
        "dtype:to=float16,at=model", "dtype:to=uint8", "staircase:c=255+dtype:to=bfloat16,at=logits"]
    estimators = ["clever:batches=12", "finite-difference", "attack:steps=12,restarts=2,rounds=1",
        "clever:radius=0.3,box=false,directed=false,batches=12"]
    """,
    # convolutions, batch statistics, repair of everything
    """
    models = ["digits:cnn", "digits:mlp-bn"]
    inputs = "digits:0-1"
    norms = ["linf", "l2"]
    recover = "on"
    maskers = ["none", "staircase:c=255", "ramp:c=255,delta=0.2"]
    estimators = ["clever:batches=12,targets=race", "clever:fit=max", "finite-difference:coordinates=32",
        "attack:steps=12,restarts=2,rounds=1"]
    """,
    # curvature
    """
    models = ["digits:mlp-tanh"]
    inputs = "digits:0-2"
    norms = ["l2"]
    estimators = ["clever:order=2,batches=12", "attack:rounds=1"]
    """,
    # exact distances; behind a staircase the solver's time limit would decide, and so the machine
    """
    models = ["digits:mlp"]
    inputs = "digits:0-2"
    norms = ["linf", "l1"]
    estimators = ["milp:time_limit=900", "attack:rounds=1"]
    """,
)
MOVES = frozenset(("unit", "seconds", "arrays"))
"""What belongs to a run and not to its numbers."""


def record() -> dict[str, Any]:
    """Everything a run stores of each estimate and observation, arrays by their digest."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, study in enumerate(STUDIES):
            file = Path(folder, f"study-{number}.toml")
            file.write_text(study.replace("\n    ", "\n"))
            found |= _run(number, file, Path(folder, f"store-{number}"))
    return found


def _run(number: int, file: Path, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "falsefloor", "--store", str(store), "run", str(file)]
    done = subprocess.run([*command, "--device", "cpu", "--json"], stdout=subprocess.PIPE, check=False)
    document = json.loads(done.stdout)
    found = {}
    with closing(sqlite3.connect(next(store.rglob("run.db")))) as db:

        def array(name: str) -> str:
            row = db.execute("SELECT dtype, shape, data FROM array WHERE name = ?", (name,)).fetchone()
            return "missing" if row is None else _digest(f"{row[0]}{row[1]}".encode() + row[2])

        for one in document["estimates"]:
            kept = {key: value for key, value in one.items() if key not in MOVES}
            kept["curves"] = {name: array(f"{one['arrays']}/curve-{name}") for name in one["curves"]}
            kept["witness"] = one["witness"] and array(one["witness"])
            kept["warnings"] = [dict(warning) for warning in one["warnings"]]
            for warning in kept["warnings"]:
                del warning["id"]
                if warning["witness"]:
                    warning["witness"] = {**warning["witness"], "array": array(warning["witness"]["array"])}
            place = (one["model"], one["masker"], one["norm"], one["name"], one["input"])
            found[" | ".join(map(str, (number, *place)))] = kept
        for seen in document["observations"]:
            names = seen["facts"].get("arrays", {})
            facts = {**seen["facts"], "arrays": {role: array(name) for role, name in names.items()}}
            place = (seen["model"], seen["masker"], seen["norm"], "observed", seen["input"])
            found[" | ".join(map(str, (number, *place)))] = {"agreement": seen["agreement"], "facts": facts}
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What moved, a line each: the place, the key and both values."""
    moved = [f"gone: {place}" for place in before if place not in after]
    moved += [f"new: {place}" for place in after if place not in before]
    for place in sorted(before.keys() & after.keys()):
        # a later version may say more of a place, never otherwise
        known = {key: value for key, value in after[place].items() if key in before[place]}
        moved += [f"{place}: {line}" for line in _differences(before[place], known, "")]
    return moved


def _differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for k in keys for line in _differences(one.get(k), other.get(k), f"{path}.{k}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for n, (a, b) in pairs for line in _differences(a, b, f"{path}[{n}]")]
    return [] if one == other else [f"{path.lstrip('.')}: {one!r} -> {other!r}"]


def main() -> int:
    """Record or compare, as asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    now = json.loads(json.dumps(record()))
    if asked.what == "record":
        asked.file.write_text(json.dumps(now, indent=0, sort_keys=True) + "\n")
        print(f"recorded {len(now)} places")
        return 0
    moved = compare(json.loads(asked.file.read_text()), now)
    print("\n".join(moved))
    print(f"{len(now)} places, {len(moved)} differences")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
