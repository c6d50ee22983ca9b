"""The note's figures and claims measured anew: asked of a process, so that no command loads torch.

Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial Perturbation Size"
(arXiv 1804.07870). Its claims about scores (§3, §6) on digits whose distance is known.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import Estimator
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.finite_difference.scale import choose_scale
from falsefloor.estimators.milp import Milp
from falsefloor.estimators.slopes import View
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
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
PUBLISHED = Clever(batches=50, samples=20, radius=RADIUS, box=False, directed=False)
"""The paper's form, with a fiftieth of its 500 batches of 1,024 points."""
STEP, PAIRS = 0.05, 64
"""Half the length of a secant, and how many are compared with autograd's gradient between their ends."""

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


def right() -> tuple[nn.Module, Tensor, Tensor, list[int]]:
    """The digits model with the first held-out digits that it classifies as labelled, and their numbers."""
    body = DigitsModel()("mlp").module
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        known = (body(images).argmax(1) == labels).nonzero().squeeze(1)[:DIGITS]
    return body, images[known], labels[known], known.tolist()


def regimes() -> Table:
    """CLEVER's plain score behind ramps of every width, measured and predicted, against N·D·δ.

    The prediction knows the unmasked model's gradients only: behind a ramp a coordinate of a sampled gradient
    is 1/δ times as large with probability δ and zero otherwise, so the largest of N dual norms is a quantile
    of a weighted sum of coin flips; without a single hit the score is the radius.
    """
    rows: list[Row] = []
    body, images, labels, digits = right()
    plain = ModelSubject(body, classes=10)
    for at, digit in enumerate(digits):
        x, y = images[at : at + 1], labels[at : at + 1]
        view = _view(plain, x[0], int(y))
        slopes = _slopes(view)
        for delta in DELTAS:
            subject = ModelSubject(compose(body, [(Ramp(c=LEVELS, delta=delta), "input")]), classes=10)
            tails = [_tail(found, delta=delta) for found in slopes]
            for each in SAMPLES:
                count = BATCHES * each
                estimator = replace(PUBLISHED, batches=BATCHES, samples=each, fit="max")
                context = RunContext(generators(x, seed=0, norm="linf"))
                score = float(estimator(subject, x, y, norm="linf", context=context).radius[0])
                each_one = zip(view.margin.tolist(), tails, strict=True)
                told = min(_predicted(margin, tail, count=count) for margin, tail in each_one)
                rows.append((digit, count, delta, count * x.numel() * delta, score, told))
    return Table("regimes", ("digit", "samples", "delta", "n_d_delta", "measured", "predicted"), rows)


def _view(subject: ModelSubject, x: Tensor, label: int) -> View:
    with torch.no_grad():
        lead = margins(subject(x[None]), torch.tensor([label]))[0]
    return View.of(subject, x, label, lead, norm="linf", rows=4096)


def _slopes(view: View) -> Tensor:
    """Absolute margin gradients (T, P, d) of the unmasked model around an input."""
    leaf = view.sample(RADIUS, POINTS, torch.Generator().manual_seed(0)).requires_grad_(True)
    logits = view.subject(leaf)
    found = []
    for k in view.targets.tolist():
        score = (logits[:, view.label] - logits[:, k]).sum()
        (slope,) = torch.autograd.grad(score, leaf, retain_graph=True)
        found.append(slope.flatten(1).abs().double())
    return torch.stack(found)


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


def casts() -> Table:
    """The scale spectrum of one digit's margin under number types, with the median gradient of autograd."""
    rows: list[Row] = []
    body = DigitsModel()("mlp").module
    images, labels = load_split(held_out=True)
    x, label = images[0], int(labels[0])
    for name in CASTS:
        stack = [] if name == "none" else [(Dtype(to=name), "input")]
        subject = ModelSubject(compose(body, stack), classes=10)
        view = _view(subject, x, label)
        drawn = torch.Generator().manual_seed(0)
        found = choose_scale(view, cap=1.0, auto=True, most=64, generator=drawn)
        spectrum = found.spectrum
        level = _autograd_level(view)
        for h, slope in zip(spectrum.scales[0].tolist(), spectrum.median[0].tolist(), strict=True):
            rows.append((name, h, slope, level))
    return Table("casts", ("cast", "h", "slope", "autograd"), rows)


def _autograd_level(view: View) -> float:
    leaf = view.sample(0.05, POINTS, torch.Generator().manual_seed(0)).requires_grad_(True)
    logits, rival = view.subject(leaf), int(view.targets[view.nearest])
    (slope,) = torch.autograd.grad((logits[:, view.label] - logits[:, rival]).sum(), leaf)
    return float(slope.flatten(1).abs().sum(1).median())


class Noise(nn.Module):
    """t + a·sin(w·t): it moves nothing by more than a, and its gradient by up to a·w."""

    def __init__(self, a: float = 1e-4, w: float = 1e6) -> None:
        super().__init__()
        self.a, self.w = a, w

    def forward(self, t: Tensor) -> Tensor:
        return (t.double() + self.a * torch.sin(self.w * t.double())).to(t.dtype)


class Tilt(nn.Module):
    """A staircase whose treads lean backwards by a slope s: every gradient points the wrong way."""

    def __init__(self, c: float = 255.0, s: float = 0.1) -> None:
        super().__init__()
        self.c, self.s = c, s

    def forward(self, t: Tensor) -> Tensor:
        scaled = self.c * t.double()
        step = scaled.detach().floor()
        return ((step + 0.5 - self.s * (scaled - step - 0.5)) / self.c).to(t.dtype)


MASKS: Mapping[str, Callable[[], nn.Module]] = {"none": nn.Identity, "noisy": Noise, "misdirected": Tilt}


def claims() -> Table:
    """§3, the main result: CLEVER in the published form, without a mask and behind a staircase.

    Beside the exact distance of the bare model, and the nearest point of another class that an attack found
    behind the staircase: it moves no coordinate, and so the exact distance, by more than a step.
    """
    body, x, y, digits = right()
    plain, stairs = (
        ModelSubject(compose(body, stack), classes=10) for stack in ([], [(Staircase(c=LEVELS), "input")])
    )
    asked: list[tuple[ModelSubject, Estimator]] = [
        (plain, Milp(time_limit=600.0)),
        (plain, PUBLISHED),
        (stairs, PUBLISHED),
        (stairs, Attack()),
    ]
    columns = []
    for subject, estimator in asked:
        context = RunContext(generators(x, seed=0, norm="linf"))
        columns.append(estimator(subject, x, y, norm="linf", context=context).radius.tolist())
    names = ("digit", "exact", "clever", "clever_masked", "attack_masked", "radius")
    rows: list[Row] = [(digit, *values, RADIUS) for digit, *values in zip(digits, *columns, strict=True)]
    return Table("claims", names, rows)


def directions() -> Table:
    """§6: a mask may also add noise to a gradient, or turn it round.

    Of each mask the correlation of what autograd says along a secant with what the function does there,
    CLEVER's score, and the nearest point of another class that an attack knows which trusts no gradient.
    """
    body, x, y, digits = right()
    rows: list[Row] = []
    for name, make in MASKS.items():
        subject = ModelSubject(nn.Sequential(make(), body), classes=10)
        contexts = (RunContext(generators(x, seed=0, norm="linf")) for _ in range(2))
        score, bound = (
            estimator(subject, x, y, norm="linf", context=next(contexts)).radius.tolist()
            for estimator in (PUBLISHED, Attack())
        )
        for n, digit in enumerate(digits):
            rows.append((name, digit, _correlation(subject, x[n : n + 1], y[n : n + 1]), score[n], bound[n]))
    return Table("directions", ("mask", "digit", "correlation", "clever", "attack"), rows)


def _correlation(subject: ModelSubject, x: Tensor, label: Tensor) -> float:
    generator = torch.Generator().manual_seed(0)
    ways = torch.randint(0, 2, (PAIRS, *x.shape[1:]), generator=generator).to(x.dtype) * 2 - 1
    middle = (x + 0.1 * (torch.rand(ways.shape, generator=generator) - 0.5)).clamp(STEP, 1 - STEP)
    with torch.no_grad():
        rival = int(margins(subject(x), label).argmin())

    def margin(points: Tensor) -> Tensor:
        logits: Tensor = subject(points)
        return logits[:, int(label)] - logits[:, rival]

    with torch.no_grad():
        truth = margin(middle + STEP * ways) - margin(middle - STEP * ways)
    leaf = middle.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(margin(leaf).sum(), leaf)
    told = (slope * 2 * STEP * ways).flatten(1).sum(1)
    return float(torch.corrcoef(torch.stack([truth, told]))[0, 1])


TABLES: dict[str, Callable[[], Table]] = {
    "claims": claims,
    "steps": steps,
    "regimes": regimes,
    "underflow": underflow,
    "casts": casts,
    "directions": directions,
}


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In a process of its own: the path of every table as it is written."""
    torch.set_num_threads(1)
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES.values():
        yield {"table": str(table().write(folder))}
