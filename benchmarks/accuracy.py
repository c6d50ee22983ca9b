"""Estimates against the truth: exact distances of digits, closed forms of linear models, masks over none.

    python benchmarks/accuracy.py [--quick] [--table exact|linear|masked|all] [--seeds 2] [--json FILE]
        [--write]

Three tables. Ratios to the exact linf distances of 60 held-out digits (tests/data/exact_linf.json, solved by
benchmarks/exact.py): a lower estimate above 1 over-claims, an attack is never below. Ratios to the distance
inside the box of random linear models, in every norm. And the attack behind a mask over the attack on the
bare model. Quick: 12 digits and one seed, a minute on one core.
"""

from __future__ import annotations

import copy
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import correct_digits, machine, quantile
from numpy.typing import NDArray
from pages import arguments, ratio, show, table
from torch import Tensor, nn

from falsefloor.api import Estimator, Masker, Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference import FiniteDifference
from falsefloor.estimators.milp.network import read_network
from falsefloor.estimators.milp.program import margin_bounds
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import SigmoidStaircase
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import load_split
from falsefloor.numerics.support import region
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

EXACT = Path(__file__).parent.parent / "tests" / "data" / "exact_linf.json"
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
ROUNDING = 1e-6
"""A ratio counts as above 1 beyond this: both sides are sums in floating point."""

ESTIMATORS: dict[str, Estimator] = {
    "**`clever`: auto, box-aware, directed (the default)**": Clever(),
    "`clever`: the same, undirected": Clever(directed=False),
    "`clever`: fixed radius 0.1, box-aware": Clever(radius=0.1),
    "`clever`: fixed radius 0.3, box-aware": Clever(radius=0.3),
    "`clever`: fixed radius 0.1, plain (the published form)": Clever(radius=0.1, box=False, directed=False),
    "`clever`: fixed radius 0.3, plain (the published form)": Clever(radius=0.3, box=False, directed=False),
    "`finite-difference` (default)": FiniteDifference(),
    "`attack` (default)": Attack(),
}
MASKS: dict[str, Masker] = {
    "staircase:c=255": Staircase(c=255),
    "staircase:c=16": Staircase(c=16),
    "ramp:c=255,delta=1e-6": Ramp(c=255, delta=1e-6),
    "sigmoid-staircase:c=255,gain=4000": SigmoidStaircase(c=255, gain=4000),
    "dtype:to=uint8": Dtype(to="uint8"),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="12 digits, one seed, fewer linear models")
    parser.add_argument("--table", choices=("exact", "linear", "masked", "all"), default="all")
    parser.add_argument("--seeds", type=int, default=2, help="runs of every estimator; ratios are pooled")
    parser.add_argument("--json", type=Path, help="write every ratio there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    seeds = range(1 if options.quick else options.seeds)
    rows: list[dict[str, Any]] = []
    tables = {
        "exact": ("estimate over the exact distance", exact(12 if options.quick else 60, seeds)),
        "linear": ("estimate over the closed form", linear(4 if options.quick else 12, seeds)),
        "masked": ("attack behind a mask over without", masked(8 if options.quick else 30, seeds)),
    }
    for name, (heading, found) in tables.items():
        if options.table in (name, "all"):
            told = []
            for what, ratios in found:
                told.append(summary(heading, what, ratios))
                print(cells(told[-1]), flush=True)
            rows += told
            note = f"Seeds: {len(seeds)}"
            show(f"accuracy {name}", described(heading, told), write=options.write, note=note)
    print(f"{len(seeds)} seeds, {time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def described(heading: str, rows: Sequence[dict[str, Any]]) -> str:
    return table((heading, "least", "median", "p95", "largest", "above 1"), map(cells, rows))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = (ratio(row[key]) for key in ("least", "median", "p95", "largest"))
    return row["what"], *numbers, f"{row['above']} of {len(row['ratios'])}"


def summary(heading: str, what: str, ratios: Sequence[float]) -> dict[str, Any]:
    return {
        "table": heading,
        "what": what,
        "least": min(ratios),
        "median": statistics.median(ratios),
        "p95": quantile(torch.tensor(ratios, dtype=torch.float64), 0.95),
        "largest": max(ratios),
        "above": sum(ratio > 1 + ROUNDING for ratio in ratios),
        "ratios": list(ratios),
    }


def radii(
    estimator: Estimator, subject: ModelSubject, inputs: Tensor, labels: Tensor, *, norm: Norm, seed: int
) -> Tensor:
    """(N,) radii in float64, as estimated: nothing is settled here."""
    context = RunContext(generators(inputs, seed=seed, norm=norm))
    return estimator(subject, inputs, labels, norm=norm, context=context).radius.double()


def exact(count: int, seeds: Sequence[int]) -> Iterator[tuple[str, list[float]]]:
    """Ratios to the solver's distances; only digits whose gap is closed count."""
    digits = [row for row in json.loads(EXACT.read_text())["digits"] if row["exact"]][:count]
    images, labels = load_split(held_out=True)
    chosen = [row["input"] for row in digits]
    inputs, labels = images[chosen], labels[chosen]
    truth = torch.tensor([row["distance"] for row in digits], dtype=torch.float64)
    module, _, _ = correct_digits("mlp", 1)
    subject = ModelSubject(module, classes=10)
    for name, estimator in ESTIMATORS.items():
        found = [radii(estimator, subject, inputs, labels, norm="linf", seed=seed) / truth for seed in seeds]
        yield name, torch.cat(found).tolist()
    certified = [
        crown_radius(subject, image, int(label)) for image, label in zip(inputs, labels, strict=True)
    ]
    yield "CROWN, certified", (torch.tensor(certified, dtype=torch.float64) / truth).tolist()


def crown_radius(subject: ModelSubject, image: Tensor, label: int) -> float:
    """The largest radius, by bisection, at which linear relaxation proves every margin positive."""
    network = read_network(subject, image.unsqueeze(0))
    centre = image.double().reshape(-1)
    lo, hi = torch.zeros_like(centre), torch.ones_like(centre)
    targets = [k for k in range(subject.classes) if k != label]
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        _, leads = margin_bounds(network, region(centre, lo, hi, norm="linf", radius=middle), label, targets)
        low, high = (middle, high) if bool((leads > 0).all()) else (low, middle)
    return low


def linear(count: int, seeds: Sequence[int]) -> Iterator[tuple[str, list[float]]]:
    """Ratios for inputs of 64 coordinates and 10 classes, each by a linear model of its own.

    The attack's points lead by 64 roundings of the largest logit, so that they replay: in float32 that alone
    is some 1e-5 of the distance here, in float64 nothing.
    """
    estimators: dict[str, Callable[[float], Estimator]] = {
        "clever, auto": lambda _far: Clever(),
        "clever, fixed at twice the distance": lambda far: Clever(radius=2 * far),
        "finite-difference": lambda _far: FiniteDifference(),
        "attack": lambda _far: Attack(),
        "attack, float64": lambda _far: Attack(),
    }
    for norm in NORMS:
        problems = [problem(seed, norm) for seed in range(count)]
        for name, make in estimators.items():
            ratios = []
            for layer, point, label, truth in problems:
                dtype = torch.float64 if name.endswith("float64") else torch.float32
                subject = ModelSubject(copy.deepcopy(layer).to(dtype), classes=10)
                for seed in seeds:
                    found = radii(make(truth), subject, point.to(dtype), label, norm=norm, seed=seed)
                    ratios.append(float(found[0]) / truth)
            yield f"{norm}: {name}", ratios


def problem(seed: int, norm: Norm) -> tuple[nn.Linear, Tensor, Tensor, float]:
    """A random linear model, one input of its own class, and the distance to another in the unit box."""
    drawn = torch.Generator().manual_seed(seed)
    layer = nn.Linear(64, 10)
    layer.weight.data = torch.randn(10, 64, generator=drawn) / 8
    layer.bias.data = torch.randn(10, generator=drawn) / 10
    point = torch.rand(1, 64, generator=drawn)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    at = point[0].double().numpy()
    logits = weight @ at + bias
    label = int(logits.argmax())
    near = [
        in_box(weight[label] - weight[k], logits[label] - logits[k], at, norm)
        for k in range(10)
        if k != label
    ]
    return layer, point, torch.tensor([label]), min(near)


def in_box(slope: NDArray[np.float64], margin: float, at: NDArray[np.float64], norm: Norm) -> float:
    """The least ‖δ‖ with slope·δ = -margin and at + δ in [0, 1]^d; inf where there is none.

    Every coordinate falls at most by its room. l1 takes the steepest first; linf moves all alike; l2 moves
    each in proportion to its slope until it has no room left.
    """
    size = np.abs(slope)
    room = np.where(slope > 0, at, 1 - at)
    if float((size * room).sum()) < margin:
        return math.inf
    if norm == "l1":
        order = np.argsort(-size)
        fallen = np.concatenate([[0.0], np.cumsum(size[order] * room[order])])
        last = int(np.searchsorted(fallen, margin)) - 1
        return float(room[order][:last].sum() + (margin - fallen[last]) / size[order][last])
    share = np.ones_like(size) if norm == "linf" else size
    low, high = 0.0, float((room / np.maximum(share, 1e-300)).max())
    for _ in range(200):
        middle = (low + high) / 2
        enough = float((size * np.minimum(middle * share, room)).sum()) >= margin
        low, high = (low, middle) if enough else (middle, high)
    moved = np.minimum(high * share, room)
    return float(moved.max() if norm == "linf" else np.sqrt((moved**2).sum()))


def masked(count: int, seeds: Sequence[int]) -> Iterator[tuple[str, list[float]]]:
    """The attack's radius behind each mask over its radius on the bare model, the same digits and seeds."""
    module, inputs, labels = correct_digits("mlp", count)
    bare = ModelSubject(module, classes=10)
    for norm in NORMS:
        plain = [radii(Attack(), bare, inputs, labels, norm=norm, seed=seed) for seed in seeds]
        for name, mask in MASKS.items():
            hidden = ModelSubject(compose(module, [(mask, "input")]), classes=10)
            kept = hidden(inputs).argmax(1) == labels
            ratios = [
                (
                    radii(Attack(), hidden, inputs[kept], labels[kept], norm=norm, seed=seed) / base[kept]
                ).tolist()
                for seed, base in zip(seeds, plain, strict=True)
            ]
            yield f"{norm}: {name}", [ratio for run in ratios for ratio in run]


if __name__ == "__main__":
    main()
