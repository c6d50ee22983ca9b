"""FF101 to FF105: gradients that vanish, mislead, are not there, spike, or answers that change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from draw import BLUE, RED, ZERO, figure, line
from torch import Tensor, nn

from cases.case import (
    ATTACK,
    Case,
    array,
    detail,
    digit,
    gradients,
    margin,
    masked,
    network,
    raised,
    ray,
    record_of,
    study,
)
from falsefloor.engine.context import generators
from falsefloor.report.figure import Level, spectrum
from falsefloor.report.results import Results
from falsefloor.subjects.observe.agreement import STEPS, scale_agreement
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.subject import ModelSubject

SCORE = "clever:radius=0.3"
STAIRS, RAMP = "staircase:c=255", "ramp:delta=0.01"


@functools.cache
def tour() -> Results:
    """One digit behind nothing, a staircase and a ramp; several families look at it."""
    x, y = digit(0)
    asked = [SCORE, "finite-difference", ATTACK]
    return study(network(), x, y, maskers=["none", STAIRS, RAMP], estimators=asked)


def vanished() -> Case:
    record = record_of(tour(), "clever", masker=STAIRS)
    share = float(raised("FF101", record)["evidence"]["vanished_share"])
    own = record_of(tour(), "finite-difference", masker=STAIRS)
    shown = spectrum(detail(tour(), record))
    said = float(record["evidence"]["gradient_norm_max"])

    plateau = float(own["evidence"]["plateau_slope"])
    return Case(
        alt="Slopes by step width: differences rise from zero to a plateau, autograd stays at zero",
        caption=(
            f"digits:mlp behind {STAIRS}, input digits:0, seed 0. Over coarse steps the function has a"
            f" slope of {plateau:.0f}; on {share:.0%} of {SCORE}'s samples autograd says"
            f" {said:.3g}, so the score is the sampling radius, {record['radius']:.3g}."
        ),
        shown=shown,
    )


def scales_disagree() -> Case:
    x, y = digit(0)
    use, options = "ramp", {"c": 255, "delta": 0.2}
    results = study(network(), x, y, maskers=["ramp:c=255,delta=0.2"], estimators=["clever:radius=0.1"])
    raised("FF102", record_of(results, "clever"))
    subject = ModelSubject(masked(network(), use, **options), classes=10)
    with torch.no_grad():
        logits = subject(x)
    site = Site(subject, x, y, logits, "linf", generators(x, seed=0, norm="observe linf"), 4096)
    seen = scale_agreement(site, torch.tensor([0.1]), sources={"autograd": subject})
    said, did, step = _pairs(site, seen.points)
    ratio, correlation = _agreement(seen.facts[0]["autograd"]["steps"])

    reach = 1.08 * float(torch.cat([said, did]).abs().max())
    shown = figure(
        "change of the margin between two points",
        "change the gradient predicts",
        line("as it should be", [-reach, reach], [-reach, reach], "interval"),
        line(f"{len(did)} pairs, {2 * step:.2g} apart", did, said, "red", "cross", joined=False),
    )

    return Case(
        alt="Predicted against real changes of the margin: a cloud that leaves the diagonal",
        caption=(
            "digits:mlp behind ramp:c=255,delta=0.2, input digits:0, seed 0: pairs of points within 0.1. On a"
            " ramp the gradient is five times too steep, elsewhere it is zero: what it predicts is"
            f" {ratio:.2f} times what happens, with a correlation of {correlation:.2f}; the limits are 0.75"
            " to 1.33 and 0.9."
        ),
        shown=shown,
    )


def _pairs(site: Site, points: Tensor) -> tuple[Tensor, Tensor, float]:
    """Predicted and real changes over the pairs of the widest half step that is a tenth of the radius."""
    total, first = sum(STEPS.values()), STEPS[0.01]
    chosen = slice(first, first + STEPS[0.1])
    above, below, middle = (points[:, k * total : (k + 1) * total][:, chosen] for k in range(3))
    runner = site.runner_up[:, None].expand(-1, above.shape[1])
    slope = site.slopes(middle, against=runner).double().flatten(2)
    said = (slope * (above - below).double().flatten(2)).sum(2)[0]
    at = [site.of_runner_up(site.guard(ends))[0] for ends in (above, below)]
    return said, at[0] - at[1], 0.1 * 0.1


def _agreement(steps: list[dict[str, float]]) -> tuple[float, float]:
    row = next(row for row in steps if row["h"] == 0.1)
    return row["ratio"], row["correlation"]


def graph_cut() -> Case:
    x, y = digit(3)
    results = study(network(), x, y, maskers=["dtype:to=uint8"], estimators=["clever:radius=0.1"])
    finding = raised("FF103", record_of(results, "clever"))
    pair = array(results, finding["witness"]["array"])
    model = masked(network(), "dtype", to="uint8")
    distance = float((pair[1] - pair[0]).abs().max())
    shares = torch.linspace(0.0, 12.0, 240)
    values = margin(model, ray(x, pair[1], shares=shares), y)
    ends = margin(model, pair, y)

    shown = figure(
        "distance from the input, along the pair",
        "margin",
        line("the margin", shares * distance, values, "blue"),
        line("the pair that the warning names", [0.0, distance], ends, "blue", "circle", joined=False),
        Level("no gradient path: no change", float(ends[0]), "gradient"),
    )

    return Case(
        alt="The margin falls in steps along a ray, where the missing gradient says that it stays",
        caption=(
            "digits:mlp behind dtype:to=uint8, input digits:3, seed 0. The cast to whole numbers ends the"
            f" graph, yet the margin is {ends[0]:.2f} at the input and {ends[1]:.2f} at a point"
            f" {distance:.2g} away."
        ),
        shown=shown,
    )


def spiky() -> Case:
    record = record_of(tour(), "clever", masker=RAMP)
    evidence = raised("FF104", record)["evidence"]
    x, y = digit(0)
    norms = {}
    for name, model in {"no masker": network(), RAMP: masked(network(), "ramp", c=255, delta=0.01)}.items():
        norms[name] = gradients(model, x, y, radius=0.3, count=1000)[0][0].abs().sum(1)
    top = float(max(values.max() for values in norms.values()))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        edges = torch.linspace(0.0, top, 60).tolist()
        axes.hist(norms[RAMP], bins=edges, color=RED, alpha=0.45, label=RAMP)
        axes.hist(
            norms["no masker"], bins=edges, color=BLUE, histtype="step", hatch="////", label="no masker"
        )
        axes.set_yscale("log")
        axes.set_xlabel("ℓ1 norm of the margin's gradient")
        axes.set_ylabel("samples of 1,000")
        axes.legend()

    zero = float((norms[RAMP] == 0).double().mean())
    return Case(
        alt="Gradient norms: one narrow peak without a masker, a spread from zero to large behind the ramp",
        caption=(
            f"digits:mlp, input digits:0, seed 0, 1,000 points within 0.3. Behind {RAMP} {zero:.0%} of the"
            f" gradients are exactly zero and the largest is {float(norms[RAMP].max()):.0f}; unmasked all lie"
            f" between {float(norms['no masker'].min()):.0f} and {float(norms['no masker'].max()):.0f}."
            f" {SCORE} itself met a largest of {evidence['largest']:.0f} over a median of"
            f" {evidence['median']:.3g}."
        ),
        shown=draw,
    )


class Noisy(nn.Module):
    """A randomised defence: noise on every input, drawn anew at every call."""

    def __init__(self, body: nn.Module, spread: float) -> None:
        super().__init__()
        self.body, self.spread = body, spread

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(inputs + self.spread * torch.randn_like(inputs))
        return logits


def non_deterministic() -> Case:
    torch.manual_seed(0)
    x, y = digit(7)
    model = Noisy(network(), 0.2)
    finding = raised("FF105", record_of(study(model, x, y, estimators=["clever:radius=0.1"]), "clever"))
    values = torch.cat([margin(model, x, y) for _ in range(30)])

    calls = range(1, len(values) + 1)
    shown = figure(
        "call, always with the same input",
        "margin",
        line("with noise of 0.2 on every input", calls, values, "red", "circle", joined=False),
        Level("the same model without noise", float(margin(network(), x, y)), "function"),
        ZERO,
    )

    return Case(
        alt="The margin of one input at thirty calls: thirty different values",
        caption=(
            "digits:mlp with Gaussian noise of standard deviation 0.2 added in its forward, input digits:7,"
            f" torch seed 0. Thirty calls give margins from {float(values.min()):.2f} to"
            f" {float(values.max()):.2f}; between the check's own repeats the logits moved by"
            f" {finding['evidence']['repeat_shift']:.2g}, relative, where 0 is asked of a CPU."
        ),
        shown=shown,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "FF101": vanished,
    "FF102": scales_disagree,
    "FF103": graph_cut,
    "FF104": spiky,
    "FF105": non_deterministic,
}
