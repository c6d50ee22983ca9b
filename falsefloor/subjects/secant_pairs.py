"""Secants of the function itself: what no masker can hide from whoever only evaluates.

From the input, steps along the steepest descent of several margins, found by coarse differences and by
autograd: the slopes along them contradict a gradient bound that is too small (the mean value theorem), and
the points that change class contradict a radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.balls import directions, fold
from falsefloor.numerics.secants import jacobian
from falsefloor.numerics.support import vertex
from falsefloor.subjects.site import SCALES, Site

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
    lo, hi = site.subject.bounds
    count = len(site.inputs)
    slopes = torch.cat([*(_coarse(site, share) for share in COARSE), _autograd(site)], 1)
    each = slopes.shape[1]
    flat = slopes.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).reshape(count * each, *slopes.shape[2:])
    centre = site.inputs.repeat_interleave(each, 0)
    steps = []
    for scale in SCALES:
        for share in SHARES:
            step = vertex(flat, centre, lo, hi, norm=site.norm, rho=share * scale * site.diameter)
            point = torch.minimum(torch.maximum(centre + step.to(centre.dtype), lo), hi)
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


def coarse_slope(site: Site, points: Tensor, targets: Tensor, share: float) -> Tensor:
    """Slopes (N, *input) of the margins to targets (N,) at points (N, *input), like `_coarse`."""
    slope = _logit_slopes(site, points, share)
    return _of_targets(site, slope, targets[:, None]).reshape(points.shape)


def _coarse(site: Site, share: float) -> Tensor:
    """Slopes (N, T, *input) of the targets' margins by differences of half width ``share`` of the domain."""
    slope = _logit_slopes(site, site.inputs, share)
    return _of_targets(site, slope, site.targets).reshape(len(slope), -1, *site.inputs.shape[1:])


def _logit_slopes(site: Site, points: Tensor, share: float) -> Tensor:
    """Slopes (N, K, d) of the logits at points (N, *input): every coordinate, or random directions."""
    lo, hi = site.subject.bounds
    count, shape = len(points), points.shape[1:]
    if points[0].numel() <= FULL:

        def logits_of(flat: Tensor) -> Tensor:
            return site.guard(flat.unsqueeze(1)).squeeze(1)

        scale = (share * (hi - lo).max()).expand(count)
        return jacobian(logits_of, points, scale=scale, lo=lo, hi=hi, rows=site.rows)
    drawn = [directions(tuple(shape), norm="linf", count=FEW, generator=g) for g in site.generators]
    ways = torch.stack(drawn).to(points)
    reach = share * (hi - lo) * ways
    above, below = (fold(points[:, None] + way, lo, hi) for way in (reach, -reach))
    change = site.guard(above).double() - site.guard(below).double()
    moved = (above - below).to(torch.float32).flatten(2)
    weight = change.to(torch.float32) / moved.square().sum(2)[:, :, None].clamp(min=1e-30)
    return _combine(weight, moved)


def _combine(weight: Tensor, moved: Tensor) -> Tensor:
    """Sum over directions of weight (N, M, K) times moved (N, M, d): (N, K, d), a direction at a time."""
    total = weight.new_zeros(len(weight), weight.shape[2], moved.shape[2])
    for way in range(weight.shape[1]):
        total += weight[:, way, :, None] * moved[:, way, None, :]
    return total


def _of_targets(site: Site, slope: Tensor, targets: Tensor) -> Tensor:
    """From slopes of logits (N, K, d) to those of the margins to targets (N, T): (N, T, d)."""
    size = slope.shape[2]
    own = slope.gather(1, site.labels[:, None, None].expand(-1, 1, size))
    return own - slope.gather(1, targets[:, :, None].expand(-1, -1, size))


def _autograd(site: Site) -> Tensor:
    """Gradients (N, T, *input) of the targets' margins at the inputs."""
    each = site.targets.shape[1]
    points = site.inputs[:, None].expand(-1, each, *site.inputs.shape[1:])
    return site.slopes(points, against=site.targets)


__all__ = ["SecantPairs", "coarse_slope", "evaluate", "secant_pairs"]
