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
from falsefloor.errors import DomainError, UsageError
from falsefloor.estimators.clever_ball import Budget, Guide, guide, look
from falsefloor.estimators.clever_path import Path
from falsefloor.estimators.clever_report import Decision, Outcome, assemble, decide, report
from falsefloor.estimators.clever_second import second_order
from falsefloor.estimators.floor import MOST_BALLS, Bracket, linear_crossing, ratios
from falsefloor.estimators.queries import Queries
from falsefloor.estimators.slopes import Ruler, View, measure, sound
from falsefloor.numerics.balls import diameter, sample, working
from falsefloor.numerics.margins import margins

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


@dataclass(frozen=True)
class Clever:
    """Margin over the largest slope in a ball, for the nearest target. See the module for the paper.

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

    batches: int = option(50, help="batches of points per ball; one maximum each is fitted", ge=1, le=100_000)
    samples: int = option(20, help="points per batch", ge=1, le=1_000_000)
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
    )
    fit: Literal["weibull", "max"] = option("weibull", help="extrapolate the maxima, or take the largest one")
    order: int = option(1, help="1: slopes; 2: curvature, for smooth models in l2", ge=1, le=2)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise DomainError(
                "clever compares a class with the others, and this model has one class."
                " Give it two logits, for example (0, f)."
            )
        if self.order == 2 and norm != "l2":
            raise UsageError(
                f"clever with order=2 is defined for l2 only, not {norm}. Use order=1, or --norm l2."
            )
        queries = Queries(subject, len(inputs))
        everyone = torch.arange(len(inputs), device=subject.device)
        with torch.no_grad(), queries.of(everyone):
            logits = torch.cat([subject(piece) for piece in torch.split(inputs, max(1, context.rows))])
        table = margins(logits.to(working(logits.dtype)), labels.to(logits.device))
        run = _Run(self, subject, norm, context, len(inputs))
        outcomes = []
        for index in range(len(inputs)):
            with queries.of(everyone[index : index + 1]):
                outcomes.append(run.one(index, inputs[index], int(labels[index]), table[index]))
        auto = self.radius == "auto"
        return assemble(outcomes, batches=self.batches, auto=auto, like=inputs, queries=queries)


class _Run:
    """One call over several inputs, one after the other, reporting as it goes."""

    def __init__(self, options: Clever, subject: Subject, norm: Norm, context: Context, count: int) -> None:
        self.options, self.subject, self.norm, self.context = options, subject, norm, context
        self.auto = options.radius == "auto"
        self.budget = Budget(options.batches, options.samples)
        self.share = options.batches * options.samples * (MOST_BALLS if self.auto else 1)
        self.total = self.share * count
        self.done = 0
        # what is not known yet is NaN: 0 would be read as a radius
        self.radii = torch.full((count,), torch.nan, dtype=torch.float64)

    def tick(self, points: int) -> None:
        self.done += points
        self.context.progress(min(self.done, self.total), self.total, radius=self.radii)

    def one(self, index: int, centre: Tensor, label: int, margin: Tensor) -> Outcome:
        lo, hi = self.subject.bounds
        cap = diameter(lo, hi, tuple(centre.shape), self.norm) if self.auto else float(self.options.radius)
        others = torch.tensor([k for k in range(self.subject.classes) if k != label], device=centre.device)
        view = View(self.subject, centre, label, others, margin[others], self.norm, max(1, self.context.rows))
        if bool((view.margin > 0).all()):
            outcome = self._search(index, view, cap, self.context.generators[index])
        else:
            slot = int(view.margin.nan_to_num(nan=-torch.inf).argmin())
            outcome = Outcome.nothing_to_lose(view, slot, cap)
        self.radii[index] = outcome.radius
        self.done = (index + 1) * self.share
        self.tick(0)
        return outcome

    def _search(self, index: int, view: View, cap: float, generator: Generator) -> Outcome:
        options = self.options
        if options.box or options.directed or options.targets != "all" or options.order == 2:
            lead = guide(view)
        else:
            # the paper's own form: nothing but random points is looked at
            lead = Guide({}, torch.zeros_like(view.margin))
        chosen = self._targets(view, lead, cap, generator)
        if len(chosen) < len(view.targets):
            view = view.only(chosen)
            lead = guide(view)
        if self.options.order == 2:
            return second_order(
                view, cap, self.budget, generator, fitted=self.options.fit == "weibull", tick=self.tick
            )
        crossing = math.inf
        if self.options.box and lead.gradients:
            slots = torch.tensor(list(lead.gradients), device=view.centre.device)
            rows = torch.stack(list(lead.gradients.values())).reshape(-1, *view.centre.shape)
            crossing = linear_crossing(
                view.margin[slots], rows, view.centre, *self.subject.bounds, norm=self.norm
            )
        path = Path(view, lead.gradients) if self.options.directed else None
        bracket = Bracket(cap)
        best: Decision | None = None
        for radius in bracket.radii() if self.auto else iter([cap]):
            rho = self._columns(radius, crossing, bracket.low)
            ball = look(
                view,
                radius,
                rho,
                budget=self.budget,
                generator=generator,
                guide=lead,
                path=path,
                tick=self.tick,
            )
            decision = decide(view, ball, fitted=self.options.fit == "weibull", beat=bracket.low)
            bracket.note(radius, decision.floor.radius, decision.ball_slope)
            if best is None or decision.floor.radius >= best.floor.radius:
                best = decision
            self.radii[index] = best.floor.radius
            self.tick(0)
        assert best is not None  # a bracket has at least one ball
        return report(view, best, cap=cap, balls=bracket.tried)

    def _columns(self, radius: float, crossing: float, low: float) -> list[float]:
        """Radii whose supports are measured on this ball, falling; none for the plain form."""
        if not self.options.box:
            return []
        near = min(crossing * (1 - 1e-6), radius)
        if not self.auto:
            return [near * share for share in _SHARES[self.norm]]
        columns = [radius] if near == radius else [radius, near]
        if self.norm == "linf" and 0 < low < near:
            columns += [near * (low / near) ** share for share in (0.2, 0.4, 0.6, 0.8)]
        return columns

    def _targets(self, view: View, lead: Guide, cap: float, generator: Generator) -> Tensor:
        """Slots of the targets to look at, in class order."""
        every = torch.arange(len(view.targets), device=view.centre.device)
        wanted = self.options.targets
        if wanted == "all":
            return every
        near = ratios(view.margin, lead.norms)
        if wanted != "race":
            return near.argsort(stable=True)[: int(wanted)].sort().values
        first = every[near <= _RACE_START * near.amin()]
        entered = view.only(first) if len(first) < len(every) else view
        # the same points as without a race: what is drawn here is drawn again
        state = generator.get_state()
        points = sample(
            view.centre.unsqueeze(0),
            norm=self.norm,
            radius=min(cap, max(2 * float(near.amin()), 1e-6 * cap)),
            count=_RACE_POINTS,
            generators=[generator],
            lo=self.subject.bounds[0],
            hi=self.subject.bounds[1],
        )
        generator.set_state(state)
        ruler = Ruler(entered, torch.empty(0, device=view.centre.device))
        seen = sound(measure(entered, points[0], ruler)[:, -1].amax(dim=1))
        near = ratios(entered.margin, torch.maximum(seen, lead.norms[first]))
        return first[near <= _RACE_SLACK * near.amin()]


__all__ = ["Clever"]
