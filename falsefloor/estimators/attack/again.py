"""The attack asked again, from starts that somebody chose, inside balls that claims stand on.

A walk of minimum norm stops at the first boundary it meets; inside a fixed ball the same gradient goes on.
Behind soft steps in l2 (tanh staircases and waves on two digits models) 16 such walks of 40 steps found a
point in 64 of 76 balls, 0.5 to 9 % larger than the best known distance; without noise in 56.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from falsefloor.estimators.attack.campaign import begin
from falsefloor.estimators.attack.descent import within
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import move_back, tighten
from falsefloor.gradients.straight_through import StraightThrough

if TYPE_CHECKING:
    from falsefloor.api import Context, Norm, Subject


def again(
    subject: Subject,
    inputs: Tensor,
    labels: Tensor,
    starts: Tensor,
    balls: Tensor,
    *,
    steps: int,
    norm: Norm,
    context: Context,
) -> Tensor:
    """How far (N,) walks from ``starts`` (N, M, *input) inside ``balls`` (N, M) get, or inf where none meets
    another class. Through autograd and, where its gradient is another, straight-through.
    """
    oracle = Oracle.of(subject, inputs, labels, norm=norm, rows=context.rows)
    who = torch.arange(len(inputs), device=inputs.device)
    flat, repaired = starts.flatten(2).to(oracle.centre), StraightThrough()(subject)
    radius, point = torch.full_like(oracle.centre[:, 0], torch.inf), oracle.centre.clone()
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        context.progress(done, 3 * steps, radius=radius)

    for function in (subject, repaired):
        place = who if function is subject else who[_apart(oracle, subject, repaired, flat)]
        if len(place):
            draws = [context.generators[at] for at in place.tolist()]
            found = within(oracle, function, flat[place], place, balls[place], draws, steps=steps, tick=tick)
            nearer = found.radius < radius[place]
            radius[place[nearer]], point[place[nearer]] = found.radius[nearer], found.point[nearer]
    place = who[radius.isfinite()]
    if not len(place):
        return radius
    exact = begin(oracle, subject, point[place][:, None], place, steps=max(4, steps // 2), tick=tick)
    nearer = exact.radius < radius[place]
    point[place[nearer]] = exact.point[nearer]
    settled = tighten(oracle, move_back(oracle, tighten(oracle, point[place], place), place), place)
    return radius.index_copy(0, place, oracle.distance(settled, place))


def _apart(
    oracle: Oracle, plain: Callable[[Tensor], Tensor], repaired: Callable[[Tensor], Tensor], flat: Tensor
) -> Tensor:
    """(N,): whether the two gradients differ at one of the starts (N, M, d)."""
    count, width, size = flat.shape
    owner = torch.arange(count, device=flat.device).repeat_interleave(width)
    leading = torch.full_like(owner, -1)
    first, second = (
        oracle.slope(function, flat.reshape(-1, size), owner, leading)[1] for function in (plain, repaired)
    )
    apart = (first - second).abs().amax(1) > 1e-5 * torch.maximum(first.abs(), second.abs()).amax(1)
    return apart.reshape(count, width).any(1)
