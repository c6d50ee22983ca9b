"""What one estimate costs by model size, classes and dimension: CPU seconds of one thread, and queries.

    python benchmarks/cost.py [ESTIMATOR …]

CPU time and not wall time, so that a busy machine changes little. Beside it stands the time of the same
number of bare passes in full batches: their ratio is what the estimator adds.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

from falsefloor.engine.context import RunContext, generators
from falsefloor.plugins.loading import make
from falsefloor.subjects.subject import ModelSubject

ROWS = 512


def mlp(dimension: int, width: int, classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(dimension, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, classes),
    )  # fmt: skip


CASES = [
    (64, 64, 10),
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


def main(specs: list[str]) -> None:
    torch.set_num_threads(1)
    print("| estimator | d | parameters | K | forward | backward | CPU s | bare passes s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in specs:
        estimator = make("estimator", name, {})
        for dimension, width, classes in CASES:
            module = mlp(dimension, width, classes).eval()
            subject = ModelSubject(module, classes=classes)
            inputs = torch.rand(1, dimension, generator=torch.Generator().manual_seed(1))
            labels = subject(inputs).argmax(1)
            context = RunContext(generators(inputs, seed=0, norm="linf"), rows=ROWS)
            before, start = (subject.forward_queries, subject.backward_queries), time.process_time()
            estimator(subject, inputs, labels, norm="linf", context=context)
            spent = time.process_time() - start
            forward, backward = subject.forward_queries - before[0], subject.backward_queries - before[1]
            least = bare(subject, dimension, forward, backward)
            size = sum(p.numel() for p in module.parameters())
            row = (name, dimension, f"{size:,}", classes, f"{forward:,}", f"{backward:,}")
            print(
                "|",
                " | ".join(map(str, row)),
                f"| {spent:.2f} | {least:.2f} | {spent / least:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["clever", "finite-difference", "attack"])
