"""FF201 to FF205: a point, a pair, a certificate's defect and a planted trap against a claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from draw import BLUE, GREEN, RED, ZERO, figure, line
from torch import Tensor, nn

from cases.case import (
    ATTACK,
    Case,
    array,
    digit,
    facts_of,
    margin,
    masked,
    network,
    raised,
    ray,
    record_of,
    study,
)
from cases.gradient import SCORE, STAIRS, tour
from falsefloor.api import Record
from falsefloor.checks.contradiction import check
from falsefloor.engine.context import generators
from falsefloor.plugins.loading import make
from falsefloor.report.figure import Level
from falsefloor.subjects.subject import ModelSubject
from falsefloor.subjects.trap import plant


def floor_above_ceiling() -> Case:
    x, y = digit(0)
    record = record_of(tour(), "clever", masker=STAIRS)
    finding = raised("FF201", record)
    claim, found = float(record["radius"]), float(finding["evidence"]["distance"])
    witness = array(tour(), finding["witness"]["array"])
    shares = torch.linspace(0.0, 1.1 * claim / found, 300)
    values = margin(masked(network(), "staircase", c=255), ray(x, witness, shares=shares), y)

    shown = figure(
        "distance from the input, on the way through the witness (linf)",
        "margin",
        line("the margin", shares * found, values, "blue"),
        ZERO,
        Level(f"witness: {found:.3f}", found, "bound", upright=True),
        Level(f"claim: {claim:.3g}", claim, "gradient", upright=True),
    )

    return Case(
        alt="The margin along a ray changes sign at the witness, far inside the claimed radius",
        caption=(
            f"digits:mlp behind {STAIRS}, input digits:0, seed 0. {SCORE} claims {claim:.3g}; the attack's"
            f" witness, at {found:.4f}, is another class already, {claim / found:.2f} times nearer."
        ),
        shown=shown,
    )


def secant_beats_constant() -> Case:
    x, y = digit(6)
    few = "clever:radius=0.1,batches=1,samples=1,directed=false,fit=max,box=false"
    results = study(network("mlp-tanh"), x, y, estimators=[few])
    record = record_of(results, "clever")
    finding = raised("FF202", record)
    constant, slope = (float(finding["evidence"][name]) for name in ("lipschitz", "slope"))
    pair = array(results, finding["witness"]["array"])
    target = int(record["evidence"]["target"])
    reach = float((pair[1] - pair[0]).abs().max())
    shares = torch.linspace(0.0, 1.0, 100)
    values = margin(network("mlp-tanh"), ray(x, pair[1], shares=shares), y, target=target)
    start = float(values[0])

    distance = shares * reach
    shown = figure(
        "distance from the input (linf)",
        f"margin to class {target}",
        line("constant: no steeper", distance, start - constant * distance, "gradient"),
        line("the margin", distance, values, "blue"),
        line("the pair", [0.0, reach], [start, float(values[-1])], "quiet", "circle"),
    )

    return Case(
        alt="The margin falls below the line that the constant allows",
        caption=(
            "digits:mlp-tanh, unmasked, input digits:6, seed 0. One sampled gradient"
            f" ({few}) gives a constant of {constant:.0f}; between the input and a point {reach:.3g} away the"
            f" margin falls with a slope of {slope:.0f}, below the dashed line that the constant allows."
        ),
        shown=shown,
    )


class Disc(nn.Module):
    """Two classes in the unit square: inside a disc, and outside."""

    def __init__(self, centre: tuple[float, float], radius: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor(centre))
        self.radius = radius

    def forward(self, inputs: Tensor) -> Tensor:
        inside = self.radius - (inputs - self.centre).square().sum(1).sqrt()
        return torch.stack([inside, torch.zeros_like(inside)], 1) * 10.0


def counterexample_inside() -> Case:
    x = torch.tensor([[0.55, 0.45]])
    disc = Disc((0.45, 0.5), 0.33)
    results = study(disc, x, norm="l2", maskers=["staircase:c=24"], estimators=["clever:radius=0.35"])
    record = record_of(results, "clever")
    finding = raised("FF203", record)
    claim, seen = float(record["radius"]), float(finding["evidence"]["distance"])
    point = array(results, finding["witness"]["array"])
    line = (torch.arange(240) + 0.5) / 240
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        first = masked(disc, "staircase", c=24)(grid).argmax(1).reshape(240, 240).T == 0

    def draw(figure: Any) -> None:
        from matplotlib.patches import Circle, Polygon

        axes = figure.add_subplot()
        axes.contourf(line, line, first.double(), levels=[0.5, 1.5], colors=["#d7e3f1"])
        axes.add_patch(Circle(tuple(x[0].tolist()), claim, fill=False, color=RED, linestyle="--"))
        axes.add_patch(Polygon([x[0].tolist(), point.tolist()], closed=False, color=GREEN, linewidth=1.0))
        axes.plot(*x[0].tolist(), "o", color=BLUE)
        axes.plot(*point.tolist(), "X", color=GREEN, markersize=7)
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.0)
        axes.set_aspect("equal", anchor="W")
        axes.set_xticks([0.0, 0.5, 1.0])
        axes.set_yticks([0.0, 0.5, 1.0])
        words = (
            (0.85, BLUE, "● the input; shaded: its class"),
            (0.65, RED, f"- - claimed free of others: {claim:.3g}"),
            (0.45, GREEN, f"✕ seen while observing: {seen:.3f}"),
        )
        for height, colour, text in words:
            axes.text(1.1, height, text, color=colour)

    return Case(
        alt="A disc with a stepped edge, the claimed circle beyond it, and a point of the other class",
        caption=(
            "Two classes in the unit square, inside and outside of a disc, behind staircase:c=24; input"
            f" (0.55, 0.45), l2, seed 0. clever:radius=0.35 claims {claim:.3g}; no attack ran, but the"
            f" observation met a point of the other class at {seen:.4f}."
        ),
        shown=draw,
    )


def sandwich_broken() -> Case:
    numbers = list(range(8))
    images, labels = (torch.cat(part) for part in zip(*map(digit, numbers), strict=True))
    results = study(network("mlp-tanh"), images, labels, estimators=[ATTACK])
    bounds = [_wrong_certificate(images[n : n + 1], int(labels[n])) for n in numbers]
    ceilings = [float(record_of(results, "attack", number=n)["radius"]) for n in numbers]
    for n in numbers:
        judged = Record("linearised", "lower_bound", "autograd", bounds[n])
        found = check.rules["FF204"](facts_of(results, judged, number=n))
        if bool(found) != (bounds[n] > ceilings[n] * (1 + 1e-6)):
            raise LookupError(f"FF204 and the two distances of digits:{n} disagree")
    broken = [n for n in numbers if bounds[n] > ceilings[n]]
    if not broken:
        raise LookupError("FF204 is not raised: the wrong certificate was right everywhere")

    shown = figure(
        "input digits:n",
        "distance (linf)",
        line("attack's ceiling", numbers, ceilings, "green", "square", joined=False),
        line("wrong certificate", numbers, bounds, "blue", "circle", joined=False),
        line("above the ceiling", broken, [bounds[n] for n in broken], "red", "cross", joined=False),
    )

    worst = max(broken, key=lambda n: bounds[n] / ceilings[n])
    return Case(
        alt="Certificates and ceilings of eight inputs; some certificates lie above their ceilings",
        caption=(
            "digits:mlp-tanh, unmasked, seed 0. The certificate was made wrong for this picture: it takes the"
            f" network for linear. On {len(broken)} of {len(numbers)} inputs it lies above a verified"
            f" adversarial input, on digits:{worst} {bounds[worst]:.4f} above {ceilings[worst]:.4f}."
        ),
        shown=shown,
    )


def _wrong_certificate(x: Tensor, label: int) -> float:
    """The distance that a linear network would have: gradients at the input alone, called certified."""
    rows = torch.autograd.functional.jacobian(lambda point: network("mlp-tanh")(point)[0], x).flatten(1)
    with torch.no_grad():
        logits = network("mlp-tanh")(x)[0]
    distances = (logits[label] - logits) / (rows[label] - rows).abs().sum(1)
    return min(float(d) for target, d in enumerate(distances) if target != label)


def trap_missed() -> Case:
    x, y = digit(0)
    results = study(network(), x, y, maskers=[STAIRS], estimators=[SCORE], trap=True)
    finding = raised("FF205", record_of(results, "clever"))
    planted, claim = (float(finding["evidence"][name]) for name in ("planted", "claimed"))
    stack = [(make("masker", "staircase", {"c": 255}), "input")]
    subject = ModelSubject(masked(network(), "staircase", c=255), classes=10)
    (drawn,) = generators(x, seed=0, norm="trap linf")
    trap = plant(network(), stack, subject, x, y, norm="linf", generator=drawn)
    if trap is None or abs(trap.distance - planted) > 1e-9:
        raise LookupError("the trap drawn is not the one that FF205 speaks of")
    shares = torch.linspace(0.0, 1.1 * claim / planted, 300)
    points = ray(x, trap.point, shares=shares)
    with_trap, without = (margin(model, points, y) for model in (trap.subject, subject))

    shown = figure(
        "distance from the input (linf)",
        "margin",
        line("the model", shares * planted, without, "interval"),
        line("with a slope planted behind the staircase", shares * planted, with_trap, "blue"),
        ZERO,
        Level(f"planted: {planted:.4f}", planted, "bound", upright=True),
        Level(f"claim: {claim:.3g}", claim, "gradient", upright=True),
    )

    return Case(
        alt="The planted margin crosses zero early; the same estimator claims a much larger distance",
        caption=(
            f"digits:mlp behind {STAIRS}, input digits:0, seed 0, --trap. A slope planted behind the"
            f" staircase changes the class at {planted:.4f}; asked of that planted model, {SCORE} claims"
            f" {claim:.3g}."
        ),
        shown=shown,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "FF201": floor_above_ceiling,
    "FF202": secant_beats_constant,
    "FF203": counterexample_inside,
    "FF204": sandwich_broken,
    "FF205": trap_missed,
}
