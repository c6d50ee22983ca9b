"""Computes in this very process, for `evaluate` and notebooks, where models are live objects; and shows how
far it is, on a terminal's stderr or in a notebook.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
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


class Progress:
    """A bar over the units of a run; ``moved`` is called whenever a unit moves."""

    def __init__(self, run: RunDir, *, show: bool) -> None:
        self._run, self._show = run, show
        self._bar = Bar(
            TextColumn("judging"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("units"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not show,
        )
        self._task = self._bar.add_task("units", total=None)

    def __enter__(self) -> Progress:
        if self._show:  # a bar that is not shown would leave an empty cell in a notebook
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._show:
            self._bar.stop()

    def moved(self, event: Progressed) -> None:
        """Draw where the run stands and how far its unit is."""
        if not self._show:
            return
        with RunReader(self._run) as reader:
            info = reader.info()
        within = event.done / max(event.total, 1)
        self._bar.update(self._task, completed=info.units_ended + within, total=info.units_total)
