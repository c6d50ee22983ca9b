"""Around a claim and its witness, once they are known: shells nobody aimed at, the same answer twice.

What an input answers alone, in company, in another order or later is asked at the input by
`falsefloor.subjects.observe.repeats`; a subject may be faithful there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from falsefloor.numerics.balls import directions, fold, wide
from falsefloor.numerics.margins import predicted
from falsefloor.numerics.shares import Ball, largest_share
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.repeats import ROUNDINGS, reordered
from falsefloor.subjects.sightings import Sightings
from falsefloor.subjects.subject import ModelSubject

INNER = 0.5
"""Share of a claim from which on points lie, no two equally far and more towards its surface, where most of a
ball's volume is: what is no thicker than a hundredth of the claim is met there too."""
LEAST, MOST = 120, 2000
"""Points, the most where inputs are small: 2,000 meet a region that holds one in a thousand six times in
seven. Estimators look at the surface of balls that are larger than what they then claim."""
ELEMENTS = 1 << 19
"""Numbers of an input's points: from 263 coordinates on fewer than `MOST`, from 4,370 on `LEAST`."""
TWICE = 3
"""Of the outermost points, those that are asked in other ways."""
INSIDE = (1.0, 0.9)
"""And points on the way to a witness, as shares."""
FAR = (4.0, 8.0, 16.0) * 3
"""And points this many claims away, folded back into the box, beside three of its corners and a few of its
points. Half of the box may answer in another way, and no random direction in l2 come near it inside the
claim: 64 coordinates leave an eighth of it along any one."""
NUDGED = 4
"""How often a point that moved is moved by the last bit of each coordinate, up or down."""
DRAWN, MEMORY = 1000, 1 << 25
"""Uniform points in a claim's ball: less than 0.3 % of it answers otherwise where all have the input's class;
and their numbers at most: a very large input gets fewer points."""


@dataclass(frozen=True)
class Moves:
    """Of N inputs: how far a point's logits moved at most, relative, between repeats and between batches; 0
    for what may be rounding."""

    repeats: Tensor
    batch: Tensor

    def and_then(self, other: Moves) -> Moves:
        return Moves(torch.maximum(self.repeats, other.repeats), torch.maximum(self.batch, other.batch))


def around(
    subject: ModelSubject,
    inputs: Tensor,
    generators: Sequence[Generator],
    *,
    radius: Tensor,
    witness: Tensor | None,
    norm: str,
    rows: int,
) -> Moves:
    """Ask points on shells inside ``radius`` (N,) around inputs (N, *input); some of them, some far out, and
    some towards ``witness`` (N, *input), again: alone, in another order and at last as at first."""
    guard = Guarded(subject, rows=rows)
    lo, hi = subject.bounds
    shape = tuple(inputs.shape[1:])
    total = max(LEAST, min(MOST, ELEMENTS // max(1, inputs[0].numel())))
    ways = torch.stack(
        [directions(shape, norm=norm, count=total, generator=drawn) for drawn in generators]
    ).to(inputs.device)
    if norm == "linf":
        # every second one anywhere on a face of the cube, and not in a corner
        inner = torch.stack([torch.rand(total, *shape, generator=g) for g in generators])
        faces = (ways * inner.to(ways))[:, 1::2]
        longest = faces.flatten(2).abs().amax(2)
        ways[:, 1::2] = faces / wide(longest, faces)
    claims = radius.to(ways).reshape(-1, 1, *([1] * len(shape)))

    def at(shares: Tensor, ways: Tensor) -> Tensor:
        step = claims * shares.reshape(1, -1, *([1] * len(shape))) * ways
        return fold(inputs[:, None] + step.to(inputs.dtype), lo, hi)

    depth = (torch.arange(total, device=inputs.device) + 0.5) / total
    points = at(1 - (1 - INNER) * depth**2, ways)
    answered = guard(points)
    picked = [points[:, :TWICE], at(torch.tensor(FAR, device=inputs.device), ways[:, -len(FAR) :])]
    if bool((lo.isfinite() & hi.isfinite()).all()):
        picked.append(_of_the_box(inputs, lo, hi, generators))
    if witness is not None:
        picked += [(inputs + share * (witness - inputs)).unsqueeze(1) for share in INSIDE]
    return _twice(guard, torch.cat(picked, 1), scale=_largest(answered))


def _of_the_box(inputs: Tensor, lo: Tensor, hi: Tensor, generators: Sequence[Generator]) -> Tensor:
    """(N, 6, *input): three of its corners and three points of the box beside inputs (N, *input)."""
    low, high = lo.expand(inputs.shape), hi.expand(inputs.shape)
    opposite = torch.where(inputs - low > high - inputs, low, high)
    drawn = torch.stack([torch.rand(3, *inputs.shape[1:], generator=g) for g in generators]).to(inputs)
    inner = low[:, None] + drawn * (high - low)[:, None]
    return torch.cat([torch.stack([low, high, opposite], 1), inner], 1)


def _twice(guard: Guarded, points: Tensor, *, scale: Tensor) -> Moves:
    """Points (N, P, *input) asked together, alone, in reverse, and together again, twice: what answers every
    other call in another way might be in step. scale: (N,), of logits around each input."""
    count, each = points.shape[:2]
    flat, scale = points.flatten(0, 1), scale.repeat_interleave(each)
    first = guard(flat[None])[0]
    company = guard(flat.flip(0)[None])[0].flip(0)
    alone = guard.regrouped(flat)
    again = torch.stack([_moved(first, guard(flat[None])[0], scale) for _ in range(2)]).amax(0)
    batch = torch.maximum(_moved(first, company, scale), _moved(first, alone, scale))
    moves = again, _beyond(batch, guard, flat, scale)
    return Moves(*(each_point.reshape(count, each).amax(1) for each_point in moves))


def forgotten(subject: ModelSubject, seen: Sightings, *, of: Sequence[int], rows: int) -> Moves:
    """What the subject was seen to answer and does not answer now: of sightings of another class around
    inputs ``of``, none of which stands, by how much the label leads now, alone and in company."""
    guard = Guarded(subject, rows=rows)
    count = len(seen.inputs)
    repeats = torch.zeros(count, dtype=torch.float64, device=seen.inputs.device)
    batch = repeats.clone()
    for at in of:
        known = seen.changed.distance[at] < torch.inf
        points = seen.changed.points[at][known].reshape(-1, *seen.inputs.shape[1:])
        if not len(points):
            continue
        label = seen.labels[at : at + 1].expand(len(points))
        scale = _largest(guard(seen.inputs[at : at + 1, None])).expand(len(points))
        asked = guard(points[None])[0], guard.regrouped(points)
        together, alone = (_lead(logits, label, scale) for logits in asked)
        # by so much the label leads now in every way, where another class led
        least = torch.minimum(together, alone)
        repeats[at] = _beyond(least, guard, points, scale).amin()
        apart = torch.maximum(torch.minimum(together, -alone), torch.minimum(-together, alone))
        batch[at] = _beyond(apart, guard, points, scale).amax()
    return Moves(repeats, batch)


def _beyond(moved: Tensor, guard: Guarded, points: Tensor, scale: Tensor) -> Tensor:
    """(R,): what moved at points (R, *input) by more than rounding does, which a steep model magnifies: it
    moves the logits as far where the point moves by its own last bit. 0 for the rest."""
    beyond = moved > reordered(guard.subject)
    at = beyond.nonzero().squeeze(1)
    if len(at):
        lo, hi = guard.subject.bounds
        there = points[at]
        signs = torch.randint(0, 2, (NUDGED, *there.shape), generator=torch.Generator().manual_seed(0))
        up, down = (torch.nextafter(there, torch.full_like(there, end)) for end in (torch.inf, -torch.inf))
        nudged = fold(torch.where(signs.to(there.device) > 0, up, down), lo, hi)
        here = guard.first(there)[0]
        moves = [_moved(here, guard.first(one)[0], scale[at]) for one in nudged]
        beyond[at] = moved[at] > ROUNDINGS * torch.stack(moves).amax(0)
    return torch.where(beyond, moved, 0.0)


def _largest(logits: Tensor) -> Tensor:
    """(N,): the largest of logits (N, M, K): those at one point nearly vanish where one logit decides."""
    return logits.double().abs().nan_to_num(0.0, 0.0, 0.0).amax((1, 2))


def _lead(logits: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """(R,): by how much the label leads, relative to the largest logit; NaN says nothing."""
    exact = logits.double()
    own = exact.gather(1, labels[:, None])
    rest = exact.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
    return ((own - rest).squeeze(1) / torch.maximum(exact.abs().amax(1), scale)).nan_to_num(0.0, 0.0, 0.0)


def _moved(first: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """(R,): how far logits (R, K) moved, relative to the largest; infinite where one has no answer."""
    one, two = first.double(), other.double()
    same = ((one == two) | (one.isnan() & two.isnan())).all(1)
    largest = torch.maximum(one.abs().amax(1), scale)
    moved = ((one - two).abs().amax(1) / largest).nan_to_num(torch.inf, torch.inf)
    return torch.where(same, 0.0, moved)


def share_of_ball(
    subject: ModelSubject,
    point: Tensor,
    label: Tensor,
    generator: Generator,
    *,
    norm: str,
    radius: float,
    rows: int,
) -> dict[str, float]:
    """How much of the ball of ``radius`` around an input (*input) with a label () answers otherwise: what
    `held` is worth, as evidence.

    Uniform points in the ball and the box, the same ones for every subject and estimator of an input up to
    their radius. Where none of n has another class, at 95 % less than 3/n of the ball inside the domain has
    (``share_bound``): a bound on a share, not on the nearest point. Those that have are sightings like any
    others, and refute.
    """
    ball = Ball.around(point, subject.bounds, norm=norm, radius=radius)
    points = ball.points(ball.uniform(max(1, min(DRAWN, MEMORY // max(1, ball.latent))), generator))
    drawn, other = len(points), 0
    if drawn:
        logits, _ = Guarded(subject, rows=rows).first(points.to(point).reshape(drawn, *point.shape))
        labels = label.reshape(1).expand(drawn)
        other = int(((predicted(logits, labels) != labels) | ~logits.isfinite().all(1)).sum())
    told = {"share_points": drawn, "share_other": other, "share_bound": largest_share(other, drawn)}
    return {name: float(value) for name, value in told.items()}
