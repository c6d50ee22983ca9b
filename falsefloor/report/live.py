"""Progress of a computation in this process, on a terminal's stderr or in a notebook."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir

if TYPE_CHECKING:
    from falsefloor.worker.executor import Progressed


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
