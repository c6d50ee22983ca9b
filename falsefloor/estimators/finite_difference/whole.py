"""Large inputs, of which a subset of the coordinates stands for all: what all of them say at a few points.

A subset's slopes say how fast the function changes, and not where it falls most: on a residual net of 3,072
coordinates balls passed them that were 1.8 times a found distance, and what four points in such a ball said
then was a quarter of that distance, or above it. So every ball also looks at the margins themselves on the
ways to the vertices at which their gradients at the input say that they fall most, a forward a point. The few
points at which all coordinates can be afforded lie where they fell, in balls that close in on the radius.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.estimators.finite_difference.secants import STARE, Ball, Probe, ways
from falsefloor.estimators.slopes import View
from falsefloor.numerics.balls import dual, vector_norm, working
from falsefloor.numerics.secants import fan

POINTS = 5
"""All coordinates are differenced at so many points or at none."""
FALLS = 12
"""Points of each way at which the margins are looked at."""
LOOKS = 4
"""Balls that points are kept for; the last point of each lies at the end of its way."""


@dataclass
class Whole:
    """What all coordinates of one input's neighbourhood said.

    probe: of all coordinates; slots (T',): the nearest targets; gradients (T, P, d) at points far (P,) away,
    the input first; falls (T, Q): of the margins at points fallen (Q,) away; left: points to be afforded.
    """

    probe: Probe
    slots: Tensor
    gradients: Tensor
    far: Tensor
    falls: Tensor
    fallen: Tensor
    left: int

    @classmethod
    def of(cls, probe: Probe, *, queries: int) -> Whole | None:
        """None for a probe of all coordinates, and where ``queries`` forwards are too few."""
        view, left = probe.view, queries // (probe.view.centre.numel() + 1)
        if probe.coordinates is None or left < POINTS:
            return None
        every = dataclasses.replace(probe, coordinates=None)
        found = _gradients(every, view.centre.unsqueeze(0))
        near = (view.margin / vector_norm(found[:, 0], dual(view.norm))).nan_to_num(nan=0.0)
        slots = near.argsort(stable=True)[: STARE.targets]
        none = view.margin.new_empty(len(near), 0)
        return cls(every, slots, found, view.margin.new_zeros(1), none, none[0], left - 1)

    @property
    def at_centre(self) -> Tensor:
        """(T, d): the gradients at the input itself."""
        return self.gradients[:, 0]

    def held_against(self, probe: Probe, at_centre: Tensor) -> Probe:
        """The probe of a subset, with its lengths put right at the input, where its gradients are (T, k)."""
        known = self.probe.lengths(self.gradients[:, :1], [])[:, 0, -1]
        times = known / probe.lengths(at_centre.unsqueeze(1), [])[:, 0, -1]
        return dataclasses.replace(probe, times=torch.where((times > 0) & times.isfinite(), times, 1.0))

    def glance(self, ball: Ball) -> Ball:
        """The ball with what margins show on the ways there."""
        self._go(self.at_centre, ball.radius)
        return _with(ball, ball.slopes.unsqueeze(1), self._shown(ball))

    def see(self, points: Tensor) -> None:
        """All coordinates at points (P, *input)."""
        self.left -= len(points)
        self.gradients = torch.cat([self.gradients, _gradients(self.probe, points)], dim=1)
        self.far = torch.cat([self.far, _distance(self.probe.view, points)])

    def walk(self, ball: Ball, *, points: int) -> Ball:
        """The ball by what was met in it alone, and at so many points of the way on which a margin falls
        most."""
        # the mean along the last way is what a margin's fall is made of there
        last = self.gradients[:, -points:].mean(dim=1)
        way = self._go(torch.cat([self.at_centre, self.gradients.mean(dim=1), last]), ball.radius)
        count = min(points, self.left)
        self.see(way[torch.arange(1, count + 1, device=way.device) * FALLS // count - 1])
        inside = self.far <= _reach(ball)
        return _with(ball, self.probe.lengths(self.gradients[:, inside], ball.rho), self._shown(ball))

    def _go(self, gradients: Tensor, radius: float) -> Tensor:
        """Asks the margins on the nearest targets' ways by gradients (n·T, d). The steepest way, (FALLS,
        *input)."""
        view, rows = self.probe.view, self.probe.view.rows
        chosen = gradients.reshape(-1, len(view.targets), gradients.shape[1])[:, self.slots].flatten(0, 1)
        found = ways(view, chosen.nan_to_num(0.0, 0.0, 0.0), radius, FALLS)
        points = found.flatten(0, 1)
        with torch.no_grad():
            logits = torch.cat([view.subject(part) for part in torch.split(points, rows)])
        logits = logits.to(working(logits.dtype))
        margin = view.margin.reshape(-1, 1)
        falls = margin - (logits[:, view.label] - logits[:, view.targets].T)
        self.falls = torch.cat([self.falls, falls], dim=1)
        self.fallen = torch.cat([self.fallen, _distance(view, points)])
        share = (falls / margin).nan_to_num(nan=torch.inf).amax(dim=0)
        return found[int(share.reshape(found.shape[:2]).amax(dim=1).argmax())]

    def _shown(self, ball: Ball) -> Tensor:
        """Slopes (T, Q', A + 1) that margins show in the ball.

        A margin that falls by v within r of the input has, somewhere on the way, a support of v/max(r, ρ) at
        radius ρ at least, and a dual norm of v/r.
        """
        inside = self.fallen <= _reach(ball)
        radii = torch.tensor([*ball.rho, 0.0], dtype=self.falls.dtype, device=self.falls.device)
        far = torch.maximum(self.fallen[inside].unsqueeze(1), radii)
        shown = self.falls[:, inside].unsqueeze(2) / far
        return torch.where(shown.isfinite(), shown.clamp(min=0), torch.inf)


def _with(ball: Ball, *slopes: Tensor) -> Ball:
    """The ball with the largest of slopes, (T, P, A + 1) each."""
    return dataclasses.replace(ball, slopes=torch.cat([*slopes], dim=1).amax(dim=1))


def _reach(ball: Ball) -> float:
    """The radius, and what adding a step to the input rounds."""
    return ball.radius * (1 + 1e-5)


def _distance(view: View, points: Tensor) -> Tensor:
    return vector_norm((points - view.centre).flatten(1), view.norm).to(view.margin.dtype)


def _gradients(probe: Probe, points: Tensor) -> Tensor:
    """Secant gradients (T, P, d) along all coordinates of points (P, *input)."""
    view = probe.view
    scale = torch.full((len(points),), probe.scale, dtype=working(points.dtype), device=points.device)
    found = fan(view.boxed, points, scale=scale)
    return (found[:, view.label].unsqueeze(1) - found[:, view.targets]).transpose(0, 1)
