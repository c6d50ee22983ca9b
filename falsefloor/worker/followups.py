"""Which further units the stored facts ask for: a pure rule over verdicts, run when the queue is empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from falsefloor.store.writer import RunWriter
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit
from falsefloor.worker.planning import Planner


def follow_ups(planner: Planner) -> Callable[[RunWriter, Study, Sequence[Series]], list[Unit]]:
    """The rule, with the plugins at hand that a recovered estimate needs."""
    del planner
    return lambda _writer, _study, _series: []
