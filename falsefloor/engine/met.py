"""What a unit's subject was seen to answer, beside what the unit was asked for: every answer counts.

The same for all kinds of units: an estimator that nobody knows, a follow-up and an observation meet points in
the same way, and each may refute what the others claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from falsefloor.engine.arrays import pack_tensor
from falsefloor.engine.session import Session, Task
from falsefloor.observed import MET
from falsefloor.store.records import Array, ObservationResult, UnitResult
from falsefloor.study.units import kind_of
from falsefloor.subjects.observe.met import Met, met
from falsefloor.subjects.sightings import Sightings


def sightings(task: Task) -> tuple[list[int], Sightings]:
    """The numbers of a unit's inputs that lie in the domain, and what is to look at answers for them."""
    numbers = [number for number in task.numbers if task.prepared.facts["inside"][number]]
    inputs, labels = task.at(numbers)
    return numbers, Sightings(inputs, labels, norm=task.spec["norm"], bounds=task.subject.bounds)


def noted(
    task: Task, session: Session, result: UnitResult, numbers: Sequence[int], seen: Sightings
) -> UnitResult:
    """The result with the nearest points that stand, as arrays of their input, in roles of `MET`.

    They are asked again after everything else, so that a subject that counts its calls answers as before.
    """
    while True:
        try:
            found = met(task.subject, seen, rows=session.rows)
            break
        except Exception as error:
            if not session.less_room(error):
                raise
    finder = _finder(task)
    for number, points in zip(numbers, found, strict=True):
        if points:
            result = _with(result, number, {MET[name]: _packed(one, finder) for name, one in points.items()})
    return result


def _finder(task: Task) -> str:
    """Who met a point, as the subject of a sentence."""
    kind = kind_of(task.spec)
    if kind == "observe":
        return "the observation"
    use = str(task.estimator["use"])
    return f"the trap of {use}" if kind == "trap" else use


def _packed(one: Met, finder: str) -> Array:
    return pack_tensor(one.point, {**one.facts, "finder": finder})


def _with(result: UnitResult, number: int, arrays: dict[str, Array]) -> UnitResult:
    """With arrays of an input: its estimate's or, in a unit without one, its observation's."""
    estimates, observations = list(result.estimates), list(result.observations)
    for at, row in enumerate(estimates):
        if row.input == number:
            estimates[at] = replace(row, arrays={**row.arrays, **arrays})
            return replace(result, estimates=estimates)
    for at, told in enumerate(observations):
        if told.input == number:
            observations[at] = replace(told, arrays={**told.arrays, **arrays})
            return replace(result, observations=observations)
    return replace(result, observations=[*observations, ObservationResult(number, None, {}, arrays)])
