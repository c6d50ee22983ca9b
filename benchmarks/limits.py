"""What share of planted regions is met, against their width or distance and the dimension: docs/limits.md.

A model of two classes whose ordinary boundary lies exactly at 0.1 from near the middle of the box, in 64, 784
and 3,072 coordinates, answers otherwise in one region inside that distance. What looks for it is what a run
has beside any estimator: the observation, an attack (one round, one restart), and uniform points of the
claimed ball. Met is a region where any call saw a point of it nearer than the claim. Sizes are in shares of
the claim:

    needle  a ball of the norm around a point at half of the claim, by its radius
    slab    between two parallel planes, the nearer at half of the claim, by its thickness
    cap     a half-space behind a plane without a gradient, by its distance
    shell   all points from half of the claim on, by its thickness
    salt    scattered points of the whole ball, by their share of it
    unit    a half-space behind one ReLU with a faint random pattern, by its distance

Trials are spread over each family's range; the 50 % point is a logistic fit's, the interval its profile
likelihood's at 95 %.

    python benchmarks/limits.py [--hidden] [--norm linf] [--at 0.5] [--sizes 64 784 3072] [--trials 24]
                                [--families …] [--store limits.json]

`--hidden` computes the region in numpy, where the observation does not see the numbers that it depends on (a
unit has no such form). `--at` moves needles, slabs and shells nearer or farther. With `--store` a call goes
on where one stopped, and prints every cell that it was asked for.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.subjects.observe import observe
from falsefloor.subjects.observe.around import share_of_ball
from falsefloor.subjects.sightings import Sightings
from falsefloor.subjects.subject import ModelSubject

CLAIM = 0.1
RANGES = {
    "needle": (0.003, 1.0),
    "slab": (1e-6, 1.0),
    "cap": (0.2, 1.0),
    "shell": (1e-6, 0.5),
    "salt": (1e-5, 0.1),
    "unit": (0.2, 1.0),
}
"""Sizes tried, by family: logarithmic, but for those that are distances."""
DISTANCES = ("cap", "unit")
DUAL: dict[Norm, float] = {"linf": 1, "l2": 2, "l1": math.inf}
OWN: dict[Norm, float] = {"linf": math.inf, "l2": 2, "l1": 1}
LINEAR = 0.999
"""A point at the ordinary boundary is not the region's."""


class Planted(nn.Module):
    """Two logits with a plane at `CLAIM` from ``centre``, and one region of the other class."""

    def __init__(
        self,
        family: str,
        size: float,
        centre: Tensor,
        generator: Generator,
        *,
        norm: Norm,
        at: float,
        hidden: bool,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        count = len(centre)
        self.family, self.size, self.centre, self.norm, self.at = family, size, centre, norm, at
        self.slope = nn.Parameter(torch.randn(count, generator=generator))
        signs = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1.0
        self.away = signs / torch.linalg.vector_norm(signs, OWN[norm])
        self.normal = torch.randn(count, generator=generator)
        self.phase = torch.rand(count, generator=generator) * 1e3

    def forward(self, x: Tensor) -> Tensor:
        move = x - self.centre
        steep = torch.linalg.vector_norm(self.slope, DUAL[self.norm])
        lead = CLAIM * steep - move @ self.slope
        if self.family == "unit":
            # steep enough that 1 % of the claim behind the plane changes the answer
            length = torch.linalg.vector_norm(self.normal, DUAL[self.norm])
            behind = (move @ self.normal - self.size * CLAIM * length).relu()
            lead = lead - 400 * behind * steep / length
        else:
            inside = (
                torch.from_numpy(self.inside(move.numpy(force=True))) if self.hidden else self.inside(move)
            )
            lead = torch.where(inside, -lead.abs() - 0.1, lead)
        return torch.stack([lead / 2, -lead / 2], 1)

    def inside(self, move: Any) -> Any:
        """(P,) whether points at ``move`` from the centre lie in the region; of torch or of numpy, alike."""
        own, dual = OWN[self.norm], DUAL[self.norm]
        length: Any = np.linalg.norm if self.hidden else torch.linalg.vector_norm
        away, normal, phase = (
            one.numpy() if self.hidden else one for one in (self.away, self.normal, self.phase)
        )
        far = length(move, own, 1) / CLAIM
        along = move @ normal / (CLAIM * length(normal, dual))
        if self.family == "needle":
            return length(move - self.at * CLAIM * away, own, 1) <= self.size * CLAIM
        if self.family == "slab":
            return (along >= self.at) & (along <= self.at + self.size)
        if self.family == "cap":
            return along >= self.size
        if self.family == "shell":
            return (far >= self.at) & (far <= self.at + self.size)
        turned = (move.astype("float64") if self.hidden else move.double()) * 1e5 * phase
        mixed = (np.sin(turned) if self.hidden else turned.sin()).sum(1) * 1e4
        return (far <= 1) & (far > 1e-3) & (abs(mixed) % 1 < self.size)


def met(family: str, size: float, count: int, seed: int, *, norm: Norm, at: float, hidden: bool) -> bool:
    """Whether any call met the planted region."""
    generator = Generator().manual_seed(seed)
    centre = torch.full((count,), 0.5) + 0.2 * (torch.rand(count, generator=generator) - 0.5)
    planted = Planted(family, size, centre, generator, norm=norm, at=at, hidden=hidden)
    subject = ModelSubject(planted.eval(), classes=2)
    inputs, labels = centre.unsqueeze(0), torch.zeros(1, dtype=torch.long)
    seen = Sightings(inputs, labels, norm=norm, bounds=subject.bounds)
    with subject.shown_to(seen):
        observe(subject, None, inputs, labels, norm=norm, generators=generators(inputs, seed=seed, norm="o"))
        context = RunContext(generators(inputs, seed=seed, norm="a"))
        Attack(restarts=1, rounds=1)(subject, inputs, labels, norm=norm, context=context)
        (drawn,) = generators(inputs, seed=seed, norm="s")
        share_of_ball(subject, inputs[0], labels[0], drawn, norm=norm, radius=CLAIM, rows=4096)
    seen.look()
    return float(seen.changed.distance[0, 0]) < LINEAR * CLAIM


def fitted(sizes: list[float], found: list[bool], *, distance: bool) -> tuple[float, float, float]:
    """The size that is met in half of the cases, and its 95 % interval: logistic in the (log) size."""
    at = [size if distance else math.log(size) for size in sizes]
    low, high = min(at), max(at)
    wide = high - low
    middles = [low - 0.1 * wide + 1.2 * wide * n / 240 for n in range(241)]
    slopes = [factor / wide for factor in (4, 8, 16, 32, 64, 128)]
    sign = -1.0 if distance else 1.0  # what lies farther is met less often, what is wider more

    def likelihood(middle: float) -> float:
        best = -math.inf
        for slope in slopes:
            told = 0.0
            for x, hit in zip(at, found, strict=True):
                z = sign * slope * (x - middle)
                told -= math.log1p(math.exp(min(-z if hit else z, 50.0)))
            best = max(best, told)
        return best

    values = [likelihood(middle) for middle in middles]
    top = max(values)
    kept = [middle for middle, value in zip(middles, values, strict=True) if value >= top - 1.92]
    best = [middle for middle, value in zip(middles, values, strict=True) if value == top]
    ends = (sum(best) / len(best), kept[0], kept[-1])
    return tuple(one if distance else math.exp(one) for one in ends)  # type: ignore[return-value]


def tried(family: str, trials: int) -> list[float]:
    """The sizes, spread over the family's range."""
    low, high = RANGES[family]
    shares = [n / (trials - 1) for n in range(trials)]
    return [low + s * (high - low) if family in DISTANCES else low * (high / low) ** s for s in shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--norm", choices=OWN, default="linf")
    parser.add_argument("--at", type=float, default=0.5)
    parser.add_argument("--hidden", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 784, 3072])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--families", nargs="*", choices=RANGES, default=list(RANGES))
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store: Path | None = options.store
    known: dict[str, list[bool]] = json.loads(store.read_text()) if store and store.exists() else {}
    for count in options.sizes:
        for family in options.families:
            sizes = tried(family, options.trials)
            name = f"{options.norm} at {options.at} {family} {count} x{len(sizes)}"
            found = known.setdefault(name + " hidden" * options.hidden, [])
            for seed in range(len(found), len(sizes)):
                how = {"norm": options.norm, "at": options.at, "hidden": options.hidden}
                found.append(met(family, sizes[seed], count, seed, **how))
                if store:
                    store.write_text(json.dumps(known, indent=1) + "\n")
            curve = "".join("#" if hit else "." for hit in found)
            half, low, high = fitted(sizes, found, distance=family in DISTANCES)
            told = f"{half:8.2g} ({low:.2g} to {high:.2g}), {sum(found)}/{len(found)}"
            print(f"{options.norm:4} {count:5} {family:7} {told}  {curve}", flush=True)


if __name__ == "__main__":
    main()
