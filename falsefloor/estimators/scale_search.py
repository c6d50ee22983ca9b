"""Which step to difference with: the scale spectrum around one input, its plateau, and the steps it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from falsefloor.api import Norm, Subject
from falsefloor.estimators.floor import linear_crossing
from falsefloor.estimators.secant_slopes import Probe
from falsefloor.numerics.balls import sample, working
from falsefloor.numerics.levels import Levels, count_levels
from falsefloor.numerics.secants import WIDEST, some_coordinates
from falsefloor.numerics.spectrum import Plateau, Spectrum, measure, plateau

POINTS = 6
"""Points whose median slope makes the spectrum."""

_FIRST = 0.05
"""Share of the domain that the very first, coarse look at the input itself steps by."""


@dataclass(frozen=True)
class Scales:
    """What the scales showed, for one input (N = 1), and the probe with the scale that was chosen."""

    probe: Probe
    spectrum: Spectrum
    plateau: Plateau
    levels: Levels


def choose_scale(
    subject: Subject,
    centre: Tensor,
    label: int,
    others: Tensor,
    margin: Tensor,
    *,
    norm: Norm,
    cap: float,
    auto: bool,
    most: int,
    rows: int,
    generator: Generator,
) -> Scales:
    """Measures the spectrum of the runner-up's margin around ``centre`` (*input) and reads it.

    A fixed radius is the ball to look at; for an auto radius it is twice the distance at which the coarsely
    linearised margin crosses zero. Up to ``most`` coordinates all are differenced, beyond that a quarter of
    them for the radius and an eighth for the spectrum.
    """
    lo, hi = subject.bounds
    shape, size = tuple(centre.shape), centre.numel()
    width = domain_width(lo, hi, shape, otherwise=cap)
    chosen = some_coordinates(size, count=most, generators=[generator])
    subset = None if chosen is None else _thinned(chosen[0], max(2, most // 4)).to(centre.device)
    fewer = None if subset is None else _thinned(subset, max(2, most // 8)).unsqueeze(0)
    probe = Probe(subject, centre, label, others, margin, norm, max(1, rows), _FIRST * width, subset)
    ball = cap
    if auto:
        coarse = probe.gradients(centre.unsqueeze(0))[:, 0].nan_to_num(0.0, 0.0, 0.0)
        if subset is None:
            ball = linear_crossing(margin, coarse.reshape(-1, *shape), centre, lo, hi, norm=norm)
        else:
            lengths = probe.lengths(coarse.unsqueeze(1), [])[:, 0, -1].double()
            ball = float((margin.double() / lengths).nan_to_num(nan=math.inf).amin())
        # a ball around a tied input would be a point, where a spectrum shows nothing
        ball = min(max(2 * ball, 1e-3 * cap), cap)
    points = sample(
        centre.unsqueeze(0), norm=norm, radius=ball, count=POINTS, generators=[generator], lo=lo, hi=hi
    )
    eps = torch.finfo(working(centre.dtype)).eps if centre.dtype != torch.float16 else 2.0**-11
    spectrum = measure(
        subject,
        points,
        torch.tensor([label], device=centre.device),
        others[margin.argmin()].reshape(1),
        norm=norm,
        lo=lo,
        hi=hi,
        width=width,
        rows=max(1, rows),
        coordinates=fewer,
    )
    limit = WIDEST * width if auto else min(cap / 2, WIDEST * width)
    flat = plateau(spectrum, limit=torch.tensor([limit]), eps=eps)
    levels = count_levels(
        subject,
        points,
        spectrum,
        flat,
        radius=torch.tensor([width if auto else cap]),
        lo=lo,
        hi=hi,
        rows=max(1, rows),
        eps=eps,
        generators=[generator],
        coordinates=fewer,
    )
    scale = float(spectrum.scales[0, flat.index[0]])
    probe = Probe(subject, centre, label, others, margin, norm, max(1, rows), scale, subset)
    return Scales(probe, spectrum, flat, levels)


def domain_width(lo: Tensor, hi: Tensor, shape: tuple[int, ...], *, otherwise: float) -> float:
    """What scales are shares of: the median width of the coordinates that have one, else a given length."""
    widths = (hi.double() - lo.double()).expand(shape).reshape(-1)
    widths = widths[(widths > 0) & widths.isfinite()]
    return float(widths.median()) if len(widths) else otherwise


def _thinned(chosen: Tensor, count: int) -> Tensor:
    """Evenly spaced ones of random coordinates: as random as all of them."""
    return chosen[torch.arange(count) * len(chosen) // count] if count < len(chosen) else chosen


__all__ = ["POINTS", "Scales", "choose_scale", "domain_width"]
