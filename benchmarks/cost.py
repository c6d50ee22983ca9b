"""What one estimate costs by model size, classes and dimension: CPU seconds of one thread, and queries.

    python benchmarks/cost.py [ESTIMATOR …] [--write]

CPU time and not wall time, so that a busy machine changes little. Beside it stands the time of the same
number of bare passes in full batches: their ratio is what the estimator adds.
"""

from __future__ import annotations

import time

import torch
from pages import arguments, show, table
from torch import nn

from falsefloor.engine.context import RunContext, generators
from falsefloor.plugins.loading import make
from falsefloor.subjects.observe import observe
from falsefloor.subjects.subject import ModelSubject

ROWS = 512


def mlp(dimension: int, width: int, classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(dimension, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, classes),
    )  # fmt: skip


CASES = [
    (784, 64, 10),
    (3072, 64, 10),
    (784, 256, 10),
    (784, 1024, 10),
    (784, 256, 2),
    (784, 256, 100),
]


def bare(subject: ModelSubject, dimension: int, forward: int, backward: int) -> float:
    """CPU seconds of as many rows in batches of ROWS, without anything else."""
    points = torch.rand(ROWS, dimension, requires_grad=True)
    start = time.process_time()
    for _ in range(8):
        torch.autograd.grad(subject.module(points)[:, 0].sum(), points)
    both = (time.process_time() - start) / (8 * ROWS)
    start = time.process_time()
    with torch.no_grad():
        for _ in range(8):
            subject.module(points)
    one = (time.process_time() - start) / (8 * ROWS)
    return backward * both + max(0, forward - backward) * one


def one(name: str, dimension: int, width: int, classes: int) -> tuple[str, ...]:
    """A row; "observation" names what is measured of an input once, before any estimator."""
    module = mlp(dimension, width, classes).eval()
    subject = ModelSubject(module, classes=classes)
    inputs = torch.rand(1, dimension, generator=torch.Generator().manual_seed(1))
    labels = subject(inputs).argmax(1)
    drawn = generators(inputs, seed=0, norm="linf")
    before, start = (subject.forward_queries, subject.backward_queries), time.process_time()
    if name == "observation":
        observe(subject, None, inputs, labels, norm="linf", generators=drawn, rows=ROWS)
    else:
        estimator = make("estimator", name, {})
        estimator(subject, inputs, labels, norm="linf", context=RunContext(drawn, rows=ROWS))
    spent = time.process_time() - start
    forward, backward = subject.forward_queries - before[0], subject.backward_queries - before[1]
    least = bare(subject, dimension, forward, backward)
    size = sum(p.numel() for p in module.parameters())
    numbers = (f"{number:,}" for number in (dimension, size, classes, forward, backward))
    return (name, *numbers, f"{spent:.2f}", f"{least:.2f}", f"{spent / least:.1f}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("estimators", nargs="*", default=["clever", "finite-difference", "attack"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    one(given.estimators[0], *CASES[0])  # what is loaded at first is no cost of an estimate
    rows = [one(name, *case) for name in given.estimators for case in CASES]
    rows.append(one("observation", *CASES[0]))
    headings = ("", "d", "parameters", "K", "forward", "backward", "CPU s", "bare passes s", "ratio")
    show("cost", table(headings, rows), write=given.write)


if __name__ == "__main__":
    main()
