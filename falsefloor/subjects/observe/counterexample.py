"""The nearest point that an observation saw change class: what contradicts a floor without any attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.numerics.support import vertex
from falsefloor.subjects.observe.pairs import coarse_slopes, secant_pairs
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.settle import MARGIN, Settled, settle

CANDIDATES = 5
BISECTIONS = 12
"""Halvings of the segment from the input: the boundary along it within 3e-4 of its length."""
TRIED = 3
BOUNDARY = 0.05
"""Half width of the differences at a crossing, as a share of the domain's width."""
SHARES = (0.7, 0.85, 0.95, 1.0)


@dataclass(frozen=True)
class Sighting:
    """points (N, M, *input) that changed class where ``flipped`` (N, M); ``distance`` (N, M) orders them."""

    points: Tensor
    flipped: Tensor
    distance: Tensor

    @classmethod
    def of(cls, site: Site, points: Tensor, logits: Tensor, away: Tensor) -> Sighting:
        """Points with their logits and distances, ordered by where the class would change if every margin
        fell linearly on the way: the nearest point is seldom the one with the nearest crossing."""
        margins = site.of_all(logits)
        start = site.margins[:, None]
        share = torch.where(margins < 0, start / (start - margins), torch.inf).amin(2)
        return cls(points, share < torch.inf, away * share)

    def nearest(self, count: int) -> Sighting:
        """The ``count`` first that changed class."""
        keys = torch.where(self.flipped, self.distance, torch.inf)
        order = keys.argsort(dim=1, stable=True)[:, :count]
        return Sighting(
            take(self.points, order), self.flipped.gather(1, order), self.distance.gather(1, order)
        )


def take(points: Tensor, index: Tensor) -> Tensor:
    """Points (N, m, *input) picked from (N, M, *input) by index (N, m)."""
    wide = index.reshape(*index.shape, *([1] * (points.ndim - 2)))
    return points.gather(1, wide.expand(*index.shape, *points.shape[2:]))


def nearest_counterexample(site: Site, sightings: list[Sighting]) -> Settled:
    """Bisect towards the best sightings, look once more along the boundary's own slope, settle the nearest.

    An input without any sighting has nothing settled.
    """
    first = bisect(site, join([sighting.nearest(CANDIDATES) for sighting in sightings]))
    second = bisect(site, _along_boundary(site, first))
    refined = join([first, second]).nearest(TRIED)
    settled = _settle(site, refined.points[:, 0])
    for other in range(1, refined.points.shape[1]):
        if bool(settled.ok.all()):
            break
        settled = _better(settled, _settle(site, refined.points[:, other]))
    return settled


def nearest_by_secants(site: Site) -> Settled:
    """The nearest class change that the function's own secants lead to, where nothing else was looked at."""
    pairs = secant_pairs(site)
    flipped = pairs.margins.amin(2) < 0
    return nearest_counterexample(site, [Sighting(pairs.points, flipped, pairs.distance)])


def join(sightings: list[Sighting]) -> Sighting:
    """All of them, in the given order."""
    return Sighting(
        torch.cat([s.points for s in sightings], 1),
        torch.cat([s.flipped for s in sightings], 1),
        torch.cat([s.distance for s in sightings], 1),
    )


def bisect(site: Site, sighting: Sighting) -> Sighting:
    """The best candidates, moved towards their inputs as far as they keep another class."""
    best = sighting.nearest(CANDIDATES)
    start = site.inputs.unsqueeze(1).expand_as(best.points)
    low = torch.zeros_like(best.distance)
    high = torch.ones_like(best.distance)
    points = best.points
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        trial = start + _wide(middle, start).to(start.dtype) * (best.points - start)
        logits = site.guard(trial)
        # by as much as settling will ask for, so that nothing is left to walk
        needed = MARGIN * torch.finfo(logits.dtype).eps * logits.double().abs().amax(2)
        least = site.of_all(logits).amin(2)
        changed = (least < 0) & (least <= -needed)  # a tie of zeros leads by nothing, and needs nothing
        points = torch.where(_wide(changed, start), trial, points)
        high, low = torch.where(changed, middle, high), torch.where(changed, low, middle)
    return Sighting(points, best.flipped, site.away(points))


def _along_boundary(site: Site, found: Sighting) -> Sighting:
    """From the inputs, steps along the slope that the function has at the nearest crossing found so far.

    One step of the minimum-norm attacks' iteration (Moosavi-Dezfooli et al. 2016), with a coarse slope: on
    models with curved margins it brings the counterexample from 1.10 to 1.02 times the best known distance.
    """
    nearest = found.nearest(1)
    at = nearest.points[:, 0]
    # the class on the other side, where the margin is least
    rival = site.of_all(site.guard(nearest.points)).squeeze(1).nan_to_num(nan=1e300).argmin(1)
    slopes = [
        coarse_slopes(site, at, rival[:, None], BOUNDARY),
        site.slopes(nearest.points, against=rival[:, None]),
    ]
    lo, hi = site.subject.bounds
    length = torch.where(nearest.flipped, nearest.distance, 0.0)[:, 0]
    trials = []
    for slope in slopes:
        flat = slope.reshape(site.inputs.shape).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        for share in SHARES:
            step = vertex(flat, site.inputs, lo, hi, norm=site.norm, rho=(share * length).to(flat.dtype))
            trials.append(torch.minimum(torch.maximum(site.inputs + step.to(site.inputs.dtype), lo), hi))
    points = torch.stack(trials, 1)
    return Sighting.of(site, points, site.guard(points), site.away(points))


def _settle(site: Site, points: Tensor) -> Settled:
    return settle(site.subject, site.inputs, site.labels, points, norm=site.norm, rows=site.rows)


def _better(first: Settled, second: Settled) -> Settled:
    """Each input's first settled witness."""
    use = first.ok | ~second.ok
    return Settled(
        points=torch.where(_wide(use, first.points), first.points, second.points),
        radius=torch.where(use, first.radius, second.radius),
        predicted=torch.where(use, first.predicted, second.predicted),
        ok=first.ok | second.ok,
        moved=torch.where(use, first.moved, second.moved),
        queries=first.queries + second.queries,
        batch_only=(first.batch_only | second.batch_only) & ~first.ok & ~second.ok,
    )


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(*values.shape, *([1] * (like.ndim - values.ndim)))
