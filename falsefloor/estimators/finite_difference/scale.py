"""Which step to difference with: the scale spectrum around one input, its plateau, and the steps it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from falsefloor.estimators.finite_difference.secants import Probe
from falsefloor.estimators.slopes import View
from falsefloor.estimators.slopes.search import linear_crossing
from falsefloor.numerics.balls import working
from falsefloor.numerics.levels import Levels, count_levels
from falsefloor.numerics.secants import WIDEST, some_coordinates
from falsefloor.numerics.spectrum import Plateau, Spectrum, measure, plateau

POINTS = 6
"""Points whose median slope makes the spectrum."""

FAR = 20.0
"""Without steps, scales this many times as long as the ball in question say nothing about it: where one range
covers features of different units, a median width is none of the smaller ones'."""

_FIRST = 0.05
"""Share of the domain that the very first, coarse look at the input itself steps by."""


@dataclass(frozen=True)
class Scales:
    """What the scales showed in a ball of one input (N = 1), its radius, and the probe that was chosen."""

    probe: Probe
    spectrum: Spectrum
    plateau: Plateau
    levels: Levels
    ball: float


def choose_scale(
    view: View, *, cap: float, auto: bool, most: int, generator: Generator, width: float | None = None
) -> Scales:
    """Measures the spectrum of the runner-up's margin around the view's centre and reads it.

    A fixed radius, ``cap``, is the ball to look at; for an auto radius it is twice the distance at which the
    coarsely linearised margin crosses zero, at most ``cap``. ``width``: what scales are shares of, and the
    largest ball, where the domain's own says nothing. Up to ``most`` coordinates all are differenced,
    beyond that a quarter of them for the radius and an eighth for the spectrum.
    """
    subject, centre, margin = view.subject, view.centre, view.margin
    if width is None:
        width = domain_width(*subject.bounds, tuple(centre.shape), otherwise=cap)
    else:
        cap = min(cap, width)
    chosen = some_coordinates(centre.numel(), count=most, generators=[generator])
    subset = None if chosen is None else _thinned(chosen[0], max(2, most // 4)).to(centre.device)
    fewer = None if subset is None else _thinned(subset, max(2, most // 8)).unsqueeze(0)
    probe = Probe(view, _FIRST * width, subset)
    ball = near = cap
    if auto:
        coarse = probe.gradients(centre.unsqueeze(0))[:, 0].nan_to_num(0.0, 0.0, 0.0)
        near = 2 * crossing(probe, coarse)
        # a ball around a tied input would be a point, where a spectrum shows nothing
        ball = min(max(near, 1e-3 * cap), cap)
    points = view.sample(ball, POINTS, generator).unsqueeze(0)
    half = getattr(subject, "resolution", None) == torch.float16
    eps = 2.0**-11 if half else torch.finfo(working(centre.dtype)).eps
    spectrum = measure(
        view.boxed,
        points,
        torch.tensor([view.label], device=centre.device),
        view.targets[margin.argmin()].reshape(1),
        norm=view.norm,
        width=width,
        coordinates=fewer,
    )
    limit = WIDEST * width if auto else min(cap / 2, WIDEST * width)
    flat = plateau(spectrum, limit=torch.tensor([limit]), eps=eps)
    levels = count_levels(
        view.boxed,
        points,
        spectrum,
        flat,
        radius=torch.tensor([width if auto else cap]),
        eps=eps,
        generators=[generator],
        coordinates=fewer,
    )
    scale = float(spectrum.scales[0, flat.index[0]])
    if auto and scale > FAR * near and float(levels.levels[0]) == 0:
        flat = plateau(spectrum, limit=torch.tensor([near]), eps=eps)
        scale = float(spectrum.scales[0, flat.index[0]])
    return Scales(Probe(view, scale, subset), spectrum, flat, levels, ball)


def crossing(probe: Probe, at_centre: Tensor) -> float:
    """Where the margins first cross zero by their secant gradients (T, k) at the input: exactly in the box,
    or, of a subset of the coordinates, by their length alone."""
    if probe.coordinates is None:
        return linear_crossing(probe.view, at_centre.nan_to_num(0.0, 0.0, 0.0))
    lengths = probe.lengths(at_centre.unsqueeze(1), [])[:, 0, -1].double()
    return float((probe.view.margin.double() / lengths).nan_to_num(nan=math.inf).amin())


def domain_width(lo: Tensor, hi: Tensor, shape: tuple[int, ...], *, otherwise: float) -> float:
    """What scales are shares of: the median width of the coordinates that have one, else a given length."""
    widths = (hi.double() - lo.double()).expand(shape).reshape(-1)
    widths = widths[(widths > 0) & widths.isfinite()]
    return float(widths.median()) if len(widths) else otherwise


def _thinned(chosen: Tensor, count: int) -> Tensor:
    """Evenly spaced ones of random coordinates: as random as all of them."""
    return chosen[torch.arange(count) * len(chosen) // count] if count < len(chosen) else chosen
