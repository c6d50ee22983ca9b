"""What a unit's subject was seen to answer, beside what the unit was asked for: every answer counts, once it
was the same answer twice.

The same for all kinds of units: an estimator that nobody knows, a follow-up and an observation meet points in
the same way, and each may refute what the others claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import TypeVar

import torch

from falsefloor.engine.arrays import pack_tensor, unpack_tensor
from falsefloor.engine.context import generators
from falsefloor.engine.session import Session, Task
from falsefloor.jsonable import as_number
from falsefloor.observed import MET
from falsefloor.store.records import Array, ObservationResult, UnitResult
from falsefloor.study.units import kind_of
from falsefloor.subjects.observe.around import Moves, around, forgotten
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

    def look() -> tuple[list[dict[str, Met]], Moves]:
        found = met(task.subject, seen, rows=session.rows)
        lost = [at for at, points in enumerate(found) if "changed" not in points]
        return found, forgotten(task.subject, seen, of=lost, rows=session.rows)

    found, moves = _with_room(session, look)
    result = _told(result, numbers, moves)
    finder = _finder(task)
    for number, points in zip(numbers, found, strict=True):
        if points:
            arrays = {
                MET[name]: pack_tensor(task.prepared.own(one.point), {**one.facts, "finder": finder})
                for name, one in points.items()
            }
            result = _with(result, number, arrays)
    return result


def asked_around(task: Task, session: Session, result: UnitResult) -> UnitResult:
    """The result after points around every claim and witness of it were asked, in several ways."""
    rows = {row.input: row for row in result.estimates if row.status == "ok" and 0 < (row.radius or 0) < inf}
    if not rows:
        return result
    inputs, _ = task.at(list(rows))
    witness = inputs.clone()
    for at, row in enumerate(rows.values()):
        if "witness" in row.arrays:
            witness[at] = task.prepared.judged(unpack_tensor(row.arrays["witness"]))
    radius = torch.tensor([row.radius for row in rows.values()], device=inputs.device)

    def look() -> Moves:
        norm = task.spec["norm"]
        drawn = generators(inputs, seed=task.spec["seed"], norm=f"around {norm}")
        return around(
            task.subject,
            inputs,
            radius=radius,
            witness=witness if bool((witness != inputs).any()) else None,
            norm=norm,
            generators=drawn,
            rows=session.rows,
        )

    return _told(result, list(rows), _with_room(session, look))


Found = TypeVar("Found")


def _with_room(session: Session, look: Callable[[], Found]) -> Found:
    """With smaller forwards on out-of-memory."""
    while True:
        try:
            return look()
        except Exception as error:
            if not session.less_room(error):
                raise


def _told(result: UnitResult, numbers: Sequence[int], moves: Moves) -> UnitResult:
    """With what moved as evidence of these inputs' estimates."""
    columns = {"repeat_shift": moves.repeats.tolist(), "batch_shift": moves.batch.tolist()}
    told = {
        number: {name: values[at] for name, values in columns.items() if values[at] > 0}
        for at, number in enumerate(numbers)
    }
    estimates = []
    for row in result.estimates:
        more = told.get(row.input, {}) if row.status == "ok" else {}
        kept = {name: max(value, as_number(row.evidence.get(name)) or 0.0) for name, value in more.items()}
        estimates.append(replace(row, evidence={**row.evidence, **kept}) if kept else row)
    return replace(result, estimates=estimates)


def _finder(task: Task) -> str:
    """Who met a point, as the subject of a sentence."""
    kind = kind_of(task.spec)
    if kind == "observe":
        return "the observation"
    use = str(task.estimator["use"])
    return {"trap": f"the trap of {use}", "closer": f"{use}, asked again"}.get(kind, use)


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
