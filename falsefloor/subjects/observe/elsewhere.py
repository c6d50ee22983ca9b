"""Where no gradient at the input looks: hidden units, other inputs, slow waves.

Gradients, pixel axes, random signs and corners are what every other stage steps along, and a region that lies
behind one unit, or across a faint pattern, is met by none of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.projections import shrink, to_plane
from falsefloor.numerics.secants import Boxed
from falsefloor.numerics.units import ROWS, Switches, switches
from falsefloor.subjects.observe.counterexample import take
from falsefloor.subjects.observe.site import Site

UNITS = 48
PAST = (1.05, 1.5, 2.5, 4.0)
"""How far past its threshold a unit is taken, as shares of the way: what lies behind it may rise slowly."""
FOLLOWED, ROUNDS, BEYOND = 12, 2, 1.02
"""From so many of the most promising points the slope there is followed, so often, so far past its crossing:
behind a switched unit the gradient knows of it."""
NEAREST = 4
"""Inputs of other classes gone towards, beside each class's mean."""
USED = 256
"""Other inputs at most."""
WAVES = 4
"""Waves along an axis: frequencies 0 to 3."""
LENGTHS = (0.4, 0.2, 0.1, 0.05, 0.025, 0.0125)
"""Of steps, as shares of the domain's diameter."""


def units(site: Site, others: Tensor) -> Switches:
    """The units that the least step could switch at each of the site's inputs; others (R, *input) are used as
    inputs are."""
    others, before = others[:USED], site.subject.forward_queries
    asked = Boxed(site.subject.together, *site.subject.bounds, site.rows)
    found = switches(asked, site.inputs, norm=site.norm, count=site.part(UNITS), others=others)
    # what the others were asked for is no input's own
    shared = -(-len(others) // ROWS) * ROWS
    site.guard.forwards += max(0, site.subject.forward_queries - before - shared)
    site.guard.backwards += len(site.inputs) * found.gap.shape[1]
    return found


def follow(site: Site, points: Tensor, logits: Tensor) -> Tensor:
    """From points (N, M, *input) with logits (N, M, K), those where a margin fell fastest on the way: where
    the slope at each crosses zero nearest to the input, (N, FOLLOWED, *input)."""
    lo, hi = site.subject.bounds
    margins = site.of_all(logits).nan_to_num(nan=torch.inf)
    start = site.margins[:, None]
    share = torch.where(margins < start, start / (start - margins), torch.inf)
    nearest, rival = share.min(2)
    order = (nearest * site.away(points)).argsort(dim=1, stable=True)[:, :FOLLOWED]
    at, rival = take(points, order), rival.gather(1, order)
    each = order.shape[1]
    there = margins.gather(1, order[:, :, None].expand(-1, -1, margins.shape[2]))
    there = there.gather(2, rival[:, :, None]).flatten()
    slope = site.slopes(at, against=rival).flatten(0, 1).flatten(1).float().nan_to_num(0.0, 0.0, 0.0)
    centre = site.inputs.repeat_interleave(each, 0).flatten(1).float()
    moved = at.flatten(0, 1).flatten(1).float() - centre
    fall = there.float().nan_to_num(0.0, 0.0, 0.0) - (slope * moved).sum(1)
    low, high = (bound.to(centre).expand(site.inputs.shape[1:]).reshape(1, -1) for bound in (lo, hi))
    step = to_plane(slope, BEYOND * fall, centre - low, high - centre, norm=site.norm)
    return torch.minimum(torch.maximum(centre + step, low), high).reshape(at.shape).to(at.dtype)


def towards(site: Site, others: Tensor, classes: Tensor) -> Tensor:
    """Points (N, M, *input) on the way to others (R, *input) of another class (R,), the nearest and the
    class's mean; the input itself where there are fewer. M is the same for all."""
    if not len(others):
        return site.inputs.unsqueeze(1)[:, :0]
    kept = others[:USED].flatten(1).float()
    classes = classes[:USED]
    start = site.inputs.flatten(1).float()
    of_means = torch.tensor(sorted(set(classes.tolist())), device=classes.device)
    means = [kept[classes == one].mean(0) for one in of_means.tolist()]
    ends = torch.cat([kept, *(mean[None] for mean in means)])
    of_ends = torch.cat([classes, of_means])
    away = torch.stack([vector_norm(ends - x, site.norm) for x in start])
    away = torch.where(of_ends == site.labels[:, None], torch.inf, away)
    near = away[:, : len(kept)].argsort(dim=1, stable=True)[:, :NEAREST]
    mean = torch.arange(len(kept), len(ends), device=near.device).expand(len(start), -1)
    chosen = torch.cat([near, mean], 1)
    known = away.gather(1, chosen) < torch.inf
    moved = torch.where(known[:, :, None], ends[chosen] - start[:, None], 0.0).flatten(0, 1)
    length = vector_norm(moved, site.norm).clamp(min=1e-30)
    points = [
        start.repeat_interleave(chosen.shape[1], 0)
        + shrink(moved, (share * site.diameter / length).clamp(max=1.0), norm=site.norm)
        for share in LENGTHS
    ]
    return site.inside(torch.stack(points, 1).reshape(len(start), -1, *site.inputs.shape[1:]))


def waves(site: Site) -> Tensor:
    """Points (N, M, *input) along the slowest cosines over an image, or a row, up and down."""
    shape = site.inputs.shape[1:]
    ways = _cosines(shape).to(site.inputs)
    ways = torch.cat([ways, -ways])
    centre = site.inputs.repeat_interleave(len(ways), 0)
    slopes = ways.repeat(len(site.inputs), *([1] * len(shape)))
    points = [
        site.downhill(centre, slopes, share * site.diameter)
        for share in LENGTHS[:: len(LENGTHS) // site.part(len(LENGTHS))]
    ]
    return torch.stack(points, 1).reshape(len(site.inputs), -1, *shape)


def _cosines(shape: Sequence[int]) -> Tensor:
    """(W, *shape): products of cosines over the last two dimensions, one over the last where it is alone."""
    sides = list(shape[-2:])
    rows = []
    for size in sides:
        place = (torch.arange(size) + 0.5) / size
        rows.append(torch.cos(math.pi * torch.arange(min(WAVES, size))[:, None] * place))
    if not rows:
        return torch.ones(1, *shape)
    product = rows[0] if len(rows) == 1 else rows[0][:, None, :, None] * rows[1][None, :, None, :]
    flat = product.reshape(-1, *sides)
    return flat.reshape(len(flat), *([1] * (len(shape) - len(sides))), *sides).expand(-1, *shape)
