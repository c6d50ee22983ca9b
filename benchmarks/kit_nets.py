"""Solves the small networks that the kits hold claims against: writes falsefloor/testing/nets.json.

python benchmarks/kit_nets.py   (two minutes on one core). The l1 and linf distances are what `milp` proves,
the l2 ones the least of many searches: l2 is used as an upper bound only.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch

from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.elsewhere import chain
from falsefloor.estimators.milp import Milp
from falsefloor.testing.drawn import nearest_found
from falsefloor.testing.problems import Watched

SHAPES = ((2, (12,), 3), (4, (10, 8), 3), (6, (12,), 4))
TARGET = Path(__file__).parents[1] / "falsefloor/testing/nets.json"


def net(number: int, size: int, hidden: tuple[int, ...], classes: int) -> dict[str, Any]:
    """One network with two inputs, solved."""
    drawn = torch.Generator().manual_seed(100 + number)
    widths = [size, *hidden, classes]
    layers = []
    for into, out in itertools.pairwise(widths):
        weight = (torch.randn(out, into, generator=drawn) / math.sqrt(into) * 1.4).mul(1024).round() / 1024
        bias = (0.3 * torch.randn(out, generator=drawn)).mul(1024).round() / 1024
        layers.append((weight, bias))
    subject = Watched(chain(layers), classes=classes)
    pool = (0.1 + 0.8 * torch.rand(200, size, generator=drawn)).mul(1024).round() / 1024
    with torch.no_grad():
        logits = subject(pool)
    label = int(logits.argmax(1).bincount().argmax())
    lead = logits.topk(2, 1).values
    mine = (logits.argmax(1) == label).nonzero().squeeze(1)
    order = mine[(lead[mine, 0] - lead[mine, 1]).argsort()]
    inputs = pool[order[[len(order) // 20 + 1, len(order) // 5]]]
    labels = torch.full((2,), label)
    near: dict[str, list[float]] = {}
    for norm in ("l1", "linf"):
        context = RunContext(generators(inputs, seed=0, norm=norm))
        found = Milp(time_limit=60.0)(subject, inputs, labels, norm=norm, context=context)  # type: ignore[arg-type]
        assert bool((torch.as_tensor(found.evidence["exact"]) == 1).all()), (number, norm)
        near[norm] = [float(v) for v in torch.as_tensor(found.evidence["upper"])]
    found_l2 = nearest_found(subject, inputs, labels, "l2").tolist()
    near["l2"] = [min(pair) for pair in zip(found_l2, near["l1"], strict=True)]
    print(number, near)
    return {
        "name": f"{size} coordinates, {' and '.join(map(str, hidden))} ReLUs",
        "layers": [[w.tolist(), b.tolist()] for w, b in layers],
        "inputs": inputs.tolist(),
        "labels": labels.tolist(),
        "near": near,
    }


def main() -> None:
    nets = [net(number, *shape) for number, shape in enumerate(SHAPES)]
    TARGET.write_text(json.dumps({"nets": nets}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
