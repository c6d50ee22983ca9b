"""CLEVER's time at real scale over the bare passes that it needs, and the memory it takes.

    python benchmarks/real/cost.py photographs.npz [--image 0] [--targets race] [--batches 5] [--samples 20]

The estimator runs once and every forward and backward that it asks for is noted: how many rows, how many
backwards on the same graph. Then the bare model is given the same passes in the same order, and the two are
compared in CPU seconds of one thread. A warm-up comes before either. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.fitting import bytes_a_row, rows_that_fit
from falsefloor.estimators.clever import Clever
from falsefloor.models.python import PythonModel
from falsefloor.subjects.subject import FILL, ModelSubject


class Noted(nn.Module):
    """A subject that notes each forward's rows, and how many backwards its graph served."""

    def __init__(self, subject: ModelSubject) -> None:
        super().__init__()
        self.subject, self.passes = subject, []
        for name in ("module", "bounds", "classes", "device", "dtype"):
            object.__setattr__(self, name, getattr(subject, name))

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.subject(inputs)
        note = [len(inputs), 0]
        self.passes.append(note)
        if logits.requires_grad:
            logits.register_hook(lambda _grad: note.__setitem__(1, note[1] + 1))
        return logits


def bare(module: nn.Module, point: Tensor, passes: list[list[int]]) -> float:
    """CPU seconds of the same passes on the bare model, with nothing done with what they return."""
    began = time.process_time()
    for rows, backwards in passes:
        points = point.expand(rows, *point.shape[1:]).clone().requires_grad_(backwards > 0)
        with torch.set_grad_enabled(backwards > 0):
            logits = module(points)
        seed = torch.zeros_like(logits)
        seed[:, 0] = 1
        for turn in range(backwards):
            torch.autograd.grad(logits, points, seed, retain_graph=turn < backwards - 1)
    return time.process_time() - began


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--model", default="benchmarks/real/efficientnet.py:build")
    parser.add_argument("--image", type=int, default=0)
    parser.add_argument("--targets", default="race")
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    loaded = PythonModel()(given.model)
    point = torch.as_tensor(np.load(given.inputs)["inputs"][given.image : given.image + 1])
    rows = rows_that_fit(loaded.module, point)
    subject = ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)
    label = subject(point).argmax(1)
    noted: Any = Noted(subject)
    context = RunContext(generators(point, seed=0, norm="linf"), rows=rows)
    targets = given.targets if given.targets in ("all", "race") else int(given.targets)
    estimator = Clever(batches=given.batches, samples=given.samples, targets=targets)
    bare(loaded.module, point, [[FILL, 2]])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    estimate = estimator(noted, point, label, norm="linf", context=context)
    spent = time.process_time() - began
    passes = bare(loaded.module, point, noted.passes)
    print(
        json.dumps(
            {
                "radius": float(estimate.radius[0]),
                "targets_covered": float(estimate.evidence["targets_covered"][0]),
                "rows": rows,
                "megabytes_a_row": round(bytes_a_row(loaded.module, point) / 1e6, 1),
                "forward": subject.forward_queries,
                "backward": subject.backward_queries,
                "clever_cpu_seconds": round(spent, 1),
                "bare_cpu_seconds": round(passes, 1),
                "ratio": round(spent / passes, 3),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "megabytes_before": before // 1024,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
