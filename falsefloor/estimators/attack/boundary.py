"""The part of the ensemble that asks for nothing but the class: a search along the decision boundary.

Random rays give a first misclassified point; then the boundary's normal is estimated from which of many small
perturbations change the class (HopSkipJump, Chen, Jordan & Wainwright 2020), and instead of a small step the
exact projection onto the estimated plane is tried, at several lengths. Works where every gradient is zero,
infinite or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from falsefloor.estimators.attack.campaign import Found
from falsefloor.estimators.attack.refine import tighten
from falsefloor.numerics.projections import to_plane

if TYPE_CHECKING:
    from falsefloor.estimators.attack.oracle import Oracle

LENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""How far along a ray the first points lie, as shares of the way to the ray's end in the box."""

SPREADS = (0.05, 0.1, 0.2, 0.4)
"""Size of the perturbations that feel for the normal, as shares of the current distance, taken in turn."""


def search(
    oracle: Oracle,
    who: Tensor,
    generators: Sequence[Generator],
    *,
    samples: int,
    steps: int,
    tick: Callable[[], None],
) -> Found:
    """The nearest misclassified point of each input ``who`` (n,) after ``steps`` rounds of ``samples``
    queries."""
    point, fooled = _first(oracle, who, generators, samples=samples)
    point = tighten(oracle, point, who, rounds=3)
    radius = torch.where(fooled, oracle.distance(point, who), torch.inf)
    history = []
    for step in range(steps):
        tried = _ahead(oracle, point, who, generators, samples=samples, spread=SPREADS[step % len(SPREADS)])
        tried, works = _nearest(oracle, tried, who)
        tried = tighten(oracle, tried, who, rounds=3)
        reached = torch.where(works, oracle.distance(tried, who), torch.inf)
        better = fooled & (reached < radius)
        radius = torch.where(better, reached, radius)
        point = torch.where(better[:, None], tried, point)
        history.append(radius)
        tick()
    point = torch.where(fooled[:, None], tighten(oracle, point, who, rounds=6), oracle.centre[who])
    radius = torch.where(fooled, oracle.distance(point, who), torch.inf)
    return Found(radius, point, _classes(oracle, point, who), torch.stack(history))


def _first(
    oracle: Oracle, who: Tensor, generators: Sequence[Generator], *, samples: int
) -> tuple[Tensor, Tensor]:
    """The nearest misclassified point (n, d) on rays to random points and corners, and whether there is
    one."""
    centre = oracle.centre[who]
    size = centre.shape[1]
    ends, outer = [], []
    for generator, middle in zip(generators, centre, strict=True):
        draws = torch.rand(max(samples // 2, 4), size, generator=generator).to(middle)
        inner = oracle.low + draws * (oracle.high - oracle.low)
        corners = torch.where(draws.roll(1, 0) < 0.5, oracle.low, oracle.high)
        opposite = torch.where(middle - oracle.low > oracle.high - middle, oracle.low, oracle.high)
        # the far corners are many and cheap: where a class covers little of the box, they are what meets it
        signs = torch.randint(0, 2, (4 * samples, size), generator=generator).to(middle)
        far = torch.where(signs > 0, oracle.low, oracle.high)
        fixed = torch.stack([oracle.low.clone(), oracle.high.clone(), opposite])
        ends.append(torch.cat([inner, corners, fixed]))
        outer.append(far)
    way = torch.stack(ends) - centre[:, None]
    lengths = way.new_tensor(LENGTHS)
    tried = (centre[:, None, None] + lengths[:, None] * way[:, :, None]).flatten(1, 2)
    return _nearest(oracle, oracle.snap(torch.cat([tried, torch.stack(outer)], 1)), who)


def _ahead(
    oracle: Oracle,
    point: Tensor,
    who: Tensor,
    generators: Sequence[Generator],
    *,
    samples: int,
    spread: float,
) -> Tensor:
    """Candidates (n, M, d) from the plane that random perturbations of the boundary points (n, d) suggest."""
    count, size = point.shape
    centre = oracle.centre[who]
    noise = torch.stack([torch.randint(0, 2, (samples, size), generator=g) for g in generators])
    noise = noise.to(point).mul_(2).sub_(1)
    # a step of the same norm in each direction: signs have linf norm 1
    per_sign = {"linf": 1.0, "l2": size**-0.5, "l1": 1.0 / size}[oracle.norm]
    scale = spread * per_sign * oracle.distance(point, who)
    probes = oracle.snap(point[:, None] + scale[:, None, None] * noise)
    votes = oracle.fooled(probes.flatten(0, 1), who.repeat_interleave(samples)).reshape(count, samples)
    weight = votes.to(point.dtype)
    weight = weight - weight.mean(1, keepdim=True)
    normal = (weight[:, :, None] * (probes - point[:, None])).sum(1)
    length = normal.abs().amax(1, keepdim=True)
    down = (-normal / length).nan_to_num(0.0)
    fall = -(down * (point - centre)).sum(1)
    below, above = centre - oracle.low, oracle.high - centre
    tried = []
    for beyond in (1.0, 1.3):
        nearest = to_plane(down, fall * beyond, below, above, norm=oracle.norm)
        for share in (1.0, 0.5, 0.2, 0.05):
            mixed = (1 - share) * (point - centre) + share * nearest
            tried += [centre + mixed, centre + mixed * 1.05]
    return oracle.snap(torch.stack(tried, 1))


def _nearest(oracle: Oracle, tried: Tensor, who: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest misclassified of the candidates (n, M, d), and whether there is one (n,)."""
    count, width, _ = tried.shape
    owner = who.repeat_interleave(width)
    flat = tried.flatten(0, 1)
    fooled = oracle.fooled(flat, owner).reshape(count, width)
    radius = torch.where(fooled, oracle.distance(flat, owner).reshape(count, width), torch.inf)
    return tried[torch.arange(count), radius.argmin(1)], fooled.any(1)


def _classes(oracle: Oracle, point: Tensor, who: Tensor) -> Tensor:
    """The class that leads the label at each point (n,)."""
    logits = oracle.logits(point, who).nan_to_num(-torch.inf)
    return logits.scatter(1, oracle.labels[who][:, None], -torch.inf).argmax(1)
