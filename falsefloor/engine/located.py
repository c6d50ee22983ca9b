"""What hides an input's gradient, as facts of its observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from falsefloor.api import Facts, Norm, Record
from falsefloor.checks.gradient import scales_disagree, vanished
from falsefloor.engine.context import generators
from falsefloor.subjects.locate import Located, locate
from falsefloor.subjects.subject import ModelSubject

SHARE = 0.2
"""Of the domain's diameter: how far around an input to look where no counterexample says what is near."""


def doubtful(facts: Mapping[str, Any], *, norm: Norm) -> bool:
    """Whether autograd's gradient was seen to be cut, to vanish or to disagree with the function."""
    if "gradients" not in facts:
        return False
    radius = reach(facts)
    judged = Record("", "lower_estimate", "autograd", radius, {"sampling_radius": radius})
    seen = Facts(norm, judged, (), facts)
    return facts.get("connected") is False or bool(vanished(seen)) or bool(scales_disagree(seen))


def reach(facts: Mapping[str, Any]) -> float:
    """The distance of the nearest counterexample that was seen, else a share of the domain."""
    found = facts.get("counterexample")
    distance = found.get("distance") if isinstance(found, Mapping) else None
    return (
        float(distance) if isinstance(distance, float) and distance > 0 else SHARE * float(facts["diameter"])
    )


def located_facts(
    subject: ModelSubject, point: Tensor, label: int, facts: Mapping[str, Any], *, norm: Norm, seed: int
) -> dict[str, Any]:
    """{"located": …} of one input (*input): what hides its gradient, or that nothing was found to.

    Empty where nothing was found and nothing is wrong, and where the model raises while it is watched.
    """
    if "gradients" not in facts:
        return {}
    (drawn,) = generators(point.unsqueeze(0), seed=seed, norm=f"locate {norm}")
    try:
        found = locate(subject, point, label, norm=norm, radius=reach(facts), generator=drawn)
    except Exception:
        return {}  # some code cannot be watched; the observation stands without it
    wrong = doubtful(facts, norm=norm)
    # what is uncertain is worth a word only where something is wrong
    kept = [one for one in found if one.certain or wrong]
    return {"located": as_fact(kept)} if kept or wrong else {}


def as_fact(found: Sequence[Located]) -> dict[str, Any]:
    """The gravest as plain values, with its words; ``others``: the words of the rest."""
    if not found:
        return {"operation": None, "certain": False, "words": "not located", "others": []}
    first = found[0]
    return {
        "operation": first.operation,
        "submodule": first.submodule,
        "line": first.line,
        "kind": first.kind,
        "lost": first.lost,
        "displacement": first.displacement,
        "certain": first.certain,
        "passes": first.passes,
        "words": first.words,
        "others": [one.words for one in found[1:]],
    }


__all__ = ["as_fact", "doubtful", "located_facts", "reach"]
