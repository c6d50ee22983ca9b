"""What it costs that each model has a process of its own, and that subjects are compared after estimates.

python benchmarks/isolation.py [MODELS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

NET = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def a_process(models: int) -> list[float]:
    """Seconds from the wish for a process to its model's facts, a model each, once the nursery is there."""
    from falsefloor.worker.local import LocalExecutor

    executor = LocalExecutor(["cpu"])

    def prepare(model: dict[str, str]) -> None:
        answer = executor.prepare(model, "digits:0-3", [[]], stopped=lambda: False)
        assert "error" not in answer, answer

    seconds = loading(prepare, models)
    executor.close()
    return seconds


def in_one_process(models: int) -> list[float]:
    """The same loading in a process that has loaded others."""
    from falsefloor.engine.session import Session

    session = Session()
    return loading(lambda model: session.ready(model, "digits:0-3", [[]]), models)


def loading(load: Callable[[dict[str, str]], object], models: int) -> list[float]:
    """Seconds that each of so many models takes; the first, which waits for the nursery, is not counted."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(models + 1):
            file = Path(folder, f"net{number}.py")
            file.write_text(NET, encoding="utf-8")
            began = time.perf_counter()
            load({"use": f"python:{file}:build"})
            seconds.append(time.perf_counter() - began)
    return seconds[1:]


def a_comparison() -> list[tuple[str, float, float, float]]:
    """(model and estimator, CPU seconds of its unit, of the comparison and of putting settings back)."""
    from falsefloor.engine.context import ignore_progress
    from falsefloor.engine.session import Session
    from falsefloor.engine.surroundings import undisturbed
    from falsefloor.engine.unit import run_unit
    from falsefloor.plugins import catalogue

    session, found = Session(), []
    for model in ("digits:linear", "digits:mlp", "digits:cnn"):
        for use in ("clever", "finite-difference", "attack"):
            params = dict(catalogue().params("estimator", use, {}))
            spec = {
                "kind": "estimate",
                "model": {"use": model},
                "stack": [],
                "norm": "linf",
                "inputs": "digits:0-3",
                "chunk": [0, 4],
                "seed": 0,
                "estimator": {"use": use, "params": params, "gradient": "autograd"},
            }
            began = time.process_time()
            run_unit(spec, session, ignore_progress)
            unit = time.process_time() - began
            (noted,) = [one for key, one in session._noted.items() if f'"{model}"' in key]
            began = time.process_time()
            for _ in range(100):
                noted.changes()
            compared = (time.process_time() - began) / 100
            began = time.process_time()
            for _ in range(100):
                with undisturbed():
                    pass
            found.append((f"{model} {use}", unit, compared, (time.process_time() - began) / 100))
    return found


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    own, shared = median(a_process(count)), median(in_one_process(count))
    print(f"a model in a process of its own: {own:.3f} s, in one with others {shared:.3f} s ({count} models)")
    for name, unit_, compared_, restored in a_comparison():
        share = compared_ / unit_
        print(f"{name}: {unit_ * 1e3:.1f} ms, comparison {compared_ * 1e3:.3f} ms ({share:.2%}),"
              f" settings {restored * 1e3:.3f} ms")  # fmt: skip
