"""Whether a gradient says what the function does: gradients against differences, scale by scale.

Where a masker hides or distorts the gradient, g·(a - b) and m(a) - m(b) disagree at the scales a perturbation
lives on (Uesato et al. 2018; Athalye, Carlini & Wagner 2018). The difference is taken against the gradient at
the pair's own middle, with the pair folded into the box: comparing folded differences with g·hu flagged 80 %
of unmasked estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import directions, dual, fold, sample, vector_norm
from falsefloor.subjects.observe.site import Site

STEPS = {0.01: 8, 0.1: 32, 0.5: 32}
"""Half steps as shares of the radius, and how many pairs of each: fewer where only the gross is judged."""
VANISHED = 1e-3
"""A gradient that, followed across the whole domain, moves less than this share of the margin."""


@dataclass(frozen=True)
class Agreement:
    """One radius. points (N, M, *input) are all ends and middles with their logits (N, M, K).

    facts: one mapping an input, keyed by gradient source: the table of steps and the gradients' norms.
    """

    radius: Tensor
    points: Tensor
    logits: Tensor
    facts: list[dict[str, dict[str, object]]]


def scale_agreement(
    site: Site, radius: Tensor, *, sources: Mapping[str, Callable[[Tensor], Tensor]]
) -> Agreement:
    """Pairs in the ball of ``radius`` (N,) around each input, and each source's gradients between them."""
    lo, hi = site.subject.bounds
    shape = tuple(site.inputs.shape[1:])
    steps = {share: site.part(count) for share, count in STEPS.items()}
    total = sum(steps.values())
    wide = (-1, 1, *([1] * len(shape)))
    centre = sample(
        site.inputs, norm=site.norm, radius=radius, count=total, generators=site.generators, lo=lo, hi=hi
    )
    ways = torch.stack(
        [directions(shape, norm=site.norm, count=total, generator=g) for g in site.generators]
    ).to(site.inputs.device)
    shares = torch.cat([torch.full((n,), share) for share, n in steps.items()]).to(site.inputs.device)
    reach = radius.to(ways).reshape(wide) * shares.reshape(1, total, *([1] * len(shape))) * ways
    reach = reach.to(site.inputs.dtype)
    above, below = fold(centre + reach, lo, hi), fold(centre - reach, lo, hi)
    middle = below + (above - below) / 2
    points = torch.cat([above, below, middle], 1)
    logits = site.guard(points)
    margin = site.of_runner_up(logits)
    change = margin[:, :total] - margin[:, total : 2 * total]
    offset = (above.double() - below.double()).flatten(2)
    against = site.runner_up[:, None].expand(-1, total)
    facts: list[dict[str, dict[str, object]]] = [{} for _ in site.inputs]
    for name, function in sources.items():
        slope = site.slopes(middle, against=against, function=function)
        predicted = (slope.double().flatten(2) * offset).sum(2)
        size = _norms(slope, site.norm)
        for i in range(len(site.inputs)):
            facts[i][name] = {
                "steps": _steps(steps, change[i], predicted[i], rounding=float(site.rounding[i])),
                **_norm_facts(size[i], diameter=site.diameter, margin=float(site.margins[i].min())),
            }
    return Agreement(radius=radius, points=points, logits=logits, facts=facts)


def _norms(slope: Tensor, norm: str) -> Tensor:
    count, each = slope.shape[:2]
    flat = slope.reshape(count * each, -1)
    return vector_norm(flat.double(), dual(norm)).reshape(count, each)


def _steps(
    steps: Mapping[float, int], change: Tensor, predicted: Tensor, *, rounding: float
) -> list[dict[str, float | None]]:
    """Per half step: ratio of the rms predicted over the rms seen, and their correlation about zero.

    None where both are within rounding; an infinite ratio is a function flat where the gradient is not.
    """
    rows: list[dict[str, float | None]] = []
    start = 0
    for share, count in steps.items():
        seen, said = change[start : start + count], predicted[start : start + count]
        start += count
        usable = seen.isfinite() & said.isfinite()
        seen, said = seen[usable], said[usable]
        row: dict[str, float | None] = {
            "h": share,
            "pairs": float(len(seen)),
            "ratio": None,
            "correlation": None,
        }
        if len(seen):
            size, told = float(seen.square().mean().sqrt()), float(said.square().mean().sqrt())
            if max(size, told) > rounding:
                row["ratio"] = told / size if size > 0 else float("inf")
                product = float((seen * said).mean())
                row["correlation"] = product / (size * told) if size > 0 and told > 0 else 0.0
        rows.append(row)
    return rows


def _norm_facts(size: Tensor, *, diameter: float, margin: float) -> dict[str, object]:
    finite = size[size.isfinite()]
    if not len(finite):
        return {"median": None, "max": None, "vanished": 0.0, "zero": 0.0, "nonfinite": 1.0}
    return {
        "median": float(finite.median()),
        "max": float(finite.max()),
        "vanished": float((finite * diameter <= VANISHED * abs(margin)).double().mean()),
        "zero": float((finite == 0).double().mean()),
        "nonfinite": 1.0 - len(finite) / len(size),
    }
