"""One unit of work, from its description to what is stored: the same path for workers, `evaluate` and kits.

spec ─> session: model, inputs, subject ─> what its kind computes ─> what the subject was seen to answer
meanwhile (`falsefloor.engine.met`) ─> UnitResult; what the process and the subject were, they are again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from falsefloor.api import Cancelled, NotApplicable
from falsefloor.engine import closer, estimate, observe, resample, trap
from falsefloor.engine.context import Sink
from falsefloor.engine.met import asked_around, noted, sightings
from falsefloor.engine.session import Session, Task, declined, describe_error
from falsefloor.engine.surroundings import Surroundings
from falsefloor.errors import FalsefloorError
from falsefloor.store.records import EstimateResult, UnitResult
from falsefloor.study.identity import fingerprint, plugins_of
from falsefloor.study.units import canonical, digest, kind_of

KINDS: Mapping[str, Callable[[Task, Session, Sink], UnitResult]] = {
    "observe": observe.run,
    "estimate": estimate.run,
    "trap": trap.run,
    "resample": resample.run,
    "closer": closer.run,
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
        kept,
        forward=subject.forward_queries - before[0],
        backward=subject.backward_queries - before[1],
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
