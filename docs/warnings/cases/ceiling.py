"""FF501 to FF505: searches that find nothing, in the wrong order, too early or loose, or that do not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from draw import BLUE, GREY, RED, ZERO, bars, figure, line, steps
from torch import Tensor, nn

from cases.case import ATTACK, Case, curve, digit, margin, network, raised, ray, record_of, study
from cases.gradient import STAIRS, tour
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.numerics.balls import directions
from falsefloor.report.figure import Level
from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import ModelSubject


class Constant(nn.Module):
    """Prefers its first class by one, whatever it sees."""

    def forward(self, inputs: Tensor) -> Tensor:
        first = inputs.flatten(1).sum(1) * 0.0 + 1.0
        return torch.stack([first, first * 0.0], 1)


def found_nothing() -> Case:
    x, _ = digit(0)
    label = torch.tensor([0])
    record = record_of(study(Constant(), x, label, estimators=[ATTACK]), "attack")
    raised("FF501", record)
    drawn = generators(x, seed=0, norm="linf")[0]
    ways = directions((1, 8, 8), norm="linf", count=120, generator=drawn)
    reach = torch.linspace(0.0, 1.0, 120)
    points = (x + reach.reshape(-1, 1, 1, 1) * ways).clamp(0.0, 1.0)
    away = (points - x).flatten(1).abs().amax(1)
    constant, usual = margin(Constant(), points, label), margin(network(), points, digit(0)[1])

    shown = figure(
        "distance of a random point from the input (linf)",
        "margin",
        line("digits:mlp, to compare", away, usual, "quiet", "cross", joined=False),
        line("the constant model", away, constant, "blue", "circle", joined=False),
        ZERO,
    )

    queries = sum(record["queries"].values())
    return Case(
        alt="At random points the constant model's margin is one; the digits model's falls below 0",
        caption=(
            "A model whose two logits are 1 and 0 everywhere, input digits:0, seed 0. After"
            f" {queries:,} queries the attack's ceiling is {record['radius']}. Here there is nothing to find;"
            " with a hidden gradient or a small budget the warning is the same."
        ),
        shown=shown,
    )


SOURCES = {
    "radius_autograd": "autograd",
    "radius_straight_through": "straight-through",
    "radius_secant": "secants",
    "radius_search": "search by class alone",
}


def wrong_order() -> Case:
    evidence = raised("FF502", record_of(tour(), "clever", masker=STAIRS))["evidence"]
    attack = record_of(tour(), "attack", masker=STAIRS)
    reached = [float(attack["evidence"][name]) for name in SOURCES]
    if float(evidence["whitebox"]) != reached[0]:
        raise LookupError("FF502 speaks of another attack than the one shown")

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        shown = bars(axes, list(SOURCES.values()), reached, colours=[RED, GREY, BLUE, BLUE], form=".4f")
        shown[0].set_hatch("///")
        axes.set_xlim(0.0, 1.15 * max(reached))
        axes.set_xlabel("distance of the nearest adversarial input found (linf)")

    return Case(
        alt="Four bars: autograd finds the farthest point, searches without gradients nearer ones",
        caption=(
            f"digits:mlp behind {STAIRS}, input digits:0, seed 0, {ATTACK}. Following autograd the nearest"
            f" adversarial input is {evidence['whitebox']:.4f} away, without gradients"
            f" {evidence['blackbox']:.4f}."
        ),
        shown=draw,
    )


def not_converged() -> Case:
    x, y = digit(0)
    masker, short = "sigmoid-staircase:c=4,gain=4000", "attack:steps=4,restarts=1,rounds=0"
    results = study(network("mlp-adv"), x, y, norm="l2", maskers=[masker], estimators=[short])
    record = record_of(results, "attack")
    gain = float(raised("FF503", record)["evidence"]["last_tenth_gain"])
    path = curve(results, record, "radius")
    share = [k / (len(path) - 1) for k in range(len(path))]
    late = [distance for at, distance in zip(share, path, strict=True) if at > 0.3]

    shown = figure(
        "share of the attack's steps that are done",
        "best distance so far (l2)",
        steps("four steps a start", share[-len(late) :], late, "red"),
        Level("the last tenth begins", 0.9, "interval", upright=True),
    )

    return Case(
        alt="The best distance of a short attack still falls in the last tenth of its steps",
        caption=(
            f"digits:mlp-adv behind {masker}, input digits:0, l2, seed 0, {short}. The last tenth of the"
            f" steps still improved the distance by {gain:.1%}, to {path[-1]:.3f}; what refines the point"
            f" afterwards brought it to {float(record['radius']):.3f}."
        ),
        shown=shown,
    )


class Contrast(nn.Module):
    """Adds to each input its difference from the batch's mean: an answer that depends on the company."""

    def __init__(self, body: nn.Module, share: float) -> None:
        super().__init__()
        self.body, self.share = body, share

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(inputs + self.share * (inputs - inputs.mean(0)))
        return logits


def unstable_witness() -> Case:
    chosen = 1
    batch, labels = (torch.cat(part) for part in zip(*map(digit, (7, 0, 1, 2)), strict=True))
    model = Contrast(network(), 0.5)
    raised("FF504", record_of(study(model, batch, labels, estimators=[ATTACK]), "attack", number=chosen))
    subject = ModelSubject(model, classes=10)
    attack = Attack(steps=8, restarts=1, rounds=1)  # what ATTACK says
    context = RunContext(generators(batch, seed=0, norm="linf"))
    found = attack(subject, batch, labels, norm="linf", context=context)
    settled = settle(subject, batch, labels, found.witness, norm="linf")
    if bool(settled.ok[chosen]):
        raise LookupError("the adversarial input shown did settle")
    reach = float(found.radius[chosen])
    shares = torch.linspace(0.0, 1.4, 120)
    mine = labels[chosen : chosen + 1]
    points = ray(batch[chosen : chosen + 1], found.witness[chosen], shares=shares)
    together, alone = [], []
    for point in points:
        company = found.witness.clone()
        company[chosen] = point
        together.append(float(margin(model, company, mine)[chosen]))
        alone.append(float(margin(model, point[None], mine)))

    shown = figure(
        "distance from the input, on the way through the returned point (linf)",
        "margin",
        line("evaluated alone", shares * reach, alone, "gradient"),
        line("in a batch of four", shares * reach, together, "blue"),
        ZERO,
        Level(f"returned: {reach:.4f}", reach, "bound", upright=True),
    )

    at = min(range(len(shares)), key=lambda k: abs(float(shares[k]) - 1.0))
    return Case(
        alt="At the returned point the margin in the batch is below zero, alone it is well above",
        caption=(
            "digits:mlp that adds to each input half its difference from the batch's mean, inputs"
            f" digits:7,0,1,2, seed 0, {ATTACK}. For digits:0 it returned a point {reach:.4f} away: with the"
            f" other three its margin is {together[at]:.2f}, alone {alone[at]:.2f}, so it is not used."
        ),
        shown=shown,
    )


def loose() -> Case:
    x, y = digit(5)
    masker, floor = "sigmoid-staircase:c=12,gain=12", "finite-difference"
    results = study(network(), x, y, norm="l2", maskers=[masker], estimators=[floor, "attack"])
    record, claim = record_of(results, "attack"), record_of(results, floor)
    evidence = raised("FF505", record)["evidence"]
    reached = [float(record["radius"]), float(claim["radius"]), float(evidence["distance"])]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        names = ["the attack's upper bound", "what finite differences claim", "nearest known point"]
        shown = bars(axes, names, reached, colours=[RED, GREY, BLUE], form=".4f")
        shown[0].set_hatch("///")
        axes.set_xlim(0.9 * min(reached), 1.02 * max(reached))
        axes.set_xlabel("distance (l2)")

    return Case(
        alt="Three bars: the attack's upper bound, a floor below it, and a known point nearer than both",
        caption=(
            f"digits:mlp behind {masker}, input digits:5, l2, seed 0. The attack stopped at {reached[0]:.4f}"
            f" and finite differences claim {reached[1]:.4f}, so near below it that the attack was asked"
            f" again from there: it met a verified adversarial input at {reached[2]:.4f}."
        ),
        shown=draw,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "FF501": found_nothing,
    "FF502": wrong_order,
    "FF503": not_converged,
    "FF504": unstable_witness,
    "FF505": loose,
}
