"""Computes in this very process: for `evaluate` and notebooks, where models are live objects."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from falsefloor.worker.executor import Event, Finished, Progressed, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from falsefloor.engine.session import Session
    from falsefloor.store.records import UnitResult

    Run = Callable[[Mapping[str, Any], Session, Any], UnitResult]


class InProcess:
    """`falsefloor.worker.executor.Executor` that computes one unit whenever it is asked for events.

    run: `falsefloor.engine.unit.run_unit`; watch is called with every progress.
    """

    def __init__(self, session: Session, run: Run, watch: Callable[[Progressed], None]) -> None:
        self._session, self._run, self._watch = session, run, watch
        self._queue: deque[tuple[int, Mapping[str, Any]]] = deque()

    def prepare(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[Any], *, stopped: Stopped
    ) -> dict[str, Any]:
        del stopped  # nobody else runs meanwhile
        answer = self._session.ready(model, inputs, list(stacks))
        return answer | {"threads": 0, "versions": {"python": platform.python_version()}}

    @property
    def capacity(self) -> int:
        return 1 - len(self._queue)

    def submit(self, unit: int, spec: Mapping[str, Any]) -> None:
        self._queue.append((unit, spec))

    def events(self, timeout: float) -> list[Event]:
        del timeout
        if not self._queue:
            return []
        unit, spec = self._queue.popleft()

        def sink(done: int, total: int, series: dict[str, list[float]]) -> None:
            self._watch(Progressed(unit, done, total, series.get("radius", ())))

        return [Finished(unit, self._run(spec, self._session, sink))]

    def cancel(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        self._queue.clear()
