"""disagreement: a lower claim far above what another estimator says about the same input.

Two honest floors differ by what their methods lose. When one is many times the other, one of them looked at
something else than the function: a note of where to look, not yet a refutation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from falsefloor.api import CodeInfo, Facts, Finding

FACTOR = 3.0
"""Sampled and certified floors of one small network lie within a factor of 2 of each other."""


class Disagreement:
    """A lower claim more than three times the smallest one of its siblings."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[Mapping[str, CodeInfo]] = {
        "FLOORS": CodeInfo(
            name="floors disagree",
            severity="suspect",
            summary="Another estimator's floor for the same input is less than a third of this one.",
            cure="Look at both estimates' evidence; an upper bound decides which of them stands.",
            source="falsefloor-spheres",
        )
    }

    def __call__(self, facts: Facts, /) -> Iterator[Finding]:
        """At most one finding; floors of 0 say nothing and are passed by."""
        judged = facts.judged
        floors = [r for r in facts.others if r.claim != "upper_bound" and r.radius > 0]
        if judged.claim == "upper_bound" or not floors:
            return
        least = min(floors, key=lambda record: (record.radius, record.estimator))
        if judged.radius > FACTOR * least.radius:
            yield Finding(
                code="FLOORS",
                severity="suspect",
                message=f"{judged.radius:.3g} is {judged.radius / least.radius:.1f} times what"
                f" {least.estimator} says, {least.radius:.3g}",
                evidence={"radius": judged.radius, "other": least.radius, "estimator": least.estimator},
            )
