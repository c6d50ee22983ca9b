"""Where the gradient goes missing, for inputs whose observed gradient contradicts the function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Generator, Tensor

from falsefloor.api import Facts, Norm, Record
from falsefloor.checks.gradient import scales_disagree, vanished
from falsefloor.subjects.locate import Located, locate
from falsefloor.subjects.subject import ModelSubject

SHARE = 0.2
"""Of the domain's diameter: how far around an input to look where no counterexample says what is near."""


def doubtful(facts: Mapping[str, Any], *, norm: Norm) -> bool:
    """Whether autograd's observed gradient is cut, vanishes, or disagrees with the function (FF103, 101, 102)."""
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
    subject: ModelSubject,
    inputs: Tensor,
    label: int,
    facts: Mapping[str, Any],
    *,
    norm: Norm,
    generator: Generator,
) -> dict[str, Any] | None:
    """What to store of one input (*input): the gravest operation with its words, and the words of the others.

    None where the model raises while it is watched. Nothing found is said in words too.
    """
    try:
        found = locate(subject, inputs, label, norm=norm, radius=reach(facts), generator=generator)
    except Exception:
        return None  # some code cannot be watched; the observation stands without it
    return as_fact(found)


def as_fact(found: Sequence[Located]) -> dict[str, Any]:
    """The list as plain values: operation, submodule, line, kind, lost, displacement, certain, words, others."""
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
