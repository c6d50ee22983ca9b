"""One unit of work, from its description to what is stored: the same path for workers, `evaluate` and kits.

spec ─> session: model, inputs, subject ─> what its kind computes ─> what the subject was seen to answer
meanwhile ─> UnitResult; what the process and the subject were, they are again

Every answer counts, once it was the same answer twice, whatever the unit was asked for: an estimator that
nobody knows, a follow-up and an observation meet points in the same way, and each may refute the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import torch

from falsefloor.api import Cancelled, NotApplicable
from falsefloor.engine import estimate, followups, observe
from falsefloor.engine.arrays import pack_tensor, unpack_tensor
from falsefloor.engine.context import Sink, generators
from falsefloor.engine.session import Session, Task, declined, describe_error
from falsefloor.engine.surroundings import Surroundings
from falsefloor.errors import FalsefloorError
from falsefloor.jsonable import as_number
from falsefloor.observed import MET
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.study.units import canonical, digest, fingerprint, kind_of, plugins_of
from falsefloor.subjects.observe.around import Moves, around, forgotten
from falsefloor.subjects.observe.counterexample import Met, met
from falsefloor.subjects.sightings import Sightings

KINDS: Mapping[str, Callable[[Task, Session, Sink], UnitResult]] = {
    "observe": observe.run,
    "estimate": estimate.run,
    "trap": followups.run_trap,
    "resample": followups.run_resample,
    "closer": followups.run_closer,
}
"""What computes a unit, by `falsefloor.study.units.kind_of`."""


def run_unit(spec: Mapping[str, Any], session: Session, sink: Sink) -> UnitResult:
    """Compute one unit. What a plugin or a model does becomes a status; nothing but interruption passes."""
    key = digest(canonical(spec))
    start = time.perf_counter()
    before = Surroundings.now()
    try:
        prepared = session.prepared(spec["model"], spec["inputs"])
        try:
            session.subject(spec["model"], spec["inputs"], spec["stack"])
        except NotApplicable as error:
            skipped = _declined(spec, declined(error, who="a masker"))
            known = session.fingerprint(spec["model"], spec["inputs"])
            return replace(skipped, fingerprint=fingerprint(spec, known))
        for plugin in plugins_of(spec):
            session.identified(spec["model"], spec["inputs"], *plugin)
        chunk = range(*spec["chunk"])
        # where features are fixed, or one class is the target, each input has a subject of its own
        parts = [range(n, n + 1) for n in chunk] if prepared.alone else [chunk]
        result = replace(
            _joined([_part(spec, session, sink, numbers, before) for numbers in parts]),
            key=key,
            fingerprint=fingerprint(spec, session.fingerprint(spec["model"], spec["inputs"])),
        )
    except Cancelled:
        session.forget(spec)  # nobody looked at what it left
        result = UnitResult(key, "cancelled", "cancelled while it ran")
    except FalsefloorError as error:
        session.forget(spec)
        result = UnitResult(key, "failed", str(error))
    except (Exception, SystemExit) as error:
        session.forget(spec)
        result = UnitResult(key, "failed", describe_error(error))
    finally:
        session.spent |= not before.restore()
        session.give_back()
        before.forget()
    return replace(result, seconds=round(time.perf_counter() - start, 4))


def _part(
    spec: Mapping[str, Any], session: Session, sink: Sink, numbers: range, surroundings: Surroundings
) -> UnitResult:
    """The unit for some of its inputs. What an estimator left in ``surroundings`` is put back before the
    subject is looked at: one made anew under a mode that it left would have its mark."""
    session.at = numbers.start if len(numbers) == 1 else None
    try:
        subject = session.subject(spec["model"], spec["inputs"], spec["stack"])
    except NotApplicable as error:
        chunk = {"chunk": [numbers.start, numbers.stop]}
        return _declined({**spec, **chunk}, declined(error, who="the question"))
    before = subject.forward_queries, subject.backward_queries, subject.calls
    task = Task(spec, session.prepared(spec["model"], spec["inputs"]), subject, numbers)
    inside, seen = sightings(task)
    with subject.shown_to(seen):
        made: UnitResult | Exception | SystemExit
        try:
            made = KINDS[kind_of(spec)](task, session, sink)
        except Cancelled:
            raise
        except (Exception, SystemExit) as error:
            made = error
        changed = session.changed(task)
        session.spent |= not surroundings.restore()
        touched = session.touched(task, changed, calls=subject.calls - before[2])
        if not isinstance(made, UnitResult) and not touched:
            raise made
        result = made if isinstance(made, UnitResult) else UnitResult(task.key, "failed", str(made))
        result = result if touched else asked_around(task, session, result)
    kept = estimate.blamed(task, result, touched) if touched else noted(task, session, result, inside, seen)
    return replace(
        kept, forward=subject.forward_queries - before[0], backward=subject.backward_queries - before[1]
    )


def _joined(parts: Sequence[UnitResult]) -> UnitResult:
    """One result of several for parts of the inputs: the first that is not ok speaks for its status."""
    first = next((part for part in parts if part.status != "ok"), parts[0])
    return replace(
        first,
        forward=sum(part.forward for part in parts),
        backward=sum(part.backward for part in parts),
        estimates=[one for part in parts for one in part.estimates],
        observations=[one for part in parts for one in part.observations],
    )


def _declined(spec: Mapping[str, Any], said: str) -> UnitResult:
    """Of a subject that a masker declines to be part of: estimates are skipped, nothing is observed."""
    asked = range(*spec["chunk"]) if kind_of(spec) == "estimate" else ()
    skipped = [EstimateResult(number, status="skipped", error=said) for number in asked]
    return UnitResult(digest(canonical(spec)), estimates=skipped)


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

    found, moves = session.with_room(look)
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
        towards = witness if bool((witness != inputs).any()) else None
        return around(
            task.subject, inputs, drawn, radius=radius, witness=towards, norm=norm, rows=session.rows
        )

    return _told(result, list(rows), session.with_room(look))


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
