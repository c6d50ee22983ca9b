"""Which further units the stored facts ask for: a pure rule over verdicts, run when the queue is empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from falsefloor.store.writer import Floor, RunWriter
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit
from falsefloor.worker.planning import Planner

RECOVERED = "{} (recovered)"
"""The label of the series that estimates again with a repaired gradient."""
DOUBTED = frozenset(("refuted", "suspect"))


def follow_ups(planner: Planner) -> Callable[[RunWriter, Study, Sequence[Series]], list[Unit]]:
    """The rule as `falsefloor.worker.drive.drive` asks it. What it asks for twice is planned once."""
    del planner  # the repaired estimate is the raw one's estimator with the raw one's complete parameters
    return lambda writer, study, series: recoveries(writer.floors(), study, series)


def recoveries(floors: Sequence[Floor], study: Study, series: Sequence[Series]) -> list[Unit]:
    """Estimates to be made again through a gradient that the function confirms, in the table's order.

    Of every lower claim that followed autograd: for ``recover = "suspect"`` the chunks in which one was
    refuted or is suspect, for "on" all, for "off" none. A repaired estimate asks for nothing further.
    """
    if study.recover == "off":
        return []
    wanted: dict[tuple[str, str, str, str], set[tuple[int, int]]] = {}
    for floor in floors:
        followed = floor.gradient == "autograd" and floor.recovers is None and floor.backward > 0
        if followed and (study.recover == "on" or floor.verdict in DOUBTED):
            cell = (floor.model, floor.masker, floor.norm, floor.label)
            wanted.setdefault(cell, set()).add((floor.first, floor.stop))
    units = []
    for raw in series:
        chunks = wanted.get((raw.model.name, raw.stack.name, raw.norm, raw.label), set())
        again = recovered(raw)
        units += [
            Unit("follow-up", raw.model, raw.stack, raw.norm, study.inputs, chunk, study.seed, series=again)
            for chunk in sorted(chunks)
        ]
    return units


def recovered(raw: Series) -> Series:
    """The same estimator with the same parameters, through the first gradient that the function confirms."""
    estimator = replace(raw.estimator, gradient="auto", label=RECOVERED.format(raw.label))
    return replace(raw, estimator=estimator, recovers=raw.label)


__all__ = ["RECOVERED", "follow_ups", "recoveries"]
