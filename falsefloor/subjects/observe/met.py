"""Points that some call met by chance, made into ones that anybody can replay.

What `falsefloor.subjects.sightings` keeps is as far from the boundary as it happened to be asked, and was
answered once, in one batch. So each is bisected towards its input and asked again, alone and in company.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from falsefloor.numerics.margins import predicted
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.counterexample import BISECTIONS, Sighting, bisect, join
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.settle import settle
from falsefloor.subjects.sightings import Nearest, Sightings
from falsefloor.subjects.subject import ModelSubject


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
    shape = (-1, *([1] * (start.ndim - 1)))
    low, high = torch.zeros_like(seen.distance[:, 0]), torch.ones_like(seen.distance[:, 0])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        trial = start + middle.reshape(shape).to(start.dtype) * (seen.points[:, 0] - start)
        lost = _lost(site, trial)
        points = torch.where(lost.reshape(shape), trial, points)
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
