"""Whether a subject answers the same question twice the same way, alone and in company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from falsefloor.subjects.site import Site

REPEATS = 3


def stability(site: Site) -> list[dict[str, Any]]:
    """Facts an input: ``repeats`` and ``batch``, each with the largest shift of a logit, relative to the
    largest logit, and whether the predicted class changed. An unfilled batch of one against the filled batch.
    """
    again = [site.guard.first(site.inputs)[0] for _ in range(REPEATS)]
    alone = site.guard.alone(site.inputs)
    facts: list[dict[str, Any]] = []
    for i in range(len(site.inputs)):
        first = site.logits[i]
        repeats = [shift(first, other[i]) for other in again]
        facts.append(
            {
                "repeats": {
                    "shift": max(moved for moved, _ in repeats),
                    "label": any(label for _, label in repeats),
                    "count": REPEATS,
                },
                "batch": dict(zip(("shift", "label"), shift(first, alone[i]), strict=True)),
            }
        )
    return facts


def ask_again(site: Site, facts: Sequence[dict[str, Any]]) -> None:
    """One repeat more, entered into ``facts``: asked after everything else was measured, it meets a subject
    whose answers change with the number of calls."""
    again = site.guard.first(site.inputs)[0]
    for i, fact in enumerate(facts):
        moved, label = shift(site.logits[i], again[i])
        repeats = fact["repeats"]
        repeats["shift"] = max(repeats["shift"], moved)
        repeats["label"] = repeats["label"] or label
        repeats["count"] += 1


def shift(first: Tensor, other: Tensor) -> tuple[float, bool]:
    """How far logits (K,) moved, relative to the largest, and whether the class on top is another."""
    one, two = first.double(), other.double()
    if bool((one == two).all()):
        return 0.0, False
    scale = float(one.abs().max())
    moved = float((one - two).abs().max()) / scale if scale > 0 else float("inf")
    return (moved if moved == moved else float("inf")), bool(one.argmax() != two.argmax())


__all__ = ["REPEATS", "ask_again", "shift", "stability"]
