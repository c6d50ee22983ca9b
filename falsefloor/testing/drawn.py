"""Networks drawn anew for every run of a kit, with a verified point of another class near every input.

What an estimator claims on them can be wrong, and nobody can know them beforehand. All are chains of linear
layers with ReLUs between, so that certificates can read them, on the unit box but for one:

linear    the exact distance inside the box is a projection, in every norm
relu      a curved one; a settled point found by repeated linearisation bounds the distance from above
ridge     a linear one with a ridge a thousandth as wide as it is far: samples miss it, proofs do not
stored    small ones whose exact l1 and linf distances a mixed-integer solver proved (benchmarks/kit_nets.py)
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Generator, Tensor, nn

from falsefloor.api import NORMS, Norm
from falsefloor.engine.elsewhere import chain
from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.numerics.projections import to_plane
from falsefloor.subjects.settle import settle
from falsefloor.testing.problems import Watched

SEED = "FALSEFLOOR_KIT_SEED"
"""Environment variable that draws again what a report names; unset, every process draws anew."""
Layers = list[tuple[Tensor, Tensor]]
NARROW = 1e-3
"""Half width of a ridge, as a share of its distance."""
LARGEST = 784
"""Coordinates of the largest problem: an image of 28 by 28."""


@dataclass(frozen=True)
class Drawn:
    """inputs (N, *input), all of one class; near: by norm the distance (N,) of a verified point of another
    class, float64, the nearest there is where ``exact``."""

    name: str
    layers: Layers
    inputs: Tensor
    labels: Tensor
    near: Mapping[Norm, Tensor]
    exact: bool
    box: tuple[float, float] = (0.0, 1.0)

    @property
    def module(self) -> nn.Sequential:
        made: nn.Sequential = chain(self.layers)
        return made

    def subject(self) -> Watched:
        return Watched(self.module, classes=len(self.layers[-1][1]), bounds=self.box)

    def slack(self, norm: Norm) -> float:
        """The distance that rounding of float32 logits is worth, on a linear model."""
        weight = self.layers[-1][0].double()
        with torch.no_grad():
            size = float(self.module(self.inputs).abs().max())
        slope = max(float(vector_norm((weight[:1] - weight[1:]), dual(norm)).max()), 1e-12)
        return 32 * torch.finfo(torch.float32).eps * size / slope if len(self.layers) == 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """For `falsefloor.engine.elsewhere`."""
        return {
            "layers": [[weight.tolist(), bias.tolist()] for weight, bias in self.layers],
            "inputs": self.inputs.tolist(),
            "labels": self.labels.tolist(),
        }


@cache
def kit_seed() -> int:
    """The seed of this process's draws: from the environment, or anew."""
    given = os.environ.get(SEED, "")
    return int(given) if given.isdigit() else int.from_bytes(os.urandom(4), "big")


@cache
def linears(seed: int) -> tuple[Drawn, ...]:
    """Linear models of 2 to 784 coordinates with one input inside, on a face and in a corner of the box.

    All inputs have the same class, and their linf distances reach from 5e-4 to 0.1.
    """
    drawn = _generator(seed, "linear")
    label = int(torch.randint(2, (1,), generator=drawn))
    sizes = [3 + int(n) for n in torch.randint(30, (4,), generator=drawn)]
    plans = [
        (2, 2, "inside", 0.1),
        (LARGEST, 2, "inside", 2e-3),
        (sizes[0], 2, "inside", 0.05),
        (sizes[1], 3 + sizes[0] % 6, "inside", 5e-4),
        (sizes[2], 4, "on a face", 0.05),
        (sizes[3], 3, "in a corner", 0.02),
    ]
    made = [_linear(drawn, *plan, label=label) for plan in plans]
    return (*made, _stretched(made[2], -1.0, 1.0))


def _stretched(problem: Drawn, low: float, high: float) -> Drawn:
    """The same linear model on another box: its inputs are spread over it, and its distances with them."""
    ((weight, bias),), times = problem.layers, high - low
    exact = weight.double() / times
    layers = [(exact.float(), (bias.double() - low * exact.sum(1)).float())]
    near = {norm: far * times for norm, far in problem.near.items()}
    name, inputs = f"{problem.name} of {low:g} to {high:g}", low + times * problem.inputs
    return Drawn(name, layers, inputs, problem.labels, near, exact=True, box=(low, high))


def _linear(drawn: Generator, size: int, classes: int, place: str, reach: float, *, label: int) -> Drawn:
    x = 0.2 + 0.6 * torch.rand(size, generator=drawn)
    if place != "inside":
        corner = torch.rand(size, generator=drawn).round()
        most = size if place == "in a corner" else max(1, size // 2)
        x[:most] = corner[:most]
    weight = torch.randn(classes, size, generator=drawn)
    if classes == 2:
        weight[1] = -weight[0]  # bounds of the two logits are then as tight as one of their difference
    exact, at = weight.double(), x.double()
    bias = torch.zeros(classes, dtype=torch.float64)
    for other in range(classes):
        slope = exact[label] - exact[other]
        room = torch.where(slope > 0, at, 1 - at)
        far = reach * (1 + 2 * float(torch.rand(1, generator=drawn)) * (other != (label + 1) % classes))
        bias[other] = slope @ at - (slope.abs() * room.clamp(max=far)).sum()
    bias[label] = 0.0
    layers = [(weight, bias.float())]
    shape = (1, 28, 28) if size == LARGEST else (size,)
    near = {norm: _exact(layers, x, label, norm) for norm in NORMS}
    name = f"{size} coordinates, {classes} classes, {place}"
    return Drawn(name, layers, x.reshape(1, *shape), torch.tensor([label]), near, exact=True)


def _exact(layers: Layers, x: Tensor, label: int, norm: Norm) -> Tensor:
    """The distance (1,) of the nearest other class of a linear model inside the box."""
    weight, bias = layers[0][0].double(), layers[0][1].double()
    at = x.double()
    rest = [other for other in range(len(bias)) if other != label]
    slopes = weight[label] - weight[rest]
    lead = slopes @ at + bias[label] - bias[rest]
    below, above = at.expand_as(slopes), (1 - at).expand_as(slopes)
    moved = to_plane(slopes, lead, below, above, norm=norm)
    reached = (slopes * -moved).sum(1) >= lead * (1 - 1e-9)
    return torch.where(reached, vector_norm(moved, norm), torch.inf).min().reshape(1)


@cache
def relus(seed: int) -> tuple[Drawn, ...]:
    """Random networks with one hidden layer, two inputs each, and the nearest point that was found."""
    return tuple(_relu(_generator(seed, f"relu {size}"), size) for size in (2, 7, 40))


def _relu(drawn: Generator, size: int) -> Drawn:
    hidden = 8 + 2 * size
    while True:
        first = torch.randn(hidden, size, generator=drawn) / math.sqrt(size)
        start = -first @ torch.full((size,), 0.5) + 0.3 * torch.randn(hidden, generator=drawn)
        second = torch.randn(3, hidden, generator=drawn) / math.sqrt(hidden)
        layers = [(first, start), (second, torch.zeros(3))]
        pool = 0.15 + 0.7 * torch.rand(64, size, generator=drawn)
        subject = Watched(chain(layers), classes=3)
        with torch.no_grad():
            logits = subject(pool)
        lead = logits.topk(2, dim=1).values
        label = int(logits.argmax(1).bincount().argmax())
        close = (logits.argmax(1) == label).nonzero().squeeze(1)
        chosen = close[(lead[close, 0] - lead[close, 1]).argsort()][2:4]  # near a boundary, not on it
        if len(chosen) < 2:
            continue
        inputs, labels = pool[chosen], torch.full((2,), label)
        near = {norm: nearest_found(subject, inputs, labels, norm) for norm in NORMS}
        if all(bool(one.isfinite().all()) for one in near.values()):
            return Drawn(f"{size} coordinates, {hidden} ReLUs", layers, inputs, labels, near, exact=False)


def nearest_found(subject: Watched, inputs: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """The least settled distance (N,) found by linearising each margin again where its last one pointed."""
    best = torch.full((len(inputs),), torch.inf, dtype=torch.float64)
    below, above = inputs.double(), 1 - inputs.double()
    for target in range(subject.classes):
        points = inputs.clone()
        for _ in range(8):
            at = points.clone().requires_grad_()
            logits = subject(at)
            margin = logits.gather(1, labels[:, None]).squeeze(1) - logits[:, target]
            (slope,) = torch.autograd.grad(margin.sum(), at)
            back = (slope.double() * (inputs - points).double()).sum(1)
            wanted = (margin.detach().double() + back).clamp(min=0) * (1 + 1e-6) + 1e-9
            moved = to_plane(slope.double(), wanted, below, above, norm=norm)
            points = (inputs.double() + moved).clamp(0, 1).to(inputs.dtype)
            found = settle(subject, inputs, labels, points, norm=norm)
            best = torch.minimum(best, torch.where(found.ok, found.radius, torch.inf))
    return best


@cache
def ridges(seed: int, norm: Norm) -> tuple[Drawn, ...]:
    """Where only a proof is right: three ridges across the way, each with its verified distance."""
    found: list[Drawn] = []
    drawn = _generator(seed, f"ridge {norm}")
    while len(found) < 3:
        ridge = _ridge(drawn, (8, 20, 48)[len(found)], norm)
        if ridge is not None:
            found.append(ridge)
    return tuple(found)


def _ridge(drawn: Generator, size: int, norm: Norm) -> Drawn | None:
    x = 0.4 + 0.2 * torch.rand(size, generator=drawn)
    weight = torch.randn(size, generator=drawn)
    wide = min(0.1, float(0.4 * vector_norm(weight[None].double(), dual(norm)) / weight.abs().sum()) * 0.3)
    margin = wide * float(vector_norm(weight[None].double(), dual(norm)))
    across = torch.randn(size, generator=drawn)
    across /= float(vector_norm(across[None].double(), dual(norm)))
    far = 0.3 * wide
    width = NARROW * far
    level = float(across.double() @ x.double()) + far
    first = torch.cat([torch.eye(size), across.expand(3, size)])
    start = torch.cat([torch.zeros(size), -torch.tensor([level - width, level, level + width])])
    height = 4 * margin / width
    own = torch.cat([weight / 2, -height * torch.tensor([1.0, -2.0, 1.0])])
    offset = margin / 2 - float(weight.double() @ x.double()) / 2
    second = torch.stack([own, torch.cat([-weight / 2, torch.zeros(3)])])
    layers = [(first, start), (second, torch.tensor([offset, -offset]))]
    step = across.double()
    if norm == "linf":
        step = step.sign()
    elif norm == "l1":
        step = step.sign() * (step.abs() == step.abs().max())
    inputs, labels = x[None], torch.tensor([0])
    subject = Watched(chain(layers), classes=2)
    top = (x.double() + far * step / float((across.double() * step).sum())).float()[None]
    settled = settle(subject, inputs, labels, top, norm=norm)
    with torch.no_grad():
        right = int(subject(inputs).argmax()) == 0
    if not right or not bool(settled.ok[0]):
        return None
    near: dict[Norm, Tensor] = {norm: settled.radius}
    return Drawn(f"{size} coordinates and a ridge", layers, inputs, labels, near, exact=False)


@cache
def stored() -> tuple[Drawn, ...]:
    """Networks whose distances were solved: exact in l1 and linf, a verified point in l2."""
    table = json.loads((files("falsefloor.testing") / "nets.json").read_text(encoding="utf-8"))
    return tuple(_read(one) for one in table["nets"])


def _read(one: Mapping[str, Any]) -> Drawn:
    layers = [(torch.tensor(weight), torch.tensor(bias)) for weight, bias in one["layers"]]
    near = {norm: torch.tensor(one["near"][norm], dtype=torch.float64) for norm in NORMS}
    inputs, labels = torch.tensor(one["inputs"]), torch.tensor(one["labels"])
    return Drawn(f"{one['name']}, solved", layers, inputs, labels, near, exact=True)


def _generator(seed: int, what: str) -> Generator:
    import hashlib

    mixed = hashlib.sha256(f"{seed} {what}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(mixed[:8], "big") >> 1)


def told(problems: Sequence[Drawn]) -> str:
    """What was tried, in words."""
    return "; ".join(dict.fromkeys(problem.name for problem in problems))
