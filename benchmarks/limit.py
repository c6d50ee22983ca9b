"""CLEVER against the bare gradients it cannot do without, on one thread.

Prints, for an MLP and a CNN with ten classes, the time of the whole estimator (sampling, gradients, norms,
fit, interval, directed points) over the time of one forward and ten class backwards on as many points and
nothing else; then the cost against the number of classes, with the race of targets, against the number of
points, and the memory. The bare loop takes the same chunks of points, so that a cache does not flatter either
side, and runs in the same process after the subject has settled its allocator
(`falsefloor.subjects.subject`): left alone it would be slower.
Medians of several interleaved runs, in processor time, which other programs disturb less.

    python benchmarks/limit.py [--runs 7] [--norm linf] [--inputs 5] [--models mlp cnn] [--write]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from live_tensors import peak_bytes
from pages import arguments, show, table
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.clever.ball import LARGE, UNIT_POINTS
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
    for chunk in torch.split(points, UNIT_POINTS):
        inputs = chunk.clone().requires_grad_(True)
        logits = module(inputs)
        for j in range(classes):
            torch.autograd.grad(logits[:, j].sum(), inputs, retain_graph=j < classes - 1)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, form: str, estimator: Clever, *, norm: Norm, inputs: int, runs: int
) -> dict[str, object]:
    """Median ratio of the estimator to the bare loop on as many points as it looked at."""
    loaded = DigitsModel()(name)
    subject = ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)
    images, labels = load_split(held_out=True)
    images, labels = images[:inputs], labels[:inputs]

    whole = partial(estimate, estimator, subject, images, labels, norm)
    before = subject.forward_queries, subject.backward_queries
    repeats: list[int] = []
    hook = subject.register_forward_pre_hook(lambda _module, given: repeats.append(filling(given[0])))
    whole()
    hook.remove()
    forward = subject.forward_queries - before[0]
    backward = subject.backward_queries - before[1]
    # a margin's backward replaces a class's, so the points that were looked at are backwards over K - 1;
    # repeated points (one row a target) are thereby counted once; rows that fill a forward do not count
    points = backward // (loaded.classes - 1) - sum(repeats)
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


def filling(rows: Tensor) -> int:
    """How many of a large forward's rows repeat the last point, which the bare loop does not owe."""
    if len(rows) <= LARGE:
        return 0
    same = (rows == rows[-1:]).flatten(1).all(dim=1).flip(0).long()
    return int(same.cumprod(dim=0).sum()) - 1


def estimate(
    estimator: Clever, subject: ModelSubject, images: Tensor, labels: Tensor, norm: Norm = "linf"
) -> Tensor:
    context = RunContext(generators(images, seed=0, norm=norm))
    return estimator(subject, images, labels, norm=norm, context=context).radius


def by_classes(counts: list[int], *, runs: int) -> list[dict[str, object]]:
    """Default estimates of two inputs against the number of classes: all targets, the nearest two, a race.

    per_target: time of all targets for each of them, over the same at the first count: at most 1 is linear or
    better. race: over the nearest two. agreement: the largest relative difference of a race to all.
    """
    images, _ = load_split(held_out=True)
    images = images[:2]
    rows: list[dict[str, object]] = []
    base = 0.0
    for count in counts:
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, count)
        )
        subject = ModelSubject(module, classes=count)
        labels = subject(images).argmax(dim=1)
        forms = {"all": Clever(), "two": Clever(targets=2), "race": Clever(targets="race")}
        radii = {name: estimate(form, subject, images, labels) for name, form in forms.items()}
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(runs):
            for name, form in forms.items():
                times[name].append(seconds(partial(estimate, form, subject, images, labels)))
        median = {name: statistics.median(taken) for name, taken in times.items()}
        base = base or median["all"] / (count - 1)
        rows.append(
            {
                "classes": count,
                "all_ms": 1e3 * median["all"],
                "per_target": median["all"] / (count - 1) / base,
                "race": median["race"] / median["two"],
                "agreement": float((radii["race"] / radii["all"] - 1).abs().max()),
            }
        )
    return rows


def by_points(counts: list[int], *, runs: int) -> list[dict[str, object]]:
    """One input's fixed ball against the number of points: time for each point and live tensors at most."""
    loaded = DigitsModel()("mlp")
    subject = ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)
    images, labels = load_split(held_out=True)
    rows: list[dict[str, object]] = []
    for count in counts:
        estimator = Clever(batches=50, samples=count // 50, radius=RADIUS["linf"])
        work = partial(estimate, estimator, subject, images[:1], labels[:1])
        work()
        each = statistics.median(seconds(work) for _ in range(runs)) / count
        rows.append({"points": count, "us_a_point": 1e6 * each, "peak_bytes": peak_bytes(work)})
    for row in rows:
        for key in ("us_a_point", "peak_bytes"):
            row[f"{key}_ratio"] = float(str(row[key])) / float(str(rows[0][key]))
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--inputs", type=int, default=5)
    parser.add_argument("--norm", choices=sorted(RADIUS), default="linf")
    parser.add_argument("--models", nargs="*", choices=("mlp", "cnn"), default=["mlp", "cnn"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    radius = RADIUS[options.norm]
    forms = {
        "fixed, plain": Clever(samples=100, radius=radius, box=False, directed=False),
        "fixed, box-aware": Clever(samples=100, radius=radius),
        "auto, box-aware": Clever(),
    }
    rows = []
    for form, estimator in forms.items():
        found = {
            name: compare(name, form, estimator, norm=options.norm, inputs=options.inputs, runs=options.runs)
            for name in options.models
        }
        points = ", ".join(dict.fromkeys(f"{row['points']:,}" for row in found.values()))
        rows.append((form, points, *(f"{row['ratio']:.2f}" for row in found.values())))
        print(found, flush=True)
    write, note = options.write, f"Norm: {options.norm}; digits: {options.inputs}"
    show("limit whole", table(("form", "points", *options.models), rows), write=write, note=note)
    few = min(options.runs, 3)
    growth = by_classes([10, 30, 100], runs=few)
    names = {
        "per_target": "time a target, over the first's",
        "race": "`race` over `targets=2`",
        "agreement": "`race`'s radius against `all`, relative",
    }
    rows = [(words, *(_short(row[key]) for row in growth)) for key, words in names.items()]
    show("limit classes", table(("classes", *(row["classes"] for row in growth)), rows), write=write)
    budget = by_points([10_000, 30_000, 100_000], runs=few)
    names = {
        "us_a_point_ratio": "time a point, over the first's",
        "peak_bytes_ratio": "live tensors at the peak, over the first's",
    }
    rows = [(words, *(_short(row[key]) for row in budget)) for key, words in names.items()]
    show("limit points", table(("points", *(f"{row['points']:,}" for row in budget)), rows), write=write)


def _short(value: object) -> str:
    number = float(str(value))
    return f"{number:.2f}" if number >= 0.005 else f"{number:.0e}" if number else "0"


if __name__ == "__main__":
    main()
