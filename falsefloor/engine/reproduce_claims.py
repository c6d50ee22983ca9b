"""The note's claims about scores, measured on digits whose distance is known: its main result, and its §6.

Beside `falsefloor.engine.reproduce`, which measures its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from falsefloor.api import Estimator
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.milp import Milp
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.numerics.margins import margins
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

LEVELS = 255
RADIUS = 0.3
DIGITS = 4
PUBLISHED = Clever(batches=50, samples=20, radius=RADIUS, box=False, directed=False)
"""The paper's form, with a fiftieth of its 500 batches of 1,024 points."""
STEP, PAIRS = 0.05, 64
"""Half the length of a secant, and how many are compared with autograd's gradient between their ends."""

Row = tuple[str | float, ...]


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


def right() -> tuple[nn.Module, Tensor, Tensor, list[int]]:
    """The digits model with the first held-out digits that it classifies as labelled."""
    body = DigitsModel()("mlp").module
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        known = (body(images).argmax(1) == labels).nonzero().squeeze(1)[:DIGITS]
    return body, images[known], labels[known], known.tolist()


def overestimates() -> list[Row]:
    """The note's §3: CLEVER in the published form, without a mask and behind a staircase.

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
    return [(digit, *values, RADIUS) for digit, *values in zip(digits, *columns, strict=True)]


def misdirection() -> list[Row]:
    """The note's §6: a mask may also add noise to a gradient, or turn it round.

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
    return rows


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
