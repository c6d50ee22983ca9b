"""CLEVER: a lower estimate of the distance to the nearest other class, from sampled gradients.

Weng et al., "Evaluating the robustness of neural networks: an extreme value theory approach", ICLR 2018,
https://arxiv.org/abs/1801.10578. For every target class the largest dual norm of the margin's gradient over a
ball is extrapolated from batch maxima by a reverse Weibull fit; margin over slope is the radius.

What differs from the paper by default: slopes count only what a perturbation can do inside the input domain
(``box``), the points where the linearised margin falls most are looked at too (``directed``), and the ball is
found rather than given (``radius="auto"``). ``Clever(batches=500, samples=1024, radius=5.0, box=False,
directed=False)`` is the paper's own form and budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from falsefloor.api import NORMS, Claim, Context, Estimate, Norm, Subject, option
from falsefloor.errors import UsageError
from falsefloor.estimators.clever.ball import Budget, Guide, guide, look
from falsefloor.estimators.clever.decision import Decision, decide, report
from falsefloor.estimators.clever.gradients import Ruler, measure, sound
from falsefloor.estimators.clever.path import Path
from falsefloor.estimators.clever.second import second_order
from falsefloor.estimators.slopes import (
    SHARED,
    Form,
    Outcome,
    Progress,
    View,
    estimate,
    farthest,
    need_rivals,
)
from falsefloor.estimators.slopes.search import MOST_BALLS, Bracket, linear_crossing, ratios

OWN = ("curvature",)
"""Evidence of its own: the largest spectral norm of the margin's Hessian, for order=2."""

# Shares of the linearised crossing at which a fixed ball's supports are measured. A matrix product takes
# all of them at once for linf; the other norms pay a pass for each.
_SHARES = {
    "linf": (1.0, 0.96, 0.92, 0.87, 0.81, 0.73, 0.6, 0.4),
    "l2": (1.0, 0.93, 0.85, 0.7),
    "l1": (1.0, 0.93, 0.85, 0.7),
}
_RACE_POINTS = 20
_RACE_SLACK = 3.0
# Before any point is drawn: slopes at the input itself. They only grow with more points, so a target must be
# twice as far behind to be left out on their word alone; with 1,000 classes this is most of a race's cost.
_RACE_START = 6.0
_AHEAD = 1.2
"""A class that is so much farther than a ball that failed, by the slopes in it, is not looked at in the balls
inside it, where slopes are no larger."""
# 4 kB an estimate hold 1,024 floats: 640 maxima, 128 scores, two times 14 balls
_KEPT_MAXIMA = 640
_KEPT_SCORES = 128


@dataclass(frozen=True)
class Clever:
    """CLEVER (Weng et al. 2018): the margin over the largest gradient that is sampled in a ball.

    One input needs ``batches · samples`` points a ball, each with one forward and K - 1 backwards; an auto
    radius looks at about eight balls. Evidence is that of the binding target. Decisions: a margin that is
    not positive gives 0; slopes of exactly 0 give the cap (``capped`` = 1), the sampling radius or, for an
    auto radius, the domain's diameter; a gradient that is not finite counts as infinitely steep, so it
    gives 0 and is counted in ``nonfinite_share``.

    Raises `DomainError` for a model with fewer than two classes, and where ``order=2`` meets a model without
    second derivatives; `UsageError` for ``order=2`` in another norm than l2.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = NORMS

    batches: int = option(
        50,
        help="batches of points per ball; one maximum each is fitted",
        ge=1,
        le=100_000,
        quick=10,
        thorough=500,
    )
    samples: int = option(20, help="points per batch", ge=1, le=1_000_000, quick=5, thorough=1024)
    radius: float | Literal["auto"] = option(
        "auto", help="radius of the sampled ball, in input units; auto searches for it", gt=0.0
    )
    box: bool = option(
        True, help="count only moves that stay inside the input domain; off is the paper's form"
    )
    directed: bool = option(True, help="also look where the linearised margin falls most")
    targets: int | Literal["all", "race"] = option(
        "all",
        help="classes to consider: all, the nearest k, or race (drop those that cannot be nearest)",
        ge=1,
        quick=9,
    )
    fit: Literal["weibull", "max"] = option("weibull", help="extrapolate the maxima, or take the largest one")
    order: int = option(1, help="1: slopes; 2: curvature, for smooth models in l2", ge=1, le=2)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        need_rivals(subject, "clever")
        if self.order == 2 and norm != "l2":
            raise UsageError(
                f"clever with order=2 is defined for l2 only, not {norm}. Use order=1, or --norm l2."
            )
        auto = self.radius == "auto"
        cap = farthest(subject, inputs, norm=norm, radius=self.radius)
        curves = {"maxima": min(self.batches, _KEPT_MAXIMA), "score": min(self.batches, _KEPT_SCORES)}
        if auto:
            curves |= {"ball_radius": MOST_BALLS, "ball_slope": MOST_BALLS}

        def one(view: View, generator: Generator, progress: Progress) -> Outcome:
            return self._one(view, cap, generator, progress)

        return estimate(
            one,
            Form((*SHARED, "dropped_distance", "directed_maximum", "fit_location", "fit_scale"), OWN, curves),
            subject,
            inputs,
            labels,
            norm=norm,
            context=context,
            cap=cap,
            share=self.batches * self.samples * (MOST_BALLS if auto else 1),
        )

    def _one(self, view: View, cap: float, generator: Generator, progress: Progress) -> Outcome:
        """One input whose label wins."""
        fitted, budget = self.fit == "weibull", Budget(self.batches, self.samples)
        if self.box or self.directed or self.targets != "all" or self.order == 2:
            lead = guide(view, nearest=self.targets if isinstance(self.targets, int) else None)
        else:
            # the paper's own form: nothing but random points is looked at
            lead = Guide({}, torch.zeros_like(view.margin))
        chosen, dropped = self._targets(view, lead, cap, generator)
        if len(chosen) < len(view.targets):
            view = view.only(chosen)
            lead = guide(view)
        if self.order == 2:
            return second_order(view, cap, budget, generator, fitted=fitted, tick=progress.tick)
        crossing = math.inf
        if self.box and lead.gradients:
            slots = torch.tensor(list(lead.gradients), device=view.centre.device)
            crossing = linear_crossing(view.only(slots), torch.stack(list(lead.gradients.values())))
        path = Path(view, lead.gradients) if self.directed else None
        bracket = Bracket(cap, self.radius == "auto", crossing)
        covered = len(view.targets)
        decisions: dict[float, tuple[View, Guide, Decision]] = {}
        for radius in bracket:
            ball = look(
                view,
                radius,
                self._columns(view.norm, radius, crossing, bracket.low),
                budget=budget,
                generator=generator,
                guide=lead,
                path=path,
                tick=progress.tick,
            )
            decision = decide(view, ball, fitted=fitted)
            decisions[radius] = view, lead, decision
            bracket.note(radius, decision.floor.radius, decision.ball_slope)
            progress.reached(bracket.low)
            # a fit may have failed the ball although no slope in it did
            steep = torch.maximum(ball.largest[:, -1].double(), decision.slopes)
            ahead = (ratios(view.margin, steep) < _AHEAD * radius).nonzero().flatten()
            if radius == bracket.high and len(ahead) < len(view.targets):
                view, lead = view.only(ahead), lead.only(ahead)
                path = path and path.only(view, lead.gradients, ahead)
        view, lead, decision = decisions[bracket.standing]
        if dropped is not None and self.targets != "race":
            # looked at at the input only: there may be as much steeper ones around it as of those that stayed
            dropped /= float((decision.ball.largest[:, -1] / lead.norms).amax())
        return report(view, decision, cap=cap, bracket=bracket, covered=covered, dropped=dropped)

    def _columns(self, norm: Norm, radius: float, crossing: float, low: float) -> list[float]:
        """Radii whose supports are measured on this ball, falling; none for the plain form."""
        if not self.box:
            return []
        near = min(crossing * (1 - 1e-6), radius)
        if self.radius != "auto":
            return [near * share for share in _SHARES[norm]]
        columns = [radius] if near == radius else [radius, near]
        if norm == "linf" and 0 < low < near:
            columns += [near * (low / near) ** share for share in (0.2, 0.4, 0.6, 0.8)]
        return columns

    def _targets(
        self, view: View, lead: Guide, cap: float, generator: Generator
    ) -> tuple[Tensor, float | None]:
        """Slots of the targets to look at, in class order; how near the nearest comes that a race drops."""
        every = torch.arange(len(view.targets), device=view.centre.device)
        wanted = self.targets
        if wanted == "all":
            return every, None
        near = ratios(view.margin, lead.norms)
        if wanted != "race":
            order = near.argsort(stable=True)
            left = near[order[int(wanted) :]]
            return order[: int(wanted)].sort().values, float(left[0]) if len(left) else None
        left = near[near > _RACE_START * near.amin()]
        first = every[near <= _RACE_START * near.amin()]
        entered = view.only(first) if len(first) < len(every) else view
        # the same points as without a race: what is drawn here is drawn again
        state = generator.get_state()
        points = view.sample(min(cap, max(2 * float(near.amin()), 1e-6 * cap)), _RACE_POINTS, generator)
        generator.set_state(state)
        ruler = Ruler(entered, torch.empty(0, device=view.centre.device))
        seen = sound(measure(entered, points, ruler)[:, -1].amax(dim=1))
        near = ratios(entered.margin, torch.maximum(seen, lead.norms[first]))
        stay = near <= _RACE_SLACK * near.amin()
        left = torch.cat([left, near[~stay]])
        return first[stay], float(left.amin()) if len(left) else None
