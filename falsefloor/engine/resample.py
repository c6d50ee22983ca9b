"""A resampling unit: one estimator again with more samples, as facts for the checks that asked for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from falsefloor.engine import estimate
from falsefloor.engine.context import Sink
from falsefloor.engine.session import Session, Task
from falsefloor.evidence import NAMES
from falsefloor.observed import MoreSamples
from falsefloor.store.records import EstimateResult, ObservationResult, UnitResult

KEPT = tuple(name for name in NAMES if name in MoreSamples.__dataclass_fields__)
"""Evidence of the estimate with more samples that is stored beside the first one's."""


def run(task: Task, session: Session, sink: Sink) -> UnitResult:
    """The estimates with more samples, as facts beside the first ones and never in their place."""
    estimates = estimate.run(task, session, sink).estimates
    return UnitResult(task.key, observations=resampled_facts(task, estimates))


def resampled_facts(task: Task, rows: Iterable[EstimateResult]) -> list[ObservationResult]:
    """What estimates with more samples say, as observed facts.

    {"resampled": {label: {"times", "samples", "dimension", "radius", "forward", "backward", …KEPT}}}, where
    samples is the number of random points a ball that the first estimate took: its ``samples`` field, times
    its ``batches`` field where it has one. {"reason": …} where the estimator failed.
    """
    asked = task.estimator
    batches = asked["params"].get("batches")
    known = {
        "times": asked["times"],
        "samples": asked["params"]["samples"]
        // asked["times"]
        * (batches if type(batches) is int and batches > 0 else 1),
        "dimension": task.inputs[0].numel(),
    }
    found = []
    for row in rows:
        facts: dict[str, Any] = {"reason": f"{row.status}: {row.error}"[:300]}
        if row.status == "ok":
            kept = {name: row.evidence[name] for name in KEPT if name in row.evidence}
            facts = {**known, **kept, "radius": row.radius, "forward": row.forward, "backward": row.backward}
        found.append(ObservationResult(row.input, None, {"resampled": {asked["label"]: facts}}))
    return found
