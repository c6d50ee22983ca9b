"""CLEVER against the bare gradients it cannot do without, on one thread.

Prints, for an MLP and a CNN with ten classes, the time of the whole estimator (sampling, gradients, norms,
fit, interval, directed points) over the time of one forward and ten class backwards on as many points and
nothing else. The bare loop takes the same chunks of points, so that a cache does not flatter either side.
Medians of several interleaved runs, in processor time, which other programs disturb less; written as JSON
with --json FILE.

    python benchmarks/limit.py [--runs 7] [--norm linf] [--inputs 5] [--json limit.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.clever_ball import UNIT_POINTS
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.subject import ModelSubject

RADIUS = {"linf": 0.3, "l2": 2.0, "l1": 5.0}
GOALS = {
    ("mlp", "fixed, plain"): 1.6,
    ("cnn", "fixed, plain"): 1.25,
    ("mlp", "fixed, box-aware"): 3.0,
    ("cnn", "fixed, box-aware"): 1.5,
    ("mlp", "auto, box-aware"): 2.0,
    ("cnn", "auto, box-aware"): 1.3,
}


def bare(module: torch.nn.Module, points: Tensor, classes: int) -> None:
    """One forward and one backward a class, chunk by chunk; nothing is kept."""
    for chunk in points.split(UNIT_POINTS):
        inputs = chunk.clone().requires_grad_(True)
        logits = module(inputs)
        for j in range(classes):
            torch.autograd.grad(logits[:, j].sum(), inputs, retain_graph=j < classes - 1)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, form: str, estimator: Clever, *, norm: str, inputs: int, runs: int
) -> dict[str, object]:
    """Median ratio of the estimator to the bare loop on as many points as it looked at."""
    loaded = DigitsModel()(name)
    subject = ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)
    images, labels = load_split(held_out=True)
    images, labels = images[:inputs], labels[:inputs]

    def whole() -> None:
        context = RunContext(generators(images, seed=0, norm=norm))
        estimator(subject, images, labels, norm=norm, context=context)

    before = subject.forward_queries, subject.backward_queries
    whole()
    forward = subject.forward_queries - before[0]
    backward = subject.backward_queries - before[1]
    # a margin's backward replaces a class's, so the points that were looked at are backwards over K - 1;
    # repeated points (one row a target) are thereby counted once
    points = backward // (loaded.classes - 1)
    drawn = torch.rand(points, *images.shape[1:])
    bare(loaded.module, drawn, loaded.classes)
    pairs = [
        (seconds(whole), seconds(lambda: bare(loaded.module, drawn, loaded.classes))) for _ in range(runs)
    ]
    return {
        "model": name,
        "form": form,
        "norm": norm,
        "points": points,
        "forward": forward,
        "backward": backward,
        "bare_ms": 1e3 * statistics.median(pair[1] for pair in pairs),
        "whole_ms": 1e3 * statistics.median(pair[0] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
        "goal": GOALS.get((name, form)) if norm == "linf" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--inputs", type=int, default=5)
    parser.add_argument("--norm", choices=sorted(RADIUS), default="linf")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    radius = RADIUS[options.norm]
    forms = {
        "fixed, plain": Clever(samples=100, radius=radius, box=False, directed=False),
        "fixed, box-aware": Clever(samples=100, radius=radius),
        "auto, box-aware": Clever(),
    }
    rows = []
    print(f"{'model':6}{'form':20}{'points':>8}{'bare ms':>10}{'whole ms':>10}{'ratio':>8}{'goal':>6}")
    for name in ("mlp", "cnn"):
        for form, estimator in forms.items():
            row = compare(name, form, estimator, norm=options.norm, inputs=options.inputs, runs=options.runs)
            rows.append(row)
            print(
                f"{name:6}{form:20}{row['points']:8}{row['bare_ms']:10.1f}{row['whole_ms']:10.1f}"
                f"{row['ratio']:8.2f}{row['goal'] or '':>6}"
            )
    if options.json:
        machine = {"machine": platform.machine(), "torch": torch.__version__, "threads": 1}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
