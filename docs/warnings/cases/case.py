"""What a case is: a code that was really raised, a caption with the measured numbers, and how to draw it.

The models are the embedded digits networks, or a few lines beside the case. Everything is measured through
falsefloor itself; a case whose warning is not raised stops the script.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from draw import Shown
from torch import Tensor, nn

import falsefloor
from falsefloor.api import Facts, Record
from falsefloor.engine.context import generators
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.numerics.balls import sample
from falsefloor.numerics.margins import margins
from falsefloor.plugins.loading import make
from falsefloor.report.detail import Detail, detail_of
from falsefloor.report.results import Results
from falsefloor.subjects.compose import compose
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.subject import ModelSubject

ATTACK = "attack:steps=8,restarts=1,rounds=1"
"""Enough for a digit: on digits:0-7, clean and behind a staircase, within 0.2 % of the default's ceiling, in
under two fifths of its time."""


@dataclass(frozen=True)
class Case:
    """alt: what it shows, for who cannot see it; caption: model, masker, input, seed and figures."""

    alt: str
    caption: str
    shown: Shown


def digit(number: int) -> tuple[Tensor, Tensor]:
    """The held-out image (1, 1, 8, 8) and its label (1,)."""
    images, labels = load_split(held_out=True)
    return images[number : number + 1], labels[number : number + 1]


@functools.cache
def network(name: str = "mlp") -> nn.Module:
    """An embedded digits model."""
    return DigitsModel()(name).module


def masked(model: nn.Module, use: str, *, at: str = "input", **options: float | str) -> nn.Module:
    """The model behind one masker, as a study composes it."""
    return compose(model, [(make("masker", use, options), at)])


def study(model: nn.Module, x: Tensor, y: Tensor | None = None, **options: Any) -> Results:
    """`falsefloor.evaluate`, quiet: linf and seed 0, nothing recovered, no ceiling unless asked for."""
    quiet: dict[str, Any] = {"recover": "off", "ceiling": False, "progress": False, "device": "cpu"}
    return falsefloor.evaluate(model, x, y, **(quiet | options))


def record_of(
    results: Results, estimator: str, *, masker: str | None = None, number: int = 0
) -> dict[str, Any]:
    """The one estimate of a study by that estimator (masker, input)."""
    for record in results:
        asked = record["estimator"] == estimator and record["input"] == number
        if asked and masker in (None, record["masker"]):
            return record
    raise LookupError(f"no estimate by {estimator} of input {number} behind {masker}")


def raised(code: str, record: dict[str, Any]) -> dict[str, Any]:
    """The warning of that code on a record. Raises `LookupError` where there is none: no picture then."""
    for warning in record["warnings"]:
        if warning["code"] == code:
            return dict(warning)
    codes = [warning["code"] for warning in record["warnings"]]
    raise LookupError(f"{code} is not raised by {record['estimator']}: its warnings are {codes}")


def array(results: Results, name: str) -> Tensor:
    """A stored array as a tensor."""
    return torch.from_numpy(results.array(name).copy())


def curve(results: Results, record: dict[str, Any], name: str) -> list[float]:
    """A stored curve without its padding."""
    values = array(results, f"{record['arrays']}/curve-{name}").tolist()
    return [value for value in values if value == value]


def detail(results: Results, record: dict[str, Any]) -> Detail:
    """All that the run stored around a record: what the figures of a report are made from."""
    with results.reader() as reader:
        return detail_of(reader, record)


def facts_of(results: Results, judged: Record, *, number: int = 0) -> Facts:
    """Real facts around a record that no study made: the others and the observation of one input."""
    others = [
        Record(
            estimator=one["name"],
            claim=one["claim"],
            gradient=one["gradient"],
            radius=float(one["radius"]),
            evidence=one["evidence"],
            witness=one["witness"],
        )
        for one in results
        if one["input"] == number
    ]
    return Facts("linf", judged, others, results.observations[number]["facts"])


def margin(model: nn.Module, points: Tensor, label: Tensor, *, target: int | None = None) -> Tensor:
    """(N,) float64: the label's lead over the target, or over the best of the others."""
    with torch.no_grad():
        logits = model(points).double()
    table = margins(logits, label.expand(len(points)))
    return table.amin(1) if target is None else table[:, target]


def ray(x: Tensor, end: Tensor, *, shares: Tensor) -> Tensor:
    """Points (S, *input) on the way from x (1, *input) through ``end`` (*input), inside the unit box."""
    way = (end - x[0]).unsqueeze(0)
    return (x + shares.reshape(-1, *([1] * (x.ndim - 1))).to(x) * way).clamp(0.0, 1.0)


def gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, radius: float, count: int, norm: str = "linf"
) -> tuple[Tensor, Tensor]:
    """(T, count, d) margin gradients of every other class at points of the ball, and the classes (T,).

    Targets by their margin at x, smallest first.
    """
    with torch.no_grad():
        logits = model(x)
    subject = ModelSubject(model, classes=logits.shape[1])
    site = Site(subject, x, y, logits, norm, generators(x, seed=0, norm=norm), 4096)
    lo, hi = subject.bounds
    drawn = generators(x, seed=0, norm=norm)
    points = sample(x, norm=norm, radius=torch.tensor([radius]), count=count, generators=drawn, lo=lo, hi=hi)
    targets = site.targets[0]
    rows = [site.slopes(points, against=target.expand(1, count)).flatten(2)[0] for target in targets]
    return torch.stack(rows), targets
