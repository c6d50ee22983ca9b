"""The part of the ensemble that asks for nothing but the class: a search along the decision boundary.

Random rays give a first misclassified point; then the boundary's normal is estimated from which of many small
perturbations change the class (HopSkipJump, Chen, Jordan & Wainwright 2020), and instead of a small step the
exact projection onto the estimated plane is tried, at several lengths. Works where every gradient is zero,
infinite or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from falsefloor.estimators.attack.campaign import Found
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import SECTIONS, tighten
from falsefloor.numerics.projections import to_plane

LENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""How far along a ray the first points lie, as shares of the way to the ray's end in the box."""

SPREADS = (0.05, 0.1, 0.2, 0.4)
"""Size of the perturbations that feel for the normal, as shares of the current distance, taken in turn."""


def searching(samples: int, *, steps: int) -> int:
    """What `search` asks for an input."""
    first = len(LENGTHS) * (2 * max(samples // 2, 4) + 3) + 4 * samples
    step = samples + 16 + 3 * (SECTIONS - 1)
    return first + 3 * (SECTIONS - 1) + steps * step + 6 * (SECTIONS - 1) + 1


def search(
    oracle: Oracle,
    who: Tensor,
    generators: Sequence[Generator],
    *,
    samples: int,
    steps: int,
    starts: int = 1,
    tick: Callable[[], None],
) -> Found:
    """The nearest misclassified point of each input ``who`` (n,) after ``steps`` rounds of ``samples``
    queries from each of ``starts`` points; the nearer half goes on, with twice as many, until one is left."""
    count, left, inputs = len(who), starts, who
    point, fooled = _first(oracle, who, generators, samples=samples, starts=starts)
    who, draws = who.repeat_interleave(starts), [g for g in generators for _ in range(starts)]
    point = tighten(oracle, point, who, rounds=3)
    radius = torch.where(fooled, oracle.distance(point, who), torch.inf)
    halvings = starts.bit_length() - 1
    cuts = {steps * (i + 1) // (halvings + 1) for i in range(halvings)}
    history = []
    for step in range(steps):
        if step in cuts:
            nearest = radius.reshape(count, left).argsort(1)[:, : left // 2]
            kept = (nearest + left * torch.arange(count, device=who.device)[:, None]).flatten()
            point, fooled, radius, who = point[kept], fooled[kept], radius[kept], who[kept]
            draws, left = [draws[i] for i in kept.tolist()], left // 2
        each, spread = samples * starts // left, SPREADS[step % len(SPREADS)]
        tried = _ahead(oracle, point, who, draws, samples=each, spread=spread)
        tried, works = _nearest(oracle, tried, who)
        tried = tighten(oracle, tried, who, rounds=3)
        reached = torch.where(works, oracle.distance(tried, who), torch.inf)
        better = fooled & (reached < radius)
        radius = torch.where(better, reached, radius)
        point = torch.where(better[:, None], tried, point)
        history.append(radius.reshape(count, left).amin(1))
        tick()
    best = radius.reshape(count, left).argmin(1) + left * torch.arange(count, device=who.device)
    point, fooled, who = point[best], fooled[best], inputs
    point = torch.where(fooled[:, None], tighten(oracle, point, who, rounds=6), oracle.centre[who])
    radius = torch.where(fooled, oracle.distance(point, who), torch.inf)
    return Found(radius, point, _classes(oracle, point, who), torch.stack(history))


def _first(
    oracle: Oracle, who: Tensor, generators: Sequence[Generator], *, samples: int, starts: int
) -> tuple[Tensor, Tensor]:
    """The nearest misclassified point (n · starts, d) on rays to random points and corners, of each of so
    many parts of them, and whether there is one."""
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
    return _nearest(oracle, oracle.snap(torch.cat([tried, torch.stack(outer)], 1)), who, parts=starts)


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


def _nearest(oracle: Oracle, tried: Tensor, who: Tensor, *, parts: int = 1) -> tuple[Tensor, Tensor]:
    """The nearest misclassified of each of ``parts`` parts of the candidates (n, M, d), (n · parts, d), and
    whether there is one (n · parts,)."""
    count, width, _ = tried.shape
    owner = who.repeat_interleave(width)
    flat = tried.flatten(0, 1)
    distance = torch.where(oracle.fooled(flat, owner), oracle.distance(flat, owner), torch.inf)
    dealt = torch.arange(width, device=who.device) % parts == torch.arange(parts, device=who.device)[:, None]
    radius = torch.where(dealt, distance.reshape(count, 1, width), torch.inf)
    row = torch.arange(count, device=who.device)[:, None]
    return tried[row, radius.argmin(2)].flatten(0, 1), radius.amin(2).isfinite().flatten()


def _classes(oracle: Oracle, point: Tensor, who: Tensor) -> Tensor:
    """The class that leads the label at each point (n,)."""
    logits = oracle.logits(point, who).nan_to_num(-torch.inf)
    return logits.scatter(1, oracle.labels[who][:, None], -torch.inf).argmax(1)
