"""The radius that slopes allow: what every estimator of a lower radius concludes from measured maxima.

Along a segment from x₀ the margin falls by at most ‖δ‖ times the largest slope met. With the box's support
S_ρ in place of the dual norm, the floor on a ball of radius R is the largest ρ ≤ R with m_j(x₀) ≥ ρ · sup
S_ρ(∇m_j) for every target j. S_ρ falls as ρ grows, so m/S_R is no floor; but at any ρ_a that passes,
m/S_{ρ_a} is one. The plain form, min(R, m/sup ‖∇m‖), is its limit at ρ = 0 (Weng et al. 2018, theorem 3.2).

Radii are float64 numbers of one input here; slopes are tensors (T, …) over its targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from falsefloor.estimators.slopes import View
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.projections import to_plane

MOST_BALLS = 14
CLOSE = 1.01
"""Auto radii stop when the smallest ball that failed is within 1 % of the best floor."""

ROUNDING = 8.0
"""Units in the last place by which a floor is lowered: where a net is linear on the whole ball, the floor is
the exact distance, and came out 5e-7 above it in float32."""


@dataclass(frozen=True)
class Floor:
    """radius; the target (slot) that binds; the column of slopes it rests on (the last is the plain norm)."""

    radius: float
    slot: int
    column: int


def ratios(margin: Tensor, slopes: Tensor) -> Tensor:
    """m/L per target, (T,) in float64: inf where the slope is 0, 0 where it is infinite."""
    quotient = margin.double() / slopes.double()
    return torch.where(slopes > 0, quotient, torch.inf)


def passes(quotient: float, rho: float) -> bool:
    """Whether the smallest m/S_ρ over the targets is at least rho."""
    # m/(m/ρ) is one rounding away from ρ
    return quotient >= rho * (1 - 1e-7)


def at_column(
    margin: Tensor, slopes: Tensor, column: int, rho: float | None, limit: float, *, eps: float = 0.0
) -> Floor | None:
    """The floor by one column of slopes (T,): at radius rho of its support, or the plain norm for None.

    None where the column's radius does not pass. ``eps`` is the rounding unit of the model's arithmetic.
    """
    quotient = ratios(margin, slopes)
    slot = int(quotient.argmin())
    value = float(quotient[slot])
    if rho is not None and not passes(value, rho):
        return None
    return Floor(min(limit, value * (1 - ROUNDING * eps)), slot, column)


def linear_crossing(view: View, gradients: Tensor) -> float:
    """Where the view's margins, linearised with gradients (T, d) at the centre, first cross zero in the box.

    Exact for linear models, where it is the distance; inf where no target can be reached inside the box.
    """
    wide, margin = gradients.double(), view.margin.double()
    ends = (view.centre, *view.subject.bounds)
    middle, low, high = (end.double().expand(view.centre.shape).reshape(-1) for end in ends)
    step = to_plane(
        wide, margin, (middle - low).expand_as(wide), (high - middle).expand_as(wide), norm=view.norm
    )
    reached = -(wide * step).sum(dim=1) >= margin * (1 - 1e-9)
    return float(torch.where(reached, vector_norm(step, view.norm), torch.inf).amin())


@dataclass
class Bracket:
    """The balls to try at one input, and which of their floors stands.

    A fixed radius is one ball, ``top``. An auto radius begins at ``near``, where the linearised margin
    crosses zero, or at ``top`` where it does not, rises by 2, 4, 16 and so on while balls pass, and closes in
    between what passes and what fails. Nothing but the estimator's own slopes decides. ``tried`` is the floor
    and the slope that each ball gave, in order; a floor equal to its ball passed.
    """

    top: float
    auto: bool
    near: float = math.inf
    tried: dict[float, tuple[float, float]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[float]:
        """Radii; report each by `note` before asking for the next."""
        yield min(self.top, self.near) if self.auto and self.near > 0 else self.top
        rise = 2.0
        while self.auto and self.low < self.top and len(self.tried) < MOST_BALLS:
            if self.high == math.inf:
                yield min(self.top, self.low * rise)
                rise *= rise
            elif self.closed:
                return
            else:
                yield self.between

    def note(self, ball: float, floor: float, slope: float) -> None:
        """A ball gave this floor, by this slope; of one that is looked at again the last word counts."""
        self.tried[ball] = (floor, slope)

    @property
    def high(self) -> float:
        """The smallest ball that failed, inf before any."""
        return min((ball for ball, (floor, _) in self.tried.items() if floor < ball), default=math.inf)

    @property
    def closed(self) -> bool:
        """Whether nothing lies between what passed and what failed; so before anything failed."""
        return self.high == math.inf or (self.low > 0 and self.high <= CLOSE * self.low)

    @property
    def between(self) -> float:
        """The next ball between what passed and what failed."""
        # measured on digits: the failing side's form is near the crossing, so step closer to it
        return self.low ** (2 / 3) * self.high ** (1 / 3) if self.low > 0 else self.high / 10

    @property
    def standing(self) -> float:
        """The ball whose floor stands: the smallest that failed, or one that passed above its floor.

        What is steep in a ball is as steep in every ball around it, so a larger ball that failed allows no
        larger floor: where it seems to, its points have missed something (on an ImageNet classifier a ball
        fifteen times as large gave a floor 6 % above a found distance).
        """
        telling = [ball for ball, (floor, _) in self.tried.items() if floor >= ball or ball == self.high]
        return max(telling, key=lambda ball: self.tried[ball][0])

    @property
    def low(self) -> float:
        """The floor that stands, 0 before any."""
        return self.tried[self.standing][0] if self.tried else 0.0

    @property
    def curves(self) -> dict[str, list[float]]:
        """The balls in the order they were tried, and the slope that bound on each."""
        return {"ball_radius": list(self.tried), "ball_slope": [slope for _, slope in self.tried.values()]}
