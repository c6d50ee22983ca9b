"""The stages of an observation: each adds facts, and what later ones need of the points that it asked.

Of the answers around an input: saturated outputs, exact ties and probabilities in the place of logits hide a
margin; NaN, infinity and an exception are no class at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe import elsewhere
from falsefloor.subjects.observe.agreement import scale_agreement
from falsefloor.subjects.observe.counterexample import CANDIDATES, Sighting, join, nearest_counterexample
from falsefloor.subjects.observe.pairs import secant_facts, secant_pairs
from falsefloor.subjects.observe.repeats import ask_again, precision_ladder, stability
from falsefloor.subjects.observe.site import SCALES, Site

AUTOGRAD = "autograd"


@dataclass(frozen=True)
class Observation:
    """Of one input. facts: JSON values, infinities and NaN as words; arrays: by the role that facts name."""

    facts: dict[str, Any]
    arrays: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Seen:
    """What is known of a site so far.

    others (R, *input) with their classes (R,): inputs as the subject is used with. sightings and broken: the
    nearest points that changed class, and that have no answer. logits: of all points that were drawn.
    flipped: (N,) the distance at which a secant first changed class, inf where none did. settling: (N,)
    forwards that settling spent.
    """

    site: Site
    found: Sequence[Observation]
    others: Tensor
    classes: Tensor
    sightings: list[Sighting] = field(default_factory=list)
    broken: list[Sighting] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    flipped: Tensor = field(default_factory=lambda: torch.zeros(0))
    settling: Tensor = field(default_factory=lambda: torch.zeros(0))

    def tell(self, name: str, values: Sequence[Any]) -> None:
        """The fact ``name`` of every input."""
        for one, value in zip(self.found, values, strict=True):
            one.facts[name] = value

    def met(self, points: Tensor, logits: Tensor, away: Tensor) -> None:
        """Points (N, M, *input) that were asked, and their distances (N, M): only the nearest are kept."""
        self._kept(points, logits, away)
        self.logits.append(logits)

    def asked(self, points: Tensor) -> Tensor:
        """Logits (N, M, K) of points that only the nearest changes of class are of interest of."""
        logits = self.site.guard(points)
        self._kept(points, logits, self.site.away(points))
        return logits

    def _kept(self, points: Tensor, logits: Tensor, away: Tensor) -> None:
        self.sightings.append(Sighting.of(self.site, points, logits, away).nearest(CANDIDATES))
        self.broken.append(Sighting(points, ~logits.isfinite().all(2), away).nearest(1))


def _repeats(seen: Seen) -> None:
    for one, facts in zip(seen.found, stability(seen.site), strict=True):
        one.facts.update(facts)


def _margin(seen: Seen) -> None:
    seen.tell("margin", [float(margins.min()) for margins in seen.site.margins])
    seen.tell("runner_up", seen.site.runner_up.tolist())
    _gradient_path(seen)


def _secants(seen: Seen) -> None:
    pairs = secant_pairs(seen.site)
    seen.met(pairs.points, pairs.logits, pairs.distance)
    seen.flipped = torch.where(pairs.margins.amin(2) < 0, pairs.distance, torch.inf).amin(1)
    for one, (table, ends) in zip(seen.found, secant_facts(seen.site, pairs), strict=True):
        one.facts["secants"] = table
        one.arrays.update(ends)


def _gradients(seen: Seen) -> None:
    """At the common scales and, an input, at the distance at which a secant first changed class."""
    site, flipped = seen.site, seen.flipped
    # between the two widest scales where nothing changed class
    own = torch.where(flipped.isfinite(), flipped, 0.2 * site.diameter)
    seen.tell("gradients", [{AUTOGRAD: []} for _ in seen.found])
    for scale in SCALES:
        _gradients_within(seen, torch.full_like(flipped, scale * site.diameter))
    _gradients_within(seen, own)


def _gradients_within(seen: Seen, radius: Tensor) -> None:
    agreement = scale_agreement(seen.site, radius, sources={AUTOGRAD: seen.site.subject})
    seen.met(agreement.points, agreement.logits, seen.site.away(agreement.points))
    for i, one in enumerate(seen.found):
        row = {"radius": float(radius[i]), **agreement.facts[i][AUTOGRAD]}
        one.facts["gradients"][AUTOGRAD].append(row)


def _elsewhere(seen: Seen) -> None:
    """Along hidden units that could switch, and from there; towards other inputs; along slow waves."""
    site = seen.site
    lo, hi = site.subject.bounds
    switches = elsewhere.units(site, seen.others)
    told = {"seen": switches.seen, "looked": switches.looked, "reason": switches.reason or None}
    seen.tell("units", [told] * len(seen.found))
    points, _ = switches.points(site.inputs, elsewhere.PAST, norm=site.norm, lo=lo, hi=hi)
    if points.shape[1]:
        for _ in range(elsewhere.ROUNDS):
            points = elsewhere.follow(site, points, seen.asked(points))
        seen.asked(points)
    seen.asked(torch.cat([elsewhere.towards(site, seen.others, seen.classes), elsewhere.waves(site)], 1))


def _counterexample(seen: Seen) -> None:
    settled = nearest_counterexample(seen.site, seen.sightings)
    seen.settling = settled.queries
    for i, one in enumerate(seen.found):
        one.facts["counterexample"] = None
        if bool(settled.ok[i]):
            one.facts["counterexample"] = {
                "distance": float(settled.radius[i]),
                "predicted": int(settled.predicted[i]),
                "moved": float(settled.moved[i]),
                "array": "counterexample",
            }
            one.arrays["counterexample"] = settled.points[i].clone()


def outputs(logits: Tensor) -> list[dict[str, object]]:
    """Facts an input about logits (N, M, K) at M points around it.

    probabilities: every row is non-negative and sums to one. saturated: the share of rows whose largest entry
    is exactly the same number as the largest of all rows, or is tied within the row. Of log-probabilities the
    largest is 0 where the model is certain, and the margin still moves.
    """
    found: list[dict[str, object]] = []
    for rows in logits.double():
        finite = rows[rows.isfinite().all(1)]
        if not len(finite):
            found.append({"low": None, "high": None, "probabilities": False, "saturated": 0.0})
            continue
        sums = bool(((finite.sum(1) - 1).abs() < 1e-4).all())
        top = finite.topk(2, dim=1).values
        # a constant function has one output everywhere and saturates nothing
        varies = bool((finite != finite[0]).any())
        logs = bool((finite.logsumexp(1).abs() < 1e-4).all())
        stuck = (top[:, 0] == finite.max()) & (not logs) | (top[:, 0] == top[:, 1])
        share = float(stuck.double().mean()) if varies and len(finite) > 1 else 0.0
        found.append(
            {
                "low": float(finite.min()),
                "high": float(finite.max()),
                "probabilities": sums and float(finite.min()) >= 0,
                "saturated": share if float(stuck.sum()) > 1 else 0.0,
            }
        )
    return found


def _answers(seen: Seen) -> None:
    seen.tell("outputs", outputs(torch.cat(seen.logits, 1)))


def _precision(seen: Seen) -> None:
    seen.tell("precision", precision_ladder(seen.site))


def _gaps(seen: Seen) -> None:
    """The nearest point without a finite answer, asked again alone: "raises" where the subject raised there,
    "nonfinite" where it answered; nothing where it answers properly then. share: of all that was drawn."""
    bad = ~torch.cat(seen.logits, 1).isfinite().all(2)
    if not bool(bad.any()):
        return
    nearest = join(seen.broken).nearest(1)
    guard = Guarded(seen.site.subject, rows=seen.site.rows)
    for i in nearest.flipped[:, 0].nonzero().flatten().tolist():
        again, (error,) = guard.first(nearest.points[i])
        if error is None and bool(again.isfinite().all()):
            continue
        fact = {"distance": float(nearest.distance[i, 0]), "share": float(bad[i].double().mean())}
        told = {**fact, "array": "nonfinite"} | ({} if error is None else {"message": error})
        seen.found[i].facts["nonfinite" if error is None else "raises"] = told
        seen.found[i].arrays["nonfinite"] = nearest.points[i, 0].clone()


def _late_repeat(seen: Seen) -> None:
    ask_again(seen.site, [one.facts for one in seen.found])


def _queries(seen: Seen) -> None:
    """Every stage asks the same number of rows of each input, except settling, which counts its own."""
    count, guard = len(seen.found), seen.site.guard
    for one, settling in zip(seen.found, seen.settling.tolist(), strict=True):
        forward = 1 + guard.forwards // count + settling
        one.facts["queries"] = {"forward": forward, "backward": guard.backwards // count}


def _gradient_path(seen: Seen) -> None:
    """Whether a gradient path leads from the inputs to the logits; True where that cannot be told.

    ``backward``: what stood in its way, where something was raised.
    """
    site = seen.site
    leaf = site.inputs[:1].clone().requires_grad_(True)
    site.guard.forwards += len(site.inputs)
    connected, raised = False, ""
    try:
        with torch.enable_grad():
            # a copy: a model that works in place may not write into a leaf
            logits = site.subject.module(leaf.clone())
            if logits.requires_grad:
                (gradient,) = torch.autograd.grad(logits.sum(), leaf, allow_unused=True)
                connected = gradient is not None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # a model that answers as soon as nothing is recorded takes no gradient
        connected = bool(site.guard.regrouped(site.inputs[:1]).isnan().all())
        raised = f"{type(error).__name__}: {error}"[:300]
    seen.tell("connected", [connected] * len(seen.found))
    if raised and not connected:
        seen.tell("backward", [raised] * len(seen.found))


STAGES: tuple[Callable[[Seen], None], ...] = (
    _repeats,
    _margin,
    _secants,
    _gradients,
    _elsewhere,
    _counterexample,
    _answers,
    _precision,
    _gaps,
    _late_repeat,
    _queries,
)
"""In the order in which the subject is asked: generators are drawn from in it, and a subject whose answers
change with the number of calls gives the same ones."""
