"""Exact distances of held-out digits, for the tests and the accuracy figures: tests/data/exact_linf.json.

    python benchmarks/exact.py [--count 60] [--norm linf] [--time-limit 120] [--output FILE]

Only digits that digits:mlp classifies correctly count. The file names the weights by their digest, so that a
test can tell whether it still belongs to the model. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import scipy
import torch

from falsefloor.estimators.milp import TOLERANCE, exact_distance
from falsefloor.estimators.milp.network import Question, read_network
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.subject import ModelSubject

HERE = Path(__file__).parent.parent / "tests" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=60, help="digits to solve")
    parser.add_argument("--norm", choices=("linf", "l1"), default="linf")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds a digit")
    parser.add_argument("--output", type=Path, help="default: tests/data/exact_NORM.json")
    options = parser.parse_args()
    output = options.output or HERE / f"exact_{options.norm}.json"
    torch.set_num_threads(1)
    model = DigitsModel()("mlp")
    subject = ModelSubject(model.module, classes=model.classes)
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        right = (subject(images).argmax(dim=1) == labels).nonzero().reshape(-1).tolist()
    network = read_network(subject, images[:16])
    size = images[0].numel()
    lo, hi = torch.zeros(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64)
    rows = []
    started = time.monotonic()
    for index in right[: options.count]:
        before = time.monotonic()
        centre = images[index].double().reshape(-1)
        asked = Question(network, centre, int(labels[index]), lo, hi, options.norm)
        found = exact_distance(asked, seconds=options.time_limit)
        rows.append(
            {
                "input": index,
                "label": int(labels[index]),
                "target": found.target,
                "distance": found.upper,
                "lower": found.lower,
                "gap": found.upper - found.lower,
                "exact": found.solved,
            }
        )
        print(
            f"digits:{index}  {found.lower:.6f} … {found.upper:.6f}  {time.monotonic() - before:.1f} s",
            flush=True,
        )
    document = {
        "model": "digits:mlp",
        "weights": hashlib.sha256(Path(model.files[0]).read_bytes()).hexdigest(),
        "norm": options.norm,
        "bounds": [0.0, 1.0],
        "solver": f"HiGHS, scipy {scipy.__version__}, Python {platform.python_version()}",
        "tolerance": TOLERANCE,
        "digits": rows,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n")
    solved = sum(bool(row["exact"]) for row in rows)
    print(f"{solved} of {len(rows)} solved in {time.monotonic() - started:.0f} s; written to {output}")


if __name__ == "__main__":
    main()
