"""Which further units the stored facts ask for: a pure rule over verdicts, run when the queue is empty."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from falsefloor.plugins import Catalogue
from falsefloor.store.asked import Floor, Place
from falsefloor.store.writer import RunWriter
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit
from falsefloor.worker.planning import runs
from falsefloor.worker.resamples import CODES, resamples
from falsefloor.worker.traps import traps

RECOVERED = "{} (recovered)"
"""The label of the series that estimates again with a repaired gradient."""
DOUBTED = frozenset(("refuted", "suspect"))


def follow_ups(installed: Catalogue) -> Callable[[RunWriter, Study, Sequence[Series]], list[Unit]]:
    """The rule as `falsefloor.worker.drive.drive` asks it. What it asks for twice is planned once."""

    def rule(writer: RunWriter, study: Study, series: Sequence[Series]) -> list[Unit]:
        asked = writer.asked
        trapped = traps(asked.first_judged(), study, series, own=installed.is_own)
        again = resamples(
            asked.fired(CODES), study, series, accepts=installed.accepts, done=asked.resampled()
        )
        if again:
            # first: more samples may take the doubt away that a repair would be asked for
            return [*again, *trapped]
        return [*recoveries(asked.floors(), study, series, done=asked.followed()), *trapped]

    return rule


def recoveries(
    floors: Sequence[Floor], study: Study, series: Sequence[Series], *, done: Collection[Place] = ()
) -> list[Unit]:
    """Estimates to be made again through a gradient that the function confirms, in the table's order.

    Of every lower claim that followed autograd: for ``recover = "suspect"`` exactly the inputs at which one
    was refuted or is suspect, for "on" all, for "off" none; so that the chunk decides how they are cut into
    units and not which they are. ``done``: what is planned already. A repaired estimate asks for nothing
    further.
    """
    if study.recover == "off":
        return []
    wanted: dict[tuple[str, str, str, str], set[int]] = {}
    for floor in floors:
        followed = floor.gradient == "autograd" and floor.recovers is None and floor.backward > 0
        if followed and (study.recover == "on" or floor.verdict in DOUBTED):
            cell = (floor.model, floor.masker, floor.norm, floor.label)
            if (*cell[:3], RECOVERED.format(floor.label), floor.input) not in done:
                wanted.setdefault(cell, set()).add(floor.input)
    units = []
    for raw in series:
        inputs = wanted.get((raw.model.name, raw.stack.name, raw.norm, raw.label), set())
        again = recovered(raw)
        units += [
            Unit("follow-up", raw.model, raw.stack, raw.norm, study.inputs, chunk, study.seed, series=again)
            for chunk in runs(inputs, longest=study.chunk)
        ]
    return units


def recovered(raw: Series) -> Series:
    """The same estimator with the same parameters, through the first gradient that the function confirms."""
    estimator = replace(raw.estimator, gradient="auto", label=RECOVERED.format(raw.label))
    return replace(raw, estimator=estimator, recovers=raw.label)


__all__ = ["RECOVERED", "follow_ups", "recoveries"]
