"""The ensemble: every gradient source, a search without gradients, and a ledger of what each of them found.

A ceiling is only as good as the weakest mask it sees through. Gradients may vanish, explode or point
nowhere, so none is trusted: each source tries alone, and the comparison itself is evidence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from falsefloor.api import NORMS, Claim, Context, Estimate, Norm, Subject, option
from falsefloor.errors import DomainError
from falsefloor.estimators.attack.boundary import search
from falsefloor.estimators.attack.budget import LEAST, spend
from falsefloor.estimators.attack.campaign import Effort, Found, around, begin, nearest_targets
from falsefloor.estimators.attack.descent import STEEP_OVERSHOOTS
from falsefloor.estimators.attack.ledger import Ledger, Pace, last_tenth_gain
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import confirm, move_back, sharpen, tighten
from falsefloor.gradients.secant import Secant
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.gradients.through import Through
from falsefloor.numerics.secants import Boxed
from falsefloor.numerics.units import switches

SECANTS = (0.01, 0.05, 0.1)
"""Half steps of the secants, as shares of the domain: 2 h spans a step of a quantiser of 50, 10 and 5
levels."""

UNITS, PAST = 32, (1.2,)
"""Hidden units that the least step could switch, and how far past their thresholds walks start from there."""

KEPT = 4
"""Targets that get random starts: the nearest after a few steps is not always the nearest in the end."""

CHASES = 2
"""Walks of the second kind for each kept target."""

BEHIND = 0.98
"""Where secants or the search come nearer than this share of the gradients' best, they get the larger
effort."""

_MEMORY = 1 << 24
"""Coordinates that the rows of one group of inputs hold at once: 64 MB in float32, for each copy a step
makes."""

_SOURCES = ("autograd", "straight-through", "secant", "search")
OWN = ("found_by", *(f"radius_{name.replace('-', '_')}" for name in _SOURCES))
"""Evidence of its own: the source that found the nearest point, and the best distance of each or inf."""

_CURVE = 64
"""Points of the stored curve."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """Minimum-norm attacks through autograd, straight-through and secant gradients, and a search by class
    alone.

    The radius is the distance, inside the box, of the nearest point found that another class leads by more
    than 4 roundings of the largest logit; inf, with the input itself as witness, where none was found.
    Evidence: ``found_by``; ``radius_autograd``, ``radius_straight_through``, ``radius_secant``,
    ``radius_search``, each source's own best from its own starts (straight-through is not run where its
    gradient is autograd's); ``whitebox`` (autograd) and ``blackbox`` (the better of secant and search);
    ``last_tenth_gain``, the share by which the last tenth of the steps still lowered the radius;
    ``targets_covered``. What started where a hidden unit switches is ``found_by`` "units". Curve: ``radius``.
    With ``queries`` the sources are autograd and straight-through, and the search only where neither gets
    anywhere; the others' distances are inf (`falsefloor.estimators.attack.budget`).

    Raises `DomainError` for a subject of fewer than two classes, and for fewer than ten queries.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "upper_bound"
    norms: ClassVar[frozenset[Norm]] = NORMS

    steps: int = option(
        40, help="projection steps of a random start", ge=4, le=10_000, quick=15, thorough=100
    )
    restarts: int = option(
        8, help="random starts for each of the nearest targets", ge=1, le=10_000, quick=2, thorough=32
    )
    rounds: int = option(
        3, help="times the attack starts again around its best point", ge=0, le=1_000, quick=1, thorough=10
    )
    targets: int = option(
        9, help="classes tried, the nearest by linearised distance", ge=1, quick=3, thorough=20
    )
    directions: int = option(128, help="differences a secant gradient takes at most", ge=1, quick=16)
    samples: int = option(64, help="queries a step of the search that sees classes only", ge=4, quick=16)
    queries: int | Literal["any"] = option(
        "any",
        help="the most an input costs, forwards and backwards together; leaves the others unread",
        ge=LEAST,
    )

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Ceilings for inputs (N, *input) with labels (N,)."""
        if subject.classes < 2:
            raise DomainError(
                "attack needs at least two classes, to change one into another; this model has "
                f"{subject.classes}. Give a model of one logit a second column of zeros."
            )
        free = not isinstance(self.queries, int)
        if not free:  # no row that only fills a batch up
            subject = Through(subject, lambda whole: getattr(whole, "unfilled", whole))
        oracle = Oracle.of(subject, inputs, labels, norm=norm, rows=context.rows)
        count, size = oracle.centre.shape
        group = max(1, _MEMORY // (self._white(oracle).widest * size)) if free else 1
        places = torch.split(torch.arange(count, device=inputs.device), group)
        pace = Pace(context, total=len(places) * self._planned(oracle), count=count)
        ledgers = [self._attack(oracle, place, context, pace) for place in places]
        return self._estimate(oracle, inputs, ledgers)

    def _white(self, oracle: Oracle) -> Effort:
        targets = min(self.targets, oracle.subject.classes - 1)
        return Effort(self.steps, targets, min(KEPT, targets), self.restarts, self.rounds, CHASES)

    def _first_secant(self) -> Effort:
        # the first walk of `explore` alone, 10 steps by default: enough to see that gradients were misleading
        return Effort(3 * max(6, self.steps // 4), 2, 2, 0, 0, overshoots=STEEP_OVERSHOOTS)

    def _full_secant(self) -> Effort:
        return Effort(
            max(4, self.steps // 2),
            min(4, self.targets),
            2,
            max(1, self.restarts // 2),
            max(1, self.rounds - 1),
            overshoots=STEEP_OVERSHOOTS,
        )

    def _search_steps(self) -> int:
        return max(4, self.steps // 3)

    def _planned(self, oracle: Oracle) -> int:
        if isinstance(self.queries, int):
            return self.queries // 2
        again = self._full_secant()
        secants = len(SECANTS) * self._first_secant().total + again.total
        joint = 2 * again.rounds * again.half
        return 2 * self._white(oracle).total + secants + self._search_steps() + joint + self._unit_steps()

    def _attack(self, oracle: Oracle, who: Tensor, context: Context, pace: Pace) -> Ledger:
        white = self._white(oracle)
        draws = [context.generators[i] for i in who.tolist()]
        ledger = Ledger(oracle, who, draws, pace=pace, covered=white.targets)
        if isinstance(self.queries, int):
            functions: dict[str, Callable[[Tensor], Tensor]] = {
                "autograd": oracle.subject,
                "straight-through": StraightThrough()(oracle.subject),
            }
            spend(ledger, functions, budget=self.queries)
            pace.finish(self._planned(oracle) - ledger.curve().shape[1], who, ledger.radius)
            return ledger
        subject, everyone = oracle.subject, torch.arange(len(who), device=who.device)
        # secants ask for more points than they were given
        parted = Through(
            subject, lambda whole: lambda x: torch.cat([whole(part) for part in torch.split(x, oracle.rows)])
        )
        sources = {h: Secant(h=h, directions=self.directions)(parted) for h in SECANTS}
        repaired = StraightThrough()(subject)

        def run(name: str, function: Callable[[Tensor], Tensor], place: Tensor, effort: Effort) -> Tensor:
            """The campaign for the inputs at ``place``, entered; their radii before refinement."""
            found = ledger.campaign(function, place, effort).explore() if len(place) else None
            ledger.record(name, place, found, planned=effort.total)
            radius = torch.full_like(ledger.radius, torch.inf)
            if found is not None:
                radius[place] = found.radius
            return radius

        run("autograd", subject, everyone, white)
        other = _differs(subject, repaired, ledger)
        run("straight-through", repaired, everyone[other], white)
        ledger.best["straight-through"] = torch.where(
            other, ledger.best["straight-through"], ledger.best["autograd"]
        )
        self._past_units(ledger)
        by_gradient = ledger.radius.clone()
        reached = torch.stack([run("secant", sources[h], everyone, self._first_secant()) for h in SECANTS])
        self._search(ledger)
        needy = (ledger.radius < BEHIND * by_gradient) | by_gradient.isinf()
        self._again(ledger, sources, repaired, reached, needy)
        point = move_back(oracle, tighten(oracle, ledger.point, who), who)
        point, radius = confirm(oracle, tighten(oracle, point, who), who, known=ledger.radius)
        ledger.point, ledger.radius = sharpen(oracle, point, who, known=radius)
        return ledger

    def _again(
        self,
        ledger: Ledger,
        sources: dict[float, Callable[[Tensor], Tensor]],
        repaired: Callable[[Tensor], Tensor],
        reached: Tensor,
        needy: Tensor,
    ) -> None:
        """The larger effort where gradients fell behind: secants of the best step, then around the best
        point."""
        effort = self._full_secant()
        best_step = reached.argmin(0)
        steps = [(needy & (best_step == index)).nonzero().squeeze(1) for index in range(len(SECANTS))]
        parts = [(place, sources[h]) for place, h in zip(steps, SECANTS, strict=True) if len(place)]
        everyone = needy.nonzero().squeeze(1)

        def together(attempt: Callable[[Callable[[Tensor], Tensor], Tensor], Found]) -> Found | None:
            """One Found of all needy inputs, each by the secant of its own step."""
            found = [attempt(function, place) for place, function in parts]
            if not found:
                return None
            order = torch.cat([place for place, _ in parts]).argsort()
            return Found(
                torch.cat([f.radius for f in found])[order],
                torch.cat([f.point for f in found])[order],
                torch.cat([f.target for f in found])[order],
                torch.cat([f.history for f in found], 1)[:, order],
            )

        def fresh(function: Callable[[Tensor], Tensor], place: Tensor) -> Found:
            return ledger.campaign(function, place, effort).explore()

        def nearby(function: Callable[[Tensor], Tensor], place: Tensor) -> Found:
            known = Found(
                ledger.radius[place],
                ledger.point[place],
                ledger.target[place],
                ledger.radius[place].new_empty(0, len(place)),
            )
            return ledger.campaign(function, place, effort).hop(known)

        ledger.record("secant", everyone, together(fresh), planned=effort.total)
        planned = effort.rounds * effort.half
        ledger.record("secant", everyone, together(nearby), planned=planned, alone=False)
        found = nearby(repaired, everyone) if len(everyone) else None
        ledger.record("straight-through", everyone, found, planned=planned, alone=False)

    def _search(self, ledger: Ledger) -> None:
        """By classes alone; from many points, and longer, where nothing else leads anywhere. Over labels
        alone (12 digits, three norms) that ends at most at 1.12 of what gradients find, before at 2.7."""
        oracle, who, steps, tick = ledger.oracle, ledger.who, self._search_steps(), ledger.pace.tick
        found = search(oracle, who, ledger.generators, samples=self.samples, steps=steps, tick=tick)
        ledger.record("search", torch.arange(len(who), device=who.device), found, planned=steps)
        gradients = torch.stack([ledger.best[name] for name in _SOURCES if name != "search"]).amin(0)
        blind = ((ledger.best["search"] < BEHIND * gradients) | gradients.isinf()).nonzero().squeeze(1)
        if not len(blind):
            return
        longer, size = 3 * self.steps // 2, oracle.centre.shape[1]
        # what the starts of an input ask at once has to fit, whoever stands beside it
        starts = max(1, min(2 * self.restarts, _MEMORY // (self.samples * size)))
        for part in torch.split(blind, max(1, _MEMORY // (self.samples * starts * size))):
            own = [ledger.generators[i] for i in part.tolist()]
            found = search(
                oracle, who[part], own, samples=self.samples, steps=longer, starts=starts, tick=tick
            )
            at = torch.linspace(0, longer - 1, steps).round().long().to(found.history.device)
            within = dataclasses.replace(found, history=found.history[at])
            ledger.record("search", part, within, planned=0)

    def _past_units(self, ledger: Ledger) -> None:
        """From where hidden units have just switched: behind them the gradient is another."""
        oracle, who, steps = ledger.oracle, ledger.who, self._unit_steps()
        lo, hi = oracle.subject.bounds
        inputs = oracle.inputs(who)
        # one call, whose units can be told from one another
        asked = Boxed(getattr(oracle.subject, "together", oracle.subject), lo, hi, oracle.rows)
        with oracle.queries.of(who):
            found = switches(asked, inputs, norm=oracle.norm, count=UNITS)
        start, known = found.points(inputs, PAST, norm=oracle.norm, lo=lo, hi=hi)
        reached = None
        if bool(known.any()):
            start = start.flatten(2).to(oracle.centre.dtype)
            reached = begin(ledger.walker(oracle.subject), start, who, steps=steps)
        ledger.record("units", torch.arange(len(who), device=who.device), reached, planned=steps)

    def _unit_steps(self) -> int:
        return max(4, self.steps // 4)

    def _estimate(self, oracle: Oracle, inputs: Tensor, ledgers: list[Ledger]) -> Estimate:
        radius = torch.cat([ledger.radius for ledger in ledgers])
        point = torch.cat([ledger.point for ledger in ledgers])
        found = radius.isfinite()
        own = {
            name: torch.cat([ledger.best.get(name, ledger.radius + torch.inf) for ledger in ledgers])
            for name in _SOURCES
        }
        # a budget may be spent in more steps on one input than on another
        curves = [ledger.curve() for ledger in ledgers]
        width = min(_CURVE, max(whole.shape[1] for whole in curves))
        kept = [torch.linspace(0, whole.shape[1] - 1, width).round().long() for whole in curves]
        curve = torch.cat([whole[:, at.to(whole.device)] for whole, at in zip(curves, kept, strict=True)])
        holders = [word for ledger in ledgers for word in ledger.holder]
        evidence: dict[str, Tensor | list[str]] = {
            "found_by": [w if f else "none" for w, f in zip(holders, found.tolist(), strict=True)],
            "whitebox": own["autograd"],
            "blackbox": torch.minimum(own["secant"], own["search"]),
            "last_tenth_gain": torch.cat([last_tenth_gain(whole) for whole in curves]),
            "targets_covered": torch.cat(
                [torch.full_like(ledger.radius, ledger.covered) for ledger in ledgers]
            ),
        }
        evidence |= oracle.queries.evidence()
        evidence |= {f"radius_{name.replace('-', '_')}": value for name, value in own.items()}
        witness = point.to(inputs.dtype).reshape(inputs.shape)
        return Estimate(radius, evidence, {"radius": curve}, witness)


def _differs(
    plain: Callable[[Tensor], Tensor], repaired: Callable[[Tensor], Tensor], ledger: Ledger
) -> Tensor:
    """(n,) booleans: the two gradients of the runner-up's margin differ at the input or at one of four
    points.

    The points lie around the input at up to the distance found, or a quarter of the box.
    """
    oracle, who = ledger.oracle, ledger.who
    centre = oracle.centre[who][:, None]
    near = around(oracle, centre, ledger.radius[:, None].expand(-1, 4), ledger.generators)
    target = nearest_targets(oracle, plain, who, count=oracle.subject.classes)[:, 0]
    return oracle.apart(plain, repaired, torch.cat([centre, near], 1), who, target)
