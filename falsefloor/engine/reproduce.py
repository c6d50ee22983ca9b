"""The numbers behind the note's figures, measured anew: asked of a process, so that no command loads torch.

Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial Perturbation Size"
(arXiv 1804.07870).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.reproduce_claims import misdirection, overestimates
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference.scale import choose_scale
from falsefloor.estimators.slopes.view import View
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.numerics.balls import sample
from falsefloor.numerics.margins import margins
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

LEVELS, DELTA = 255, 0.2
"""The note's Figure 1."""
RADIUS = 0.3
DIGITS = 4
BATCHES = 10
SAMPLES = (10, 100)
"""Samples a batch of the two sweeps: N = 100 and N = 1,000."""
DELTAS = tuple(10 ** (-k / 2) for k in range(15))
"""1 down to 1e-7."""
CASTS = ("none", "float16", "bfloat16", "float8_e4m3fn", "uint8")
EDGES = (-709.79, -709.78, -88.73, -88.72, 16.63, 16.64, 36.73, 36.74)
"""About where a sigmoid's derivative becomes exactly 0 in float32 and float64, in hundredths."""
POINTS = 16
BINS = 2048

Row = tuple[str | float, ...]


@dataclass(frozen=True)
class Table:
    """One figure's data: what `falsefloor reproduce` writes as NAME.csv."""

    name: str
    columns: tuple[str, ...]
    rows: list[Row]

    def write(self, folder: Path) -> Path:
        """NAME.csv in the folder, which exists."""
        path = folder / f"{self.name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(self.rows)
        return path


def steps() -> Table:
    """Figure 1: the staircase and its ramp on the unit interval and in two zooms, with autograd's slopes."""
    rows: list[Row] = []
    stairs, ramp = Staircase(c=LEVELS)(nn.Identity()), Ramp(c=LEVELS, delta=DELTA)(nn.Identity())
    for view, low, high in (("whole", 0.0, 1.0), ("zoom", 0.5, 0.52), ("closer", 0.5, 0.506)):
        t = torch.linspace(low, high, 601, dtype=torch.float64)
        values = [_with_slope(part, t) for part in (stairs, ramp)]
        for n, x in enumerate(t.tolist()):
            (a, da), (b, db) = ((float(v[n]), float(d[n])) for v, d in values)
            rows.append((view, x, a, da, b, db))
    return Table("steps", ("view", "t", "staircase", "staircase_slope", "ramp", "ramp_slope"), rows)


def _with_slope(part: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, Tensor]:
    leaf = t.clone().requires_grad_(True)
    values = part(leaf)
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), slope


def regimes() -> Table:
    """CLEVER's plain score behind ramps of every width, measured and predicted, against N·D·δ.

    The prediction knows the unmasked model's gradients only: behind a ramp a coordinate of a sampled gradient
    is 1/δ times as large with probability δ and zero otherwise, so the largest of N dual norms is a quantile
    of a weighted sum of coin flips; without a single hit the score is the radius.
    """
    rows: list[Row] = []
    body = DigitsModel()("mlp").module
    images, labels = load_split(held_out=True)
    plain = ModelSubject(body, classes=10)
    with torch.no_grad():
        right = (plain(images).argmax(1) == labels).nonzero().squeeze(1)[:DIGITS]
    for index in right.tolist():
        x, y = images[index : index + 1], labels[index : index + 1]
        margin, slopes = _slopes(plain, x, int(y))
        for delta in DELTAS:
            subject = ModelSubject(compose(body, [(Ramp(c=LEVELS, delta=delta), "input")]), classes=10)
            tails = [_tail(found, delta=delta) for found in slopes]
            for each in SAMPLES:
                count = BATCHES * each
                estimator = Clever(
                    batches=BATCHES, samples=each, radius=RADIUS, box=False, directed=False, fit="max"
                )
                context = RunContext(generators(x, seed=0, norm="linf"))
                score = float(estimator(subject, x, y, norm="linf", context=context).radius[0])
                told = min(
                    _predicted(m, tail, count=count) for m, tail in zip(margin.tolist(), tails, strict=True)
                )
                rows.append((index, count, delta, count * x.numel() * delta, score, told))
    return Table("regimes", ("digit", "samples", "delta", "n_d_delta", "measured", "predicted"), rows)


def _slopes(subject: ModelSubject, x: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """Margins (T,) at x and absolute margin gradients (T, P, d) of the unmasked model around it."""
    lo, hi = subject.bounds
    drawn = [torch.Generator().manual_seed(0)]
    points = sample(x, norm="linf", radius=RADIUS, count=POINTS, generators=drawn, lo=lo, hi=hi)[0]
    others = [k for k in range(subject.classes) if k != label]
    leaf = points.clone().requires_grad_(True)
    logits = subject(leaf)
    found = []
    for n, k in enumerate(others):
        score = (logits[:, label] - logits[:, k]).sum()
        (slope,) = torch.autograd.grad(score, leaf, retain_graph=n < len(others) - 1)
        found.append(slope.flatten(1).abs().double())
    with torch.no_grad():
        margin = margins(subject(x), torch.tensor([label]))[0, others]
    return margin, torch.stack(found)


@dataclass(frozen=True)
class Tail:
    """How often a sum of |g|·B/δ, B ~ Bernoulli(δ) for each coordinate, is at least k·width: above[k]."""

    above: Tensor
    width: float


def _tail(slopes: Tensor, *, delta: float) -> Tail:
    """Of slopes (P, d), P equally likely gradients; built on a grid, a coordinate at a time."""
    # room for every coordinate's rounding up
    width = float(slopes.sum(1).max()) / (BINS - 1 - slopes.shape[1])
    shifts = (slopes / width).round().long()
    mass = torch.zeros(len(slopes), BINS, dtype=torch.float64)
    mass[:, 0] = 1.0
    places = torch.arange(BINS)
    for column in shifts.T:
        source = places[None, :] - column[:, None]
        moved = mass.gather(1, source.clamp(min=0)) * (source >= 0)
        mass = (1 - delta) * mass + delta * moved
    # counted from the top, where the sums are small and exact
    return Tail(mass.mean(0).flip(0).cumsum(0).flip(0), width / delta)


def _predicted(margin: float, tail: Tail, *, count: int) -> float:
    """The score at the median of the largest of ``count`` such sums; the radius where that is 0."""
    wanted = -math.expm1(-math.log(2) / count)
    largest = int((tail.above >= wanted).nonzero().max()) * tail.width
    return RADIUS if largest <= 0 else min(RADIUS, margin / largest)


def underflow() -> Table:
    """The sigmoid's derivative as autograd gives it in float32 and float64, beside exp(-|t|), its size."""
    rows: list[Row] = []
    for t in [*(k / 2 for k in range(-1600, 261)), *EDGES]:
        slopes = [
            float(_with_slope(torch.sigmoid, torch.tensor([t], dtype=kind))[1])
            for kind in (torch.float32, torch.float64)
        ]
        rows.append((t, *slopes, math.exp(-abs(t)) / (1 + math.exp(-abs(t))) ** 2))
    return Table("underflow", ("t", "float32", "float64", "exact"), sorted(rows))


def casts(norm: Norm = "linf") -> Table:
    """The scale spectrum of one digit's margin under number types, with the median gradient of autograd."""
    rows: list[Row] = []
    body = DigitsModel()("mlp").module
    images, labels = load_split(held_out=True)
    x, label = images[0], int(labels[0])
    for name in CASTS:
        stack = [] if name == "none" else [(Dtype(to=name), "input")]
        subject = ModelSubject(compose(body, stack), classes=10)
        with torch.no_grad():
            lead = margins(subject(x[None]), labels[:1])[0]
        view = View.of(subject, x, label, lead, norm=norm, rows=4096)
        drawn = torch.Generator().manual_seed(0)
        found = choose_scale(view, cap=1.0, auto=True, most=64, generator=drawn)
        spectrum = found.spectrum
        level = _autograd_level(subject, x, label, int(lead.argmin()))
        for h, slope in zip(spectrum.scales[0].tolist(), spectrum.median[0].tolist(), strict=True):
            rows.append((name, h, slope, level))
    return Table("casts", ("cast", "h", "slope", "autograd"), rows)


def _autograd_level(subject: ModelSubject, x: Tensor, label: int, rival: int) -> float:
    lo, hi = subject.bounds
    drawn = [torch.Generator().manual_seed(0)]
    points = sample(x[None], norm="linf", radius=0.05, count=POINTS, generators=drawn, lo=lo, hi=hi)[0]
    leaf = points.requires_grad_(True)
    logits = subject(leaf)
    (slope,) = torch.autograd.grad((logits[:, label] - logits[:, rival]).sum(), leaf)
    return float(slope.flatten(1).abs().sum(1).median())


def claims() -> Table:
    """§3, the main result: CLEVER over the exact distance, without a mask and behind a staircase."""
    columns = ("digit", "exact", "clever", "clever_masked", "attack_masked", "radius")
    return Table("claims", columns, overestimates())


def directions() -> Table:
    """§6: gradients that are noisy, or point the wrong way, and what a score makes of them."""
    return Table("directions", ("mask", "digit", "correlation", "clever", "attack"), misdirection())


TABLES: dict[str, Callable[[], Table]] = {
    "claims": claims,
    "steps": steps,
    "regimes": regimes,
    "underflow": underflow,
    "casts": casts,
    "directions": directions,
}


def reproduce(folder: Path, names: Sequence[str] = tuple(TABLES)) -> Iterator[Path]:
    """Write the tables, one after the other; each file's path as it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        yield TABLES[name]().write(folder)


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In a process of its own: the path of every table as it is written."""
    torch.set_num_threads(1)
    for path in reproduce(Path(request["folder"])):
        yield {"table": str(path)}
