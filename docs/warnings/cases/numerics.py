"""FF401 to FF403: the floating-point format, saturated outputs, and logits that are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from draw import BLUE, GREY, RED, ZERO, figure, line
from torch import Tensor, nn

from cases.case import Case, array, digit, margin, masked, network, raised, ray, record_of, study
from cases.gradient import STAIRS, tour
from falsefloor.report.figure import Level


class Lifted(nn.Module):
    """Logits with a large number added to all of them: the margin is what cancelling leaves of it."""

    def __init__(self, body: nn.Module, by: float) -> None:
        super().__init__()
        self.body, self.by = body, by

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.body(inputs) + self.by
        return logits


def precision() -> Case:
    x, y = digit(0)
    by = 2.0**24
    model = Lifted(network(), by)
    results = study(model, x, y, estimators=["clever:radius=0.05"])
    shift = float(raised("FF401", record_of(results, "clever"))["evidence"]["margin_shift"])
    end = array(tour(), record_of(tour(), "attack", masker="none")["witness"])
    reach = float((end - x[0]).abs().max())
    shares = torch.linspace(0.0, 1.3, 260)
    points = ray(x, end, shares=shares)
    single = margin(model, points, y)
    body = network().double()
    try:
        double = margin(Lifted(body, by), points.double(), y)
    finally:
        body.float()

    shown = figure(
        "distance from the input, on the way through an adversarial point (linf)",
        "margin",
        line("float64", shares * reach, double, "blue"),
        line("float32", shares * reach, single, "red"),
        ZERO,
    )

    return Case(
        alt="In float32 the margin falls in whole steps, in float64 smoothly",
        caption=(
            "digits:mlp with 2²⁴ added to every logit, which changes nothing in exact arithmetic; input"
            f" digits:0, seed 0. In float32 the logits keep whole numbers at best: the margin at the input is"
            f" {float(single[0]):.4g} there and {float(double[0]):.4g} in float64, another by {shift:.1%}."
        ),
        shown=shown,
    )


def saturated() -> Case:
    x, y = digit(0)
    use = "sigmoid:gain=2,at=logits"
    record = record_of(study(network(), x, y, maskers=[use], estimators=["clever:radius=0.1"]), "clever")
    share = float(raised("FF402", record)["evidence"]["saturated"])
    with torch.no_grad():
        logits = network()(x)[0]
        outputs = masked(network(), "sigmoid", at="logits", gain=2.0)(x)[0]
    stuck = [k for k in range(10) if float(outputs[k]) in (0.0, 1.0)]

    def draw(figure: Any) -> None:
        for place, (values, title) in enumerate(
            (
                (logits.tolist(), "logits"),
                (outputs.tolist(), "outputs behind the sigmoid"),
            )
        ):
            axes = figure.add_subplot(1, 2, place + 1)
            colours = [RED if place and k in stuck else BLUE for k in range(10)]
            shown = axes.bar(range(10), values, color=colours, width=0.7)
            if place:
                for k in stuck:
                    shown[k].set_hatch("///")
                axes.set_ylim(0.0, 1.25)
                axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
                axes.text(0.0, 1.08, f"hatched: exactly 1 ({len(stuck)} of 10)", color=RED)
            axes.set_xticks(range(10))
            axes.set_xlabel("class")
            axes.set_title(title)

    return Case(
        alt="Ten logits of different heights, and the outputs after a sigmoid, the largest exactly 1",
        caption=(
            f"digits:mlp behind {use}, input digits:0, seed 0. The largest logit, {float(logits.max()):.1f},"
            f" becomes {float(outputs.max()):.9g}; around the input {share:.0%} of the points observed have"
            " the same largest output to the last bit."
        ),
        shown=draw,
    )


class NaiveSoftmax(nn.Module):
    """log(exp(z) / Σ exp(z)) in half precision, without taking the maximum off first."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: Tensor) -> Tensor:
        powers = self.body(inputs).half().exp()
        return (powers / powers.sum(1, keepdim=True) + 1e-7).log().to(inputs.dtype)


def non_finite() -> Case:
    number = next(n for n in range(100) if 10.5 < float(network()(digit(n)[0]).max().detach()) < 11.0)
    x, y = digit(number)
    model = masked(NaiveSoftmax(network()), "staircase", c=255)
    results = study(NaiveSoftmax(network()), x, y, maskers=[STAIRS], estimators=["clever:radius=0.2"])
    record = record_of(results, "clever")
    finding = raised("FF403", record)
    if finding["severity"] != "refuted":
        raise LookupError(f"FF403 is only {finding['severity']} here")
    point = array(results, finding["witness"]["array"])
    distance, claim = float(finding["evidence"]["distance"]), float(record["radius"])
    shares = torch.linspace(0.0, 1.3 * claim / distance, 240)
    points = ray(x, point, shares=shares)
    with torch.no_grad():
        power = masked(network(), "staircase", c=255)(points)[:, int(y)].half().exp().float()
        answer = model(points)[:, int(y)]
    lost = ~answer.isfinite()
    first = float(shares[lost][0]) * distance

    shown = figure(
        "distance from the input (linf)",
        "exp of the label's logit, float16",
        line("the power", shares * distance, power.masked_fill(lost, torch.nan), "blue"),
        Level("the largest float16: 65,504", 65504.0, "interval"),
        Level("from here on the logits are NaN", first, "bound", upright=True),
        Level(f"claim: {claim:.3g}", claim, "gradient", upright=True),
    )

    return Case(
        alt="The exponential of a logit grows to the largest half-precision number, then the answer is NaN",
        caption=(
            f"digits:mlp with a softmax in float16 that does not take the maximum off, behind {STAIRS}, input"
            f" digits:{number}, seed 0. The claim of clever:radius=0.2 is {claim:.3g}; at {distance:.3g} the"
            " exponential overflows and every logit is NaN."
        ),
        shown=shown,
    )


CASES: Mapping[str, Callable[[], Case]] = {"FF401": precision, "FF402": saturated, "FF403": non_finite}
