"""What a subject's answers look like around an input, and the nearest point at which it gives none.

Saturated outputs, exact ties and probabilities in the place of logits hide a margin; NaN, infinity and an
exception are no class at all.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.observe.counterexample import Sighting
from falsefloor.subjects.observe.site import Site


def not_finite(points: Tensor, logits: Tensor, away: Tensor) -> Sighting:
    """The nearest of points (N, M, *input), at distances (N, M), whose logits (N, M, K) are not finite."""
    return Sighting(points, ~logits.isfinite().all(2), away).nearest(1)


def nonfinite_facts(
    site: Site, broken: Sighting, logits: Tensor
) -> dict[int, tuple[str, dict[str, Any], Tensor]]:
    """For each input that has one: the fact's name, the fact and the point, asked again alone.

    logits (N, M, K): of everything that was evaluated, for the share. "raises" where the subject raised,
    "nonfinite" where it answered; nothing where it answers properly when asked again.
    """
    bad = ~logits.isfinite().all(2)
    if not bool(bad.any()):
        return {}
    nearest = broken.nearest(1)
    guard = Guarded(site.subject, rows=site.rows)
    facts: dict[int, tuple[str, dict[str, Any], Tensor]] = {}
    for i in nearest.flipped[:, 0].nonzero().flatten().tolist():
        again, errors = guard.first(nearest.points[i])
        fact: dict[str, Any] = {
            "distance": float(nearest.distance[i, 0]),
            "share": float(bad[i].double().mean()),
            "array": "nonfinite",
        }
        point = nearest.points[i, 0].clone()
        if errors[0] is not None:
            facts[i] = "raises", {**fact, "message": errors[0]}, point
        elif not bool(again.isfinite().all()):
            facts[i] = "nonfinite", fact, point
    return facts


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
