"""A quick adversarial point of a known piecewise linear network: the ceiling that an exact solver starts
from.

Without a start the solver's big-M constants cover the whole domain and it is a hundred times slower. The
search only has to be near: the solver improves on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from falsefloor.estimators.milp.network import Question
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.nodes import forward
from falsefloor.numerics.support import vertex

STEPS = 30
_BISECTIONS = 50


def search(asked: Question, targets: list[int]) -> tuple[Tensor, Tensor]:
    """Points (T, d), one a target, where the target's logit reaches the label's, and their distances (T,).

    The distance is inf where none was found. Each step goes to the point nearest to the input at which the
    linearised margin vanishes (DeepFool, Moosavi-Dezfooli et al. 2016, here inside the box and seen from the
    input, as in FAB, Croce & Hein 2020), then back along the segment as far as the class stays changed.
    """
    centre, label, lo, hi = asked.centre, asked.label, asked.lo, asked.hi
    wanted = torch.tensor(targets)
    best = centre.expand(len(targets), -1).clone()
    distance = torch.full((len(targets),), torch.inf, dtype=torch.float64)
    points = best.clone()
    for step in range(STEPS):
        inputs = points.clone().requires_grad_(True)
        with torch.enable_grad():
            logits = forward(asked.network.layers, inputs)
            margin = logits[:, label] - logits.gather(1, wanted.unsqueeze(1)).squeeze(1)
            (slopes,) = torch.autograd.grad(margin.sum(), inputs)
        at_centre = margin.detach() + (slopes * (centre - points)).sum(dim=1)
        move = _to_hyperplane(asked, slopes, at_centre)
        reached = (centre + 1.02 * move).clamp(lo, hi)
        shrunk, found = _back(asked, reached, wanted)
        length = torch.where(found, vector_norm(shrunk - centre, asked.norm), torch.inf)
        better = length < distance
        best, distance = torch.where(better.unsqueeze(1), shrunk, best), torch.minimum(length, distance)
        # between where the line leads and the best so far: the former alone may run in circles
        lean = 0.5 if step < STEPS // 2 else 0.8
        points = torch.where(distance.isfinite().unsqueeze(1), lean * best + (1 - lean) * reached, reached)
    return best, distance


def _to_hyperplane(asked: Question, slopes: Tensor, at_centre: Tensor) -> Tensor:
    """The smallest moves (T, d) inside the box by which the linear margins fall by at_centre (T,); else the
    largest.

    By halving and not by `numerics.projections.to_plane`: the two differ in the last bits, and the solver
    that starts from here then moves exact distances by 1e-15.
    """
    middle, lo, hi, norm = asked.centre.unsqueeze(0), asked.lo, asked.hi, asked.norm
    low = torch.zeros_like(at_centre)
    high = torch.full_like(at_centre, float(vector_norm((hi - lo).unsqueeze(0), norm)))
    for _ in range(_BISECTIONS):
        half = (low + high) / 2
        move = vertex(slopes, middle, lo, hi, norm=norm, rho=half)
        falls = -(slopes * move).sum(dim=1) >= at_centre
        low, high = torch.where(falls, low, half), torch.where(falls, half, high)
    return vertex(slopes, middle, lo, hi, norm=norm, rho=high)


def _back(asked: Question, points: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Points (T, d) drawn towards the centre as far as the target stays ahead, and whether it was at all."""

    def ahead(candidates: Tensor) -> Tensor:
        logits = asked.network(candidates)
        return logits.gather(1, wanted.unsqueeze(1)).squeeze(1) >= logits[:, asked.label]

    move = points - asked.centre
    found = ahead(points)
    low, high = torch.zeros(len(points), dtype=torch.float64), torch.ones(len(points), dtype=torch.float64)
    for _ in range(_BISECTIONS):
        half = (low + high) / 2
        falls = ahead(asked.centre + half.unsqueeze(1) * move)
        low, high = torch.where(falls, low, half), torch.where(falls, half, high)
    return asked.centre + high.unsqueeze(1) * move, found
