"""What is done to any misclassified point, however found, before its distance is believed: make it smaller.

Nothing here uses a gradient, so it works on every subject.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from falsefloor.estimators.attack.oracle import BARE, Oracle
from falsefloor.numerics.projections import shrink

SECTIONS = 16
"""Shares tried at once: five rounds of 16 reach 1e-6, with fewer forwards in sequence than 20 halvings."""

COORDINATES = 1024
"""Coordinates that are moved back one by one at most; the largest displacements first."""

REPEATS = 3
"""Times a witness is asked again before it is returned."""

LONGER = 11
"""Lengths that one which did not hold is tried at."""


def tighten(
    oracle: Oracle,
    point: Tensor,
    who: Tensor,
    *,
    rounds: int = 6,
    sections: int = SECTIONS,
    above: float = 0.0,
) -> Tensor:
    """Project each point (R, d) onto smaller and smaller balls, down to ``above`` of its own, while it stays
    misclassified.

    In the first round the smallest of 16 shares that works is taken, so a class change that comes and goes
    along the way is met at its first coming. A point that is not misclassified is returned as it is. A round
    asks for one point less than there are ``sections``.
    """
    count = len(point)
    centre = oracle.centre[who]
    displacement = point - centre
    kept = point
    least = torch.full((count,), above, dtype=point.dtype, device=point.device)
    most = torch.ones_like(least)
    grid = torch.arange(1, sections, dtype=point.dtype, device=point.device) / sections
    owner = torch.arange(count, device=point.device).repeat_interleave(sections - 1)
    for _ in range(rounds):
        share = least[:, None] + (most - least)[:, None] * grid
        tried = oracle.snap(centre[owner] + shrink(displacement[owner], share.reshape(-1), norm=oracle.norm))
        fooled = oracle.fooled(tried, who[owner]).reshape(count, -1)
        any_fooled, first = fooled.any(1), fooled.to(torch.int8).argmax(1)
        row = torch.arange(count, device=point.device)
        chosen = tried.reshape(count, sections - 1, -1)[row, first]
        kept = torch.where(any_fooled[:, None], chosen, kept)
        top = torch.where(any_fooled, share[row, first], most)
        before = share[row, (first - 1).clamp(min=0)]
        before = torch.where(first > 0, before, least)
        least = torch.where(any_fooled, before, share[:, -1])
        most = top
    closer = oracle.distance(kept, who) < oracle.distance(point, who)
    return torch.where(closer[:, None], kept, point)


def move_back(oracle: Oracle, point: Tensor, who: Tensor) -> Tensor:
    """Take back every coordinate's displacement that the class change does not need (R, d); for l1 and l2.

    First, each coordinate alone as far as the lead does not fall (on a quantised axis the rest of a step is
    free); then whole coordinates, those that cost least lead for the norm they save first.
    """
    if oracle.norm == "linf" or not len(point):
        return point
    point = _free(oracle, point, who)
    return _drop(oracle, point, who)


def _free(oracle: Oracle, point: Tensor, who: Tensor) -> Tensor:
    index = _largest(point - oracle.centre[who])
    least = torch.zeros(index.shape, dtype=point.dtype, device=point.device)
    most = torch.ones_like(least)
    lead = oracle.lead(oracle.logits(point, who), who)
    for _ in range(8):
        middle = (least + most) / 2
        free = _leads(oracle, point, who, index, middle) >= lead[:, None]
        most, least = torch.where(free, middle, most), torch.where(free, least, middle)
    at = oracle.centre[who].gather(1, index)
    moved = oracle.snap(point.scatter(1, index, at + (point.gather(1, index) - at) * most))
    return torch.where(oracle.fooled(moved, who)[:, None], moved, point)


def _drop(oracle: Oracle, point: Tensor, who: Tensor) -> Tensor:
    displacement = point - oracle.centre[who]
    index = _largest(displacement)
    lead = oracle.lead(oracle.logits(point, who), who)
    cost = lead[:, None] - _leads(oracle, point, who, index, torch.zeros_like(index, dtype=point.dtype))
    size = displacement.gather(1, index).abs()
    saved = size if oracle.norm == "l1" else size * size
    order = (cost / saved).nan_to_num(torch.inf).argsort(dim=1, stable=True)
    ordered = index.gather(1, order)
    count, width = ordered.shape
    best = point
    # sets of the cheapest 1, 2, 3, ... coordinates; all at once, since larger sets need not be worse
    rank = torch.arange(width, device=point.device)
    for row in range(count):
        place = torch.full((point.shape[1],), width, device=point.device).scatter(0, ordered[row], rank)
        tried = torch.where(place[None, :] <= rank[:, None], oracle.centre[who[row]][None], point[row][None])
        owner = who[row].expand(width)
        fooled = oracle.fooled(tried, owner)
        if bool(fooled.any()):
            radius = torch.where(fooled, oracle.distance(tried, owner), torch.inf)
            best = best.clone() if best is point else best
            best[row] = tried[radius.argmin()]
    return best


def confirm(
    oracle: Oracle, point: Tensor, who: Tensor, *, known: Tensor, most: int = LONGER + 1
) -> tuple[Tensor, Tensor]:
    """The points (n, d) and radii (n,) that hold when asked again; ``known`` (n,) is inf where nothing was
    found.

    A stochastic subject answers differently each time. A point is asked `REPEATS` times; where it fails once,
    its displacement is lengthened by 0.1 % doubling to 100 %, and given up after that, or after ``most``
    lengths: the input, and inf.
    """
    centre = oracle.centre[who]
    displacement = point - centre
    kept = centre.clone()
    missing = known.isfinite()
    for longer in (0.0, *(0.001 * 2**k for k in range(LONGER)))[:most]:
        if not bool(missing.any()):
            break
        # a round more for some does not touch the others: each row is asked for itself
        row = missing.nonzero().squeeze(1)
        tried = oracle.snap(centre[row] + displacement[row] * (1 + longer)) if longer else point[row]
        holds = _holds(oracle, tried, who[row])
        kept[row[holds]] = tried[holds]
        missing[row[holds]] = False
    found = known.isfinite() & ~missing
    return kept, torch.where(found, oracle.distance(kept.double(), who), torch.inf)


def sharpen(oracle: Oracle, point: Tensor, who: Tensor, *, known: Tensor) -> tuple[Tensor, Tensor]:
    """The points (n, d) and radii (n,) with no more lead than replaying needs; ``known`` (n,) are the points'
    radii, inf where nothing was found.

    A lead that is just enough may be a rounding short when the point is asked again among others, so half as
    much again is looked for, and three times as much where that does not hold. In half precision, whose
    roundings are a hundredth of a logit, just enough comes first.
    """
    point, radius = point.clone(), known.clone()
    pending = known.isfinite()
    bare = dataclasses.replace(oracle, sure=BARE)
    answers: torch.dtype = getattr(oracle.subject, "answers", oracle.dtype)
    least = () if torch.finfo(answers).bits > 16 else (1.0,)
    for sure in (share * BARE for share in (*least, 1.5, 3.0)):
        row = pending.nonzero().squeeze(1)
        if not len(row):
            break
        tried = tighten(dataclasses.replace(oracle, sure=sure), point[row], who[row])
        holds = _holds(bare, tried, who[row])
        reached = oracle.distance(tried.double(), who[row])
        nearer = holds & (reached < radius[row])
        point[row[nearer]], radius[row[nearer]] = tried[nearer], reached[nearer]
        pending[row[holds]] = False
    return point, radius


def _holds(oracle: Oracle, points: Tensor, who: Tensor) -> Tensor:
    return torch.stack([oracle.fooled(points, who) for _ in range(REPEATS)]).all(0)


def _largest(displacement: Tensor) -> Tensor:
    width = min(displacement.shape[1], COORDINATES)
    return displacement.abs().argsort(dim=1, descending=True, stable=True)[:, :width]


def _leads(oracle: Oracle, point: Tensor, who: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """(R, M): the lead with one coordinate, index (R, M), at ``share`` of its displacement."""
    count, width = index.shape
    leads = []
    for row in range(count):
        centre = oracle.centre[who[row]]
        at = centre[index[row]]
        moved = at + (point[row][index[row]] - at) * share[row]
        tried = point[row].expand(width, -1).scatter(1, index[row][:, None], moved[:, None])
        owner = who[row].expand(width)
        leads.append(oracle.lead(oracle.logits(oracle.snap(tried), owner), owner))
    return torch.stack(leads)
