"""How much of a claim's ball answers otherwise: what `held` is worth, as a number.

Uniform points in the ball that an estimate claims, the same ones for every subject and estimator of an
input up to their radius. Where none of n has another class, at 95 % less than 3/n of the ball inside the
domain has: a bound on a share, not on the nearest point. Those that have are sightings like any others, and
refute.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from falsefloor.numerics.margins import predicted
from falsefloor.numerics.shares import Ball, largest_share
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.subject import ModelSubject

DRAWN = 1000
"""Points an estimate: less than 0.3 % where all have the input's class."""
ELEMENTS = 1 << 25
"""Numbers of all points at most; a very large input gets fewer points."""


@dataclass(frozen=True)
class Share:
    """drawn: uniform points in the ball and the box; other: those without the input's class alone."""

    drawn: int
    other: int

    @property
    def bound(self) -> float:
        """At 95 %, less than this share of the ball inside the domain answers otherwise."""
        return largest_share(self.other, self.drawn)

    def evidence(self) -> dict[str, float]:
        return {
            "share_points": float(self.drawn),
            "share_other": float(self.other),
            "share_bound": self.bound,
        }


def share_of_ball(
    subject: ModelSubject,
    point: Tensor,
    label: Tensor,
    *,
    norm: str,
    radius: float,
    generator: Generator,
    rows: int,
) -> Share:
    """Of the ball of ``radius`` around an input (*input) with a label ()."""
    flat = point.detach().cpu().float().reshape(-1)
    lo, hi = (bound.detach().cpu().float().expand(point.shape).reshape(-1) for bound in subject.bounds)
    ball = Ball(flat, lo, hi, norm, radius)
    count = max(1, min(DRAWN, ELEMENTS // max(1, ball.latent)))
    points = ball.points(ball.uniform(count, generator))
    if not len(points):
        return Share(0, 0)
    asked = points.to(point).reshape(len(points), *point.shape)
    logits, _ = Guarded(subject, rows=rows).first(asked)
    labels = label.reshape(1).expand(len(points))
    other = (predicted(logits, labels) != labels) | ~logits.isfinite().all(1)
    return Share(len(points), int(other.sum()))
