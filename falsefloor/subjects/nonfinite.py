"""Where a subject gives no answer: the nearest point at which it returns NaN or infinity, or raises."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from falsefloor.subjects.counterexample import Sighting
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.site import Site


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


__all__ = ["nonfinite_facts", "not_finite"]
