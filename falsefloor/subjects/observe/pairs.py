"""Secants of the function itself: what no masker can hide from whoever only evaluates.

From the input, steps along the steepest descent of several margins, found by coarse differences and by
autograd: the slopes along them contradict a gradient bound that is too small (the mean value theorem), and
the points that change class contradict a radius.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from falsefloor.numerics.balls import directions, fold
from falsefloor.numerics.secants import Boxed, jacobian
from falsefloor.subjects.observe.site import SCALES, Site

COARSE = (0.02, 0.1, 0.3)
"""Half widths of the coarse differences, as shares of the domain's width: a quantiser of fewer than 1/(2h)
levels hides from a step of half width h, while a wide step sees other regions of a piecewise linear model."""
SHARES = (0.3, 0.6, 1.0)
FULL = 256
"""Up to this many coordinates every one is stepped; beyond, `FEW` dense random directions are."""
FEW = 64


@dataclass(frozen=True)
class SecantPairs:
    """points: (N, P, *input); distance: (N, P) from the input; logits, margins: (N, P, K); ratio: (N, P, K),
    |m(x0) - m(b)| less rounding, over the distance; 0 where the distance is."""

    points: Tensor
    distance: Tensor
    logits: Tensor
    margins: Tensor
    ratio: Tensor

    def best(self, radius: float) -> tuple[Tensor, Tensor]:
        """The largest ratio a class among pairs within ``radius``, (N, K), and which pair, (N, K)."""
        within = (self.distance <= radius * (1 + 1e-6)) & (self.distance > 0)
        found = torch.where(within[:, :, None], self.ratio, -1.0).max(1)
        return found.values.clamp(min=0), found.indices


def secant_pairs(site: Site) -> SecantPairs:
    """Steps of `SHARES` of every scale along every direction of descent: at most 540 points an input."""
    count = len(site.inputs)
    slopes = torch.cat(
        [*(coarse_slopes(site, site.inputs, site.targets, share) for share in COARSE), _autograd(site)], 1
    )
    each = slopes.shape[1]
    flat = slopes.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).reshape(count * each, *slopes.shape[2:])
    centre = site.inputs.repeat_interleave(each, 0)
    steps = []
    for scale in SCALES:
        for share in SHARES:
            point = site.downhill(centre, flat, share * scale * site.diameter)
            steps.append(point.reshape(count, each, *site.inputs.shape[1:]))
    return evaluate(site, torch.cat(steps, 1))


def evaluate(site: Site, points: Tensor) -> SecantPairs:
    """Pairs of the inputs with the given points (N, P, *input)."""
    distance = site.away(points)
    logits = site.guard(points)
    margins = site.of_all(logits)
    change = (margins - site.margins[:, None]).abs() - site.rounding[:, None, None]
    ratio = (change / distance[:, :, None]).nan_to_num(nan=0.0, posinf=0.0).clamp(min=0.0)
    return SecantPairs(points=points, distance=distance, logits=logits, margins=margins, ratio=ratio)


def coarse_slopes(site: Site, points: Tensor, targets: Tensor, share: float) -> Tensor:
    """Slopes (N, T, *input), at points (N, *input), of the margins to targets (N, T).

    By differences of half width ``share`` of the domain, along every coordinate or random directions.
    """
    lo, hi = site.subject.bounds
    count, shape = len(points), points.shape[1:]
    if points[0].numel() <= FULL:

        def logits_of(flat: Tensor) -> Tensor:
            return site.guard(flat.unsqueeze(1)).squeeze(1)

        scale = (share * (hi - lo).max()).expand(count)
        slope = jacobian(Boxed(logits_of, lo, hi, site.rows), points, scale=scale)
        return _of_targets(site, slope, targets).reshape(count, -1, *shape)
    few = site.part(FEW)
    drawn = [directions(tuple(shape), norm="linf", count=few, generator=g) for g in site.generators]
    ways = torch.stack(drawn).to(points)
    reach = share * (hi - lo) * ways
    above, below = (fold(points[:, None] + way, lo, hi) for way in (reach, -reach))
    logits = site.guard(above).double() - site.guard(below).double()
    change = _of_targets(site, logits.transpose(1, 2), targets).to(torch.float32)
    moved = (above - below).to(torch.float32).flatten(2)
    weight = change / moved.square().sum(2)[:, None].clamp(min=1e-30)
    total = weight.new_zeros(count, weight.shape[1], moved.shape[2])
    # a direction at a time: no product over the batch, and no tensor of directions times targets
    for way in range(few):
        total += weight[:, :, way, None] * moved[:, way, None, :]
    return total.reshape(count, -1, *shape)


def _of_targets(site: Site, outputs: Tensor, targets: Tensor) -> Tensor:
    """From something of the logits (N, K, d) to the same of the margins to targets (N, T): (N, T, d)."""
    size = outputs.shape[2]
    own = outputs.gather(1, site.labels[:, None, None].expand(-1, 1, size))
    return own - outputs.gather(1, targets[:, :, None].expand(-1, -1, size))


def _autograd(site: Site) -> Tensor:
    """Gradients (N, T, *input) of the targets' margins at the inputs."""
    each = site.targets.shape[1]
    points = site.inputs[:, None].expand(-1, each, *site.inputs.shape[1:])
    return site.slopes(points, against=site.targets)


def secant_facts(site: Site, pairs: SecantPairs) -> list[tuple[list[dict[str, Any]], dict[str, Tensor]]]:
    """An input: per scale, the largest slope a target, with the pair where one must bind; and the pairs.

    The binding target is the one whose margin over its slope is least; its pair (2, *input) starts at the
    input.
    """
    found: list[tuple[list[dict[str, Any]], dict[str, Tensor]]] = [([], {}) for _ in site.inputs]
    for scale in SCALES:
        radius = scale * site.diameter
        ratio, which = pairs.best(radius)
        for i, (table, ends) in enumerate(found):
            targets = site.targets[i]
            slopes = ratio[i, targets]
            binding = int(targets[(site.margins[i, targets] / slopes.clamp(min=1e-300)).argmin()])
            pair = int(which[i, binding])
            role = f"pair-{scale:g}"
            table.append(
                {
                    "radius": radius,
                    "ratios": {str(int(t)): float(s) for t, s in zip(targets, slopes, strict=True)},
                    "target": binding,
                    "ratio": float(ratio[i, binding]),
                    "distance": float(pairs.distance[i, pair]),
                    "margins": [float(site.margins[i, binding]), float(pairs.margins[i, pair, binding])],
                    "array": role,
                }
            )
            ends[role] = torch.stack([site.inputs[i], pairs.points[i, pair]])
    return found
