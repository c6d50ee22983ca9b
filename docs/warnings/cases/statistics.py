"""FF301 to FF305: fits that could not be used, scores that grow or stop at a cap, targets left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from draw import BLUE, GREY, RED, figure, line, steps

from cases.case import Case, curve, detail, digit, gradients, network, raised, record_of, study
from falsefloor.report.figure import Level, fit

NO_FIT = "clever:radius=0.05"


def fit_replaced() -> Case:
    x, y = digit(7)
    shown, records = [], []
    for name in ("mlp", "mlp-tanh"):
        results = study(network(name), x, y, estimators=[f"{NO_FIT},directed=false"])
        record = record_of(results, "clever")
        records.append(record)
        shown.append(fit(detail(results, record)))
    raised("FF301", records[0])
    if records[1]["evidence"]["fit"] != "weibull":
        raise LookupError("the picture compares with a fit that was used, and this one was not")

    left, right = (record["evidence"] for record in records)
    return Case(
        alt="Batch maxima of a piecewise linear model in few columns, of a smooth one along a fit",
        caption=(
            f"Input digits:7, unmasked, seed 0, {NO_FIT},directed=false. On digits:mlp, which is piecewise"
            f" linear, the 50 maxima take {left['distinct_maxima']:.0f} values and the"
            f" largest stands in for the fit ({left['fit_reason']}); on digits:mlp-tanh they take"
            f" {right['distinct_maxima']:.0f}, and the fit is used."
        ),
        shown=shown,
    )


def unstable() -> Case:
    x, y = digit(6)
    asked = "clever:radius=0.3,batches=20,samples=2,directed=false,fit=max,targets=1"
    results = study(network("mlp-tanh"), x, y, estimators=[asked])
    record = record_of(results, "clever")
    evidence = raised("FF302", record)["evidence"]
    maxima = curve(results, record, "maxima")
    running = torch.tensor(maxima).cummax(0).values
    half = (len(maxima) + 1) // 2

    batch = list(range(1, len(maxima) + 1))
    shown = figure(
        "batches drawn",
        "slope",
        line("largest slope of a batch", batch, maxima, "quiet", "circle", joined=False),
        steps("the running maximum", batch, running.tolist(), "red"),
        Level("half of them", half + 0.5, "interval", upright=True),
    )

    return Case(
        alt="The running maximum of the slope still jumps in the second half of the batches",
        caption=(
            f"digits:mlp-tanh, unmasked, input digits:6, seed 0, {asked}. After half of the batches the"
            f" largest slope is {evidence['half']:.1f}, after all {evidence['full']:.1f}, which is"
            f" {evidence['full'] / evidence['half'] - 1:.0%} more, where 25% is allowed."
        ),
        shown=shown,
    )


def capped() -> Case:
    x, y = digit(0)
    radii = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    asked = [f"clever:radius={radius},samples=4" for radius in radii]
    results = study(network(), x, y, maskers=["none", "staircase:c=255"], estimators=asked)
    scores: dict[str, list[float]] = {"none": [], "staircase:c=255": []}
    for record in results:
        scores[record["masker"]].append(float(record["radius"]))
        if record["masker"] != "none":
            raised("FF303", record)

    shown = figure(
        "radius of the sampled ball (linf)",
        "score",
        line("staircase:c=255", radii, scores["staircase:c=255"], "red", "square"),
        line("no masker", radii, scores["none"], "blue", "circle"),
    )

    return Case(
        alt="Against the sampling radius the masked score is a straight line, the unmasked one levels off",
        caption=(
            "digits:mlp, input digits:0, seed 0, clever:samples=4 at seven radii. Behind staircase:c=255 the"
            f" score is whatever radius was sampled, from {scores['staircase:c=255'][0]:.2g} to"
            f" {scores['staircase:c=255'][-1]:.2g}; unmasked it never exceeds {max(scores['none']):.3f}."
        ),
        shown=shown,
    )


def targets_missing() -> Case:
    number, radius = 3, 0.1
    x, y = digit(number)
    asked = f"clever:radius={radius},targets=1"
    record = record_of(study(network(), x, y, estimators=[asked]), "clever")
    evidence = raised("FF305", record)["evidence"]
    slopes, targets = gradients(network(), x, y, radius=radius, count=1000)
    steepest = slopes.abs().sum(2).amax(1).double()
    with torch.no_grad():
        logits = network()(x)[0].double()
    ratios = [float((logits[int(y)] - logits[t]) / steepest[k]) for k, t in enumerate(targets.tolist())]
    nearest = min(range(len(ratios)), key=ratios.__getitem__)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        names = [f"class {t}" for t in targets.tolist()]
        rest = range(1, len(names))
        axes.bar([0], ratios[:1], color=BLUE, label="looked at")
        axes.bar(rest, ratios[1:], facecolor="white", edgecolor=GREY, hatch="///", label="not looked at")
        axes.bar(
            [nearest],
            ratios[nearest : nearest + 1],
            facecolor="white",
            edgecolor=RED,
            hatch="///",
            linewidth=1.5,
            label="the smallest",
        )
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0.0, 1.3 * max(ratios))
        axes.set_ylabel("margin / largest slope")
        axes.legend(loc="upper left", ncols=3)

    return Case(
        alt="Distances to nine classes: one was looked at, a smaller one was not",
        caption=(
            f"digits:mlp, unmasked, input digits:{number}, seed 0, {asked} and its plain ratios over 1,000"
            f" points. It looked at {evidence['covered']:.0f} of {len(ratios)} classes, the runner-up"
            f" {int(targets[0])} ({ratios[0]:.4f}); class {int(targets[nearest])} is nearer"
            f" ({ratios[nearest]:.4f})."
        ),
        shown=draw,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "FF301": fit_replaced,
    "FF302": unstable,
    "FF303": capped,
    "FF305": targets_missing,
}
