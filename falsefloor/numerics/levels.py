"""How many steps a unit of input holds, and which share of a step its riser takes.

Apart from the spectrum because it answers another question: not how steep the function is beneath the steps,
but how wide the steps are. The knee of the spectrum does not tell (it depends on the number of coordinates).
The share p(h) of single-coordinate differences that move at all does, roughly: behind c levels a unit whose
risers take a share δ (0 for jumps) it is 2·c·h + δ. That costs nothing, but has the noise of a few hundred
counts; so it is the guess with which `falsefloor.numerics.risers` goes and looks at single steps.

Shapes as in `falsefloor.numerics.spectrum`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from falsefloor.numerics.risers import walk_steps
from falsefloor.numerics.secants import Boxed
from falsefloor.numerics.spectrum import RESOLVED, Plateau, Spectrum

WINDOW = (0.04, 0.75)
"""Least shares of moved differences that speak of steps: above counting noise, below those of a plain
function. A ramp that slopes on more than three quarters of the domain passes for one."""

FEWEST = 3.0
"""A ball that holds fewer steps than this does not say how wide they are."""

_MOVED = 0.05
"""A difference has moved when it shows this share of the coordinate's plateau slope."""

_COUNTED = 48
"""Differences that a scale's share must rest on."""


@dataclass(frozen=True)
class Levels:
    """levels: (N,) steps per unit of input, 0 where there are none, NaN where refused. ramp_share: (N,), δ, 1
    where there are no steps, NaN where risers differ. reason: N words."""

    levels: Tensor
    ramp_share: Tensor
    reason: list[str]


def count_levels(
    asked: Boxed,
    points: Tensor,
    spectrum: Spectrum,
    plateau: Plateau,
    *,
    radius: Tensor,
    eps: float,
    generators: Sequence[Generator],
    coordinates: Tensor | None = None,
) -> Levels:
    """Levels for points (N, P, *input) whose spectrum is known; ``radius`` (N,) must hold at least three
    steps.

    Costs nothing where the spectrum shows no steps, else some 2,700 forwards an input. The lines lie anywhere
    in the domain, one coordinate at a time, because a small ball beside a face holds too few whole steps.
    Refuses, in words, where there is no plateau to compare with, where the ball holds fewer than three steps,
    and where lines disagree: a float's steps have no one width, and steps in the output are met more often
    along steep coordinates. δ is that of a straight riser as steep as the real one is at half its height.
    """
    counts = []
    for n in range(len(radius)):
        moves = spectrum.moves[n].double().cpu()
        index = int(plateau.index[n])
        usual = moves[:, index].median(0).values
        ulp = eps * float(spectrum.magnitude[n])
        if not bool(plateau.found[n]):
            counts.append((math.nan, math.nan, "refused: no plateau"))
            continue
        shares = _shares(spectrum.scales[n].tolist()[: index + 1], moves, usual, RESOLVED * ulp)
        guess, reason = _guess(shares)
        if reason != "steps":
            counts.append((guess, 1.0 if guess == 0 else math.nan, reason))
            continue
        picked = None if coordinates is None else coordinates[n]
        levels, share, reason = walk_steps(
            asked, points[n], usual, guess, ulp=ulp, generator=generators[n], picked=picked
        )
        if float(radius[n]) * levels < FEWEST:
            levels, share, reason = math.nan, math.nan, "refused: fewer than three steps"
        counts.append((levels, share, reason))
    numbers = torch.tensor(
        [count[:2] for count in counts], dtype=torch.float64, device=spectrum.median.device
    )
    return Levels(levels=numbers[:, 0], ramp_share=numbers[:, 1], reason=[count[2] for count in counts])


def _shares(scales: list[float], moves: Tensor, usual: Tensor, noise: float) -> list[tuple[float, float]]:
    """(h, p(h)) from moves (P, A, k) against coordinates' usual slopes (k,), where enough can be counted."""
    found: list[tuple[float, float]] = []
    for index, scale in enumerate(scales):
        # a coordinate that hardly matters, or whose difference would be rounding, says nothing at this scale
        usable = (usual > 0.1 * usual.max()) & (usual * 2 * scale > noise)
        moved = moves[:, index, usable] > _MOVED * usual[usable]
        if moved.numel() >= _COUNTED:
            found.append((scale, float(moved.double().mean())))
    return found


def _guess(shares: list[tuple[float, float]]) -> tuple[float, str]:
    """(levels, reason) from where p(h) = 2·levels·h + δ is half way from δ, its least, to 1."""
    if not shares:
        return math.nan, "refused: nothing above rounding"
    least = min(moved for _, moved in shares)
    if least >= WINDOW[1]:
        return 0.0, "no steps"
    if max(moved for _, moved in shares) <= WINDOW[0]:
        return math.nan, "refused: fewer than three steps"
    middle = (1 + least) / 2
    above = next((k for k, (_, moved) in enumerate(shares) if moved >= middle), None)
    if above is None or above == 0:
        return math.nan, "refused: too few scales show steps"
    (fine, below), (coarse, beyond) = shares[above - 1], shares[above]
    part = (middle - below) / (beyond - below)
    return (middle - least) / (2 * (fine + part * (coarse - fine))), "steps"
