"""Which share of a ball inside the box has a property: by uniform points, and by multi-level splitting.

Both draw from one picture of the uniform distribution: points are a function of standard normal numbers (the
latent). For l2 they are the first d of d + 2 coordinates of a uniform point of the sphere; for l1, d of d + 1
normalised exponential spacings with signs; for linf, each coordinate's own interval. So a Markov chain that
keeps the normal distribution (Cotter et al. 2013, preconditioned Crank-Nicolson) keeps the uniform one, in
any dimension. What leaves the box is rejected, not folded; a coordinate that stands on a face of the box has
one side only and takes that, which is the same by symmetry and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

CONFIDENCE = 0.95
PROPOSED = 20
"""Proposals for each uniform point that is wanted: beyond it, what was accepted has to do."""
PART = 1 << 22
"""Numbers proposed at once: 16 MB."""


@dataclass(frozen=True)
class Ball:
    """The ball of ``radius`` around centre (d,) inside the box lo, hi (d,); in float32."""

    centre: Tensor
    lo: Tensor
    hi: Tensor
    norm: str
    radius: float

    @classmethod
    def around(cls, point: Tensor, bounds: tuple[Tensor, Tensor], *, norm: str, radius: float) -> Ball:
        """Around a point (*input) in a box whose corners broadcast to it."""
        ends = (end.detach().cpu().float().expand(point.shape).reshape(-1) for end in (point, *bounds))
        centre, lo, hi = ends
        return cls(centre, lo, hi, norm, radius)

    @property
    def latent(self) -> int:
        """How many normal numbers make one point."""
        return len(self.centre) + {"linf": 0, "l2": 2, "l1": 1}[self.norm]

    def points(self, normal: Tensor) -> Tensor:
        """Points (P, d) of standard normal numbers (P, latent): uniform in the ball, some outside the box."""
        size = len(self.centre)
        if self.norm == "linf":
            low = torch.maximum(self.lo, self.centre - self.radius)
            high = torch.minimum(self.hi, self.centre + self.radius)
            return torch.minimum(low + (high - low) * torch.special.ndtr(normal), high)
        if self.norm == "l2":
            move = normal[:, :size] / torch.linalg.vector_norm(normal, dim=1, keepdim=True)
        else:
            # |laplace| is exponential: -log of the share of the normal distribution beyond |z|
            length = -(torch.special.log_ndtr(-normal.abs()) + math.log(2))
            move = normal[:, :size].sign() * length[:, :size] / length.sum(dim=1, keepdim=True)
        below, above = self.centre <= self.lo, self.centre >= self.hi
        move = torch.where(below, move.abs(), torch.where(above, -move.abs(), move))
        return self.centre + self.radius * torch.where(below & above, 0.0, move)

    def inside(self, points: Tensor) -> Tensor:
        """(P,) whether points lie in the box."""
        return ((points >= self.lo) & (points <= self.hi)).all(dim=1)

    def uniform(self, count: int, generator: Generator) -> Tensor:
        """Latents (m, latent) of up to ``count`` points inside; fewer, or none, in a corner of the box."""
        found: list[Tensor] = []
        have, left = 0, PROPOSED * count
        while have < count and left > 0:
            take = min(left, count, max(1, PART // self.latent))
            normal = torch.randn(take, self.latent, generator=generator)
            kept = normal[self.inside(self.points(normal))][: count - have]
            found.append(kept)
            have, left = have + len(kept), left - take
        return torch.cat(found)


def largest_share(other: int, drawn: int) -> float:
    """The upper bound at `CONFIDENCE` of a share that ``other`` of ``drawn`` uniform points fell in.

    Clopper & Pearson 1934; with other = 0 it is 1 - 0.05^(1/n), less than 3/n. 1 where nothing was drawn.
    """
    if other >= drawn:
        return 1.0
    if other == 0:
        return float(1.0 - (1 - CONFIDENCE) ** (1 / drawn))
    ways = [
        math.lgamma(drawn + 1) - math.lgamma(k + 1) - math.lgamma(drawn - k + 1) for k in range(other + 1)
    ]
    low, high = other / drawn, 1.0
    for _ in range(50):
        half = (low + high) / 2
        low, high = (half, high) if _at_most(ways, drawn, half) > 1 - CONFIDENCE else (low, half)
    return high


def _at_most(ways: list[float], drawn: int, share: float) -> float:
    """The binomial probability of less than ``len(ways)`` of ``drawn``; ways: the logarithms of how many
    there are to choose so many."""
    if not 0 < share < 1:
        return float(share <= 0)
    here, not_here = math.log(share), math.log1p(-share)
    return math.fsum(math.exp(way + k * here + (drawn - k) * not_here) for k, way in enumerate(ways))


@dataclass(frozen=True)
class Split:
    """share: the estimate, an upper limit of it where nothing was found. low, high: about 95 % of such
    estimates are this near. point (d,): the one that is deepest in, None where none was found."""

    share: float
    low: float
    high: float
    levels: int
    queries: int
    point: Tensor | None


KEPT = 0.1
"""Share of the particles that a level keeps (Webb et al. 2019, section 5)."""
WIDTH = (1e-7, 1.0)
"""Of a move, in latents: float32 has none smaller. In a slab of 1e-6 of a ball, 5e-3 went nowhere."""
ACCEPTED = ((0.3, 1.2), (0.1, 0.8), (0.0, 0.4))
"""What a move's width is multiplied by where more than this share of the particles took it."""
SLOWER = 5.0
"""How many times more an estimate varies than that of independent particles, at most that was seen."""


def split(
    score: Callable[[Tensor], Tensor],
    ball: Ball,
    *,
    particles: int,
    moves: int,
    levels: int,
    generator: Generator,
) -> Split:
    """The share of a ball where score (P, d) -> (P,) is positive, by adaptive multi-level splitting.

    Webb et al., "A statistical approach to assessing neural network robustness", ICLR 2019,
    https://arxiv.org/abs/1811.07209: each level keeps the particles of the highest scores, copies them, and
    moves the copies inside the level. A share of 1e-9 takes nine levels. It finds what a score leads to; a
    region that no score announces is found by luck alone.
    """
    latent = ball.uniform(particles, generator)
    count, queries, level, logarithm, width = len(latent), len(latent), 0, 0.0, 1.0
    if not count:
        return Split(1.0, 0.0, 1.0, 0, 0, None)
    scores = score(ball.points(latent))
    for _ in range(levels):
        level += 1
        threshold = float(scores.quantile(1 - KEPT))
        done = threshold > 0
        kept = scores > 0 if done else scores >= threshold
        if done or bool((scores > 0).double().mean() >= KEPT) or threshold >= float(scores.amax()):
            break
        logarithm += math.log(float(kept.double().mean()))
        chosen = kept.nonzero().squeeze(1)
        pick = chosen[torch.randint(len(chosen), (count,), generator=generator)]
        latent, scores = latent[pick], scores[pick]
        for _ in range(moves):
            fresh = torch.randn(latent.shape, generator=generator)
            tried = math.sqrt(1 - width**2) * latent + width * fresh
            points = ball.points(tried)
            there = score(points)
            queries += count
            taken = (there >= threshold) & ball.inside(points)
            latent = torch.where(taken.unsqueeze(1), tried, latent)
            scores = torch.where(taken, there, scores)
            accepted = float(taken.double().mean())
            factor = next(by for above, by in ACCEPTED if accepted > above or not above)
            width = min(WIDTH[1], max(WIDTH[0], width * factor))
    share = math.exp(logarithm) * float((scores > 0).double().mean())
    # each level's share varies like a binomial one, correlated by the copies
    spread = 1.96 * math.sqrt(SLOWER * level * (1 - KEPT) / (KEPT * count))
    if share > 0:
        best = ball.points(latent[int(scores.argmax())].unsqueeze(0))[0]
        return Split(
            share, share * math.exp(-spread), min(1.0, share * math.exp(spread)), level, queries, best
        )
    least = math.exp(logarithm) / count
    return Split(least, 0.0, min(1.0, 3 * math.exp(logarithm + spread) / count), level, queries, None)
