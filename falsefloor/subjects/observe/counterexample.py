"""The nearest point that changes class, of what an observation saw or any call met: what contradicts a floor
without any attack.

A point that was met by chance (`falsefloor.subjects.sightings`) is as far from the boundary as it happened to
be asked, and was answered once, in one batch: it is bisected towards its input and asked again, alone and in
company, like those that were looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from falsefloor.numerics.balls import wide
from falsefloor.numerics.margins import predicted
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.pairs import coarse_slopes, secant_pairs
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.settle import MARGIN, Settled, settle
from falsefloor.subjects.sightings import Nearest, Sightings
from falsefloor.subjects.subject import ModelSubject

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
    return points.gather(1, wide(index, points).expand(*index.shape, *points.shape[2:]))


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
        trial = start + wide(middle, start).to(start.dtype) * (best.points - start)
        logits = site.guard(trial)
        # by as much as settling will ask for, so that nothing is left to walk
        needed = MARGIN * torch.finfo(logits.dtype).eps * logits.double().abs().amax(2)
        least = site.of_all(logits).amin(2)
        changed = (least < 0) & (least <= -needed)  # a tie of zeros leads by nothing, and needs nothing
        points = torch.where(wide(changed, start), trial, points)
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
    length = torch.where(nearest.flipped, nearest.distance, 0.0)[:, 0]
    trials = []
    for slope in slopes:
        flat = slope.reshape(site.inputs.shape).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        for share in SHARES:
            trials.append(site.downhill(site.inputs, flat, (share * length).to(flat.dtype)))
    points = torch.stack(trials, 1)
    return Sighting.of(site, points, site.guard(points), site.away(points))


def _settle(site: Site, points: Tensor) -> Settled:
    return settle(site.subject, site.inputs, site.labels, points, norm=site.norm, rows=site.rows)


def _better(first: Settled, second: Settled) -> Settled:
    """Each input's first settled witness."""
    use = first.ok | ~second.ok
    return Settled(
        points=torch.where(wide(use, first.points), first.points, second.points),
        radius=torch.where(use, first.radius, second.radius),
        predicted=torch.where(use, first.predicted, second.predicted),
        ok=first.ok | second.ok,
        moved=torch.where(use, first.moved, second.moved),
        queries=first.queries + second.queries,
        batch_only=(first.batch_only | second.batch_only) & ~first.ok & ~second.ok,
    )


class Met(NamedTuple):
    """A point (*input) that contradicts every claim about its input which reaches ``facts["distance"]``."""

    point: Tensor
    facts: dict[str, Any]


def met(subject: ModelSubject, seen: Sightings, *, rows: int) -> list[dict[str, Met]]:
    """What was seen around each input and stands when it is asked again: "changed", where another class
    leads, and "nonfinite", where the logits are not finite.

    Nothing of inputs that are not classified as labelled: nothing is claimed there. Where all of the nearest
    fail to stand, nothing is said of that input either.
    """
    found: list[dict[str, Met]] = [{} for _ in seen.inputs]
    if not len(seen.inputs):
        return found
    logits, _ = Guarded(subject, rows=rows).first(seen.inputs)
    judged = logits.isfinite().all(1) & (predicted(logits, seen.labels) == seen.labels)
    seen.look()
    seen.compare(judged)
    for name, nearest in (("changed", seen.changed), ("nonfinite", seen.broken)):
        numbers = (judged & nearest.found).nonzero().flatten()
        if len(numbers):
            inputs, labels = seen.inputs[numbers], seen.labels[numbers]
            site = Site(subject, inputs, labels, logits[numbers], seen.norm, (), rows)
            stand = _changed if name == "changed" else _nonfinite
            for number, one in zip(
                numbers.tolist(), stand(site, _sighting(nearest, numbers, site)), strict=True
            ):
                if one is not None:
                    found[number][name] = one
    return found


def _sighting(nearest: Nearest, numbers: Tensor, site: Site) -> Sighting:
    points = nearest.points[numbers].reshape(len(numbers), -1, *site.inputs.shape[1:]).clone()
    distance = nearest.distance[numbers].double()
    return Sighting(points, distance < torch.inf, distance)


def _changed(site: Site, seen: Sighting) -> list[Met | None]:
    # where what is left after bisecting does not stand, the points themselves may
    tried = join([bisect(site, seen).nearest(1), seen])
    found: list[Met | None] = [None] * len(site.inputs)
    for points in tried.points.unbind(1):
        open_ = torch.tensor([i for i, one in enumerate(found) if one is None], device=points.device)
        if not len(open_):
            break
        inputs, labels = site.inputs[open_], site.labels[open_]
        settled = settle(site.subject, inputs, labels, points[open_], norm=site.norm, rows=site.rows)
        for at in settled.ok.nonzero().flatten().tolist():
            facts = {
                "distance": float(settled.radius[at]),
                "predicted": int(settled.predicted[at]),
                "moved": float(settled.moved[at]),
            }
            found[int(open_[at])] = Met(settled.points[at].clone(), facts)
    return found


def _nonfinite(site: Site, seen: Sighting) -> list[Met | None]:
    start, points = site.inputs, seen.points[:, 0]
    low, high = torch.zeros_like(seen.distance[:, 0]), torch.ones_like(seen.distance[:, 0])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        trial = start + wide(middle, start).to(start.dtype) * (seen.points[:, 0] - start)
        lost = _lost(site, trial)
        points = torch.where(wide(lost, start), trial, points)
        high, low = torch.where(lost, middle, high), torch.where(lost, low, middle)
    stands = _lost(site, points) & ~site.guard.regrouped(points).isfinite().all(1)
    away = site.away(points.unsqueeze(1)).squeeze(1)
    return [
        Met(points[i].clone(), {"distance": float(away[i])}) if bool(stands[i]) else None
        for i in range(len(points))
    ]


def _lost(site: Site, points: Tensor) -> Tensor:
    """(N,) whether the subject answers, and not with finite numbers."""
    logits, errors = site.guard.first(points)
    raised = torch.tensor([error is not None for error in errors], device=points.device)
    return ~logits.isfinite().all(1) & ~raised
