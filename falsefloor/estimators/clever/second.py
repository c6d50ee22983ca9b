"""Second-order CLEVER: a radius from the curvature of a smooth margin.

Weng et al., "On extensions of CLEVER: a neural network robustness evaluation algorithm", 2018,
https://arxiv.org/abs/1810.08640. With M the largest spectral norm of the margin's Hessian in the ball,
m(x₀ + δ) ≥ m - ‖∇m‖r - Mr²/2, which stays positive up to r = 2m/(‖∇m‖ + √(‖∇m‖² + 2mM)); this form of the
root does not cancel in float32. Only for l2 and for models with second derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from falsefloor.errors import DomainError
from falsefloor.estimators.clever.ball import Budget, guide, units
from falsefloor.estimators.slopes import Outcome, View
from falsefloor.numerics import weibull
from falsefloor.numerics.balls import directions, wide, working

_POWER_STEPS = 12


def second_order(
    view: View, cap: float, budget: Budget, generator: Generator, *, fitted: bool, tick: Callable[[int], None]
) -> Outcome:
    """The radius of one input by curvature, all the view's targets; ``cap`` is the ball that is sampled.

    Raises `DomainError` where no curvature is found at any point of any target: the model is piecewise
    linear, and its margin bends where no derivative sees it.
    """
    slopes = guide(view).norms.double()
    maxima = torch.zeros(len(view.targets), budget.batches, dtype=torch.float64)
    count = budget.batches * budget.samples
    start = directions(tuple(view.centre.shape), norm="l2", count=1, generator=generator)
    seen = 0
    for size in units(budget, view.centre.numel()):
        points = view.sample(cap, size, generator)
        for slot in range(len(view.targets)):
            parts = torch.split(points, view.rows)
            found = torch.cat([_spectral(view, part, slot, start) for part in parts])
            batch = (seen + torch.arange(size)) // budget.samples
            maxima[slot].scatter_reduce_(0, batch, found.double().cpu(), "amax")
        seen += size
        tick(size)
    if not bool((maxima > 0).any()):
        raise DomainError(
            f"clever with order=2 found no curvature at {count} points: the model is piecewise linear (ReLU)"
            " or masked, and this bound does not apply to it. Use order=1."
        )
    fits = weibull.fit(maxima)
    curvature = fits.location if fitted else maxima.amax(dim=1)
    margin = view.margin.double().cpu()
    steep = slopes.cpu()
    radii = 2 * margin / (steep + (steep.square() + 2 * margin * curvature).sqrt())
    radii = torch.where(radii.isnan(), 0.0, radii)
    slot = int(radii.argmin())
    radius = min(cap, float(radii[slot]))
    reason = weibull.REASONS[int(fits.reason[slot])] if fitted else "asked for"
    evidence = replace(
        view.told(slot, radius=radius, cap=cap),
        # within the ball the slope is at most its value at x₀ plus curvature times radius
        lipschitz=float(steep[slot] + curvature[slot] * cap),
        slope=float(margin[slot] / radii[slot]) if radii[slot] > 0 else math.inf,
        sampling_radius=cap,
        distinct_maxima=float(fits.distinct[slot]),
        maximum=float(maxima[slot].amax()),
        maximum_half=float(maxima[slot, : max(1, (budget.batches + 1) // 2)].amax()),
        fit="max" if reason else "weibull",
        fit_reason=reason,
        fit_location=float(fits.location[slot]) if fitted else None,
        fit_shape=float(fits.shape[slot]) if fitted else None,
        fit_scale=float(fits.scale[slot]) if fitted else None,
    )
    running = maxima[slot].cummax(dim=0).values
    score = 2 * margin[slot] / (steep[slot] + (steep[slot].square() + 2 * margin[slot] * running).sqrt())
    curves = {"maxima": maxima[slot].tolist(), "score": score.clamp(max=cap).tolist()}
    return Outcome(radius, evidence, {"curvature": float(curvature[slot])}, curves)


def _spectral(view: View, points: Tensor, slot: int, start: Tensor) -> Tensor:
    """(P,): the largest singular value of the margin's Hessian at each point, by power iteration."""
    inputs = points.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = view.subject(inputs)
        margin = logits[:, view.label] - logits[:, int(view.targets[slot])]
        (slope,) = torch.autograd.grad(margin.sum(), inputs, create_graph=True)
    dtype = working(points.dtype)
    if not slope.requires_grad:
        return torch.zeros(len(points), dtype=dtype, device=points.device)
    vector = start.to(points).expand_as(points)
    size = torch.zeros(len(points), dtype=dtype, device=points.device)
    for _ in range(_POWER_STEPS):
        (product,) = torch.autograd.grad(slope, inputs, vector, retain_graph=True, materialize_grads=True)
        flat = product.reshape(len(points), -1).to(dtype)
        size = torch.linalg.vector_norm(flat, dim=1)
        vector = product / wide(torch.where(size > 0, size, 1.0), points).to(product.dtype)
    return torch.where(size.isfinite(), size, torch.inf)
