"""The app itself: which run is watched, how it is polled, and the doors between the pages."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.driver import Driver
from textual.filter import ANSIToTruecolor
from textual.reactive import reactive
from textual.screen import Screen

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.report.text import ASCII, clean, glyphs_for, outcome, share
from falsefloor.store.forms import RunInfo
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir, list_dirs
from falsefloor.store.standing import ENDED
from falsefloor.tui import commands, drafts, themes
from falsefloor.tui.actions import ACTIONS, WHERE, bindings
from falsefloor.tui.ascii import AsciiFilter
from falsefloor.tui.drafts import Draft
from falsefloor.tui.screens.compare import Compare
from falsefloor.tui.screens.page import Page
from falsefloor.tui.snapshot import RunWatch, Snapshot
from falsefloor.tui.start import over_ssh
from falsefloor.tui.themes import ANSI_LIGHT, DARK, LIGHT, ORDER, first_theme
from falsefloor.tui.widgets.live_table import LiveTable

if TYPE_CHECKING:
    from falsefloor.study.study import Study

POLL, FAR = 0.1, 0.5
"""Seconds between looks at a live run, here and over SSH, where every change is bytes on a line."""
WARM = 1.0
"""Seconds after which the pages that are opened most are imported, so that nobody waits for that."""
LINE = 10_000.0
"""Characters a second that a live run may send over SSH: a look is followed by a pause that pays for it."""
MACHINE = 2.0
"""Seconds between looks at the accelerator."""
SHARE = 5.0
"""A look that took long is followed by a pause this many times longer."""
SCREENS = {
    "changes": "changes:ChangesPage",
    "codes": "codes:Codes",
    "confirm": "asking:Confirm",
    "detail": "detail:DetailPage",
    "export": "asking:AskExport",
    "first": "first:First",
    "help": "help:Help",
    "new run": "new_run:NewRun",
    "plugins": "plugins:Plugins",
    "review": "review:Review",
    "runs": "runs:Runs",
    "text": "text:TextPage",
    "lines": "text:LinesPage",
    "warnings": "warnings:Warnings",
}
"""Where a page is; it is imported when it is first shown."""
ONCE = ("codes", "help", "plugins", "runs")
"""Pages that never stand twice on the pile."""


class Workbench(App[None]):
    """falsefloor in a terminal. `root` is the store; `run` the run to open, or the newest one."""

    TITLE = "falsefloor"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("everywhere")
    COMMAND_PALETTE_BINDING = "ctrl+p"

    snapshot: reactive[Snapshot | None] = reactive(None, always_update=True)

    def __init__(self, root: Path, run: RunDir | None = None) -> None:
        super().__init__()
        self.root = root
        self.glyphs = glyphs_for()
        self.per_input = False
        self.within: Place | None = None
        self.machine = ""
        self.tour_when_done = False
        self.farewell = ""
        self.draft: Draft | None = drafts.kept(root)
        self.deleted: dict[str, RunDir] = {}
        self._wanted = run
        self._watch: RunWatch | None = None
        self._looking = False
        self._next_look = 0.0
        self._sent = 0
        self.ascii = self.glyphs is ASCII
        # The kernel's console has no braille.
        self.braille = os.environ.get("TERM") != "linux"
        if self.ascii:
            self._filters.append(AsciiFilter())
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.register_theme(ANSI_LIGHT)
        # Set before anything is drawn: the style sheet is then parsed once.
        self.set_reactive(App.theme, first_theme(os.environ))
        self.stylesheet.set_variables(self.get_css_variables())
        for one in self._filters:
            if isinstance(one, ANSIToTruecolor):
                # Chosen before the theme was known: red would be somebody's pink, and magenta on a console.
                one.enabled = not self.native_ansi_color

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(themes.FALLBACK)

    def get_default_screen(self) -> Screen[Any]:
        return Compare()

    def _newest(self) -> RunDir | None:
        """The newest run under way, else the newest."""
        try:
            runs = list_dirs(self.root)
        except StoreError as error:
            self.say(str(error), bad=True)
            return None
        return next((run for run in runs[:20] if run.is_alive()), runs[0] if runs else None)

    def on_mount(self) -> None:
        if self.ascii:
            self.add_class("-ascii")
        if (run := self._wanted or self._newest()) is not None:
            self._follow(run)
        else:
            self.show("first")
        far = over_ssh(os.environ)
        self.set_interval(FAR if far else POLL, self.look)
        if far and self._driver is not None:
            self._count(self._driver)
        self.set_interval(MACHINE, self._look_at_machine)
        self.set_timer(WARM, lambda: self.run_worker(_warm, thread=True, group="warm"))

    def _count(self, driver: Driver) -> None:
        """Count what goes over the line, so that looks at a run that moves a lot become rarer."""
        write = driver.write

        def counted(data: str) -> None:
            self._sent += len(data)
            write(data)

        driver.write = counted  # type: ignore[method-assign]

    def _handle_exception(self, error: Exception) -> None:
        """A crash, which should not be: what was being composed is on disk before the app goes."""
        for screen in self.screen_stack:
            if callable(draft := getattr(screen, "draft", None)):
                with suppress(Exception):  # whatever is broken, the crash itself is what must be told
                    drafts.keep(self.root, draft())
        super()._handle_exception(error)

    def _look_at_machine(self) -> None:
        """What the run's accelerator is at, where there is one and the run is under way."""
        info = self.snapshot.info if self.snapshot else None
        if info is None or not info.device.startswith("cuda") or info.status != "running":
            self.machine = ""
            return

        def ask() -> None:
            from falsefloor.tui.machine import busy

            self.machine = busy(info.device)

        self.run_worker(ask, thread=True, group="machine", exclusive=True)

    # The run that is watched

    @property
    def run_dir(self) -> RunDir | None:
        return self._watch.run if self._watch else None

    def _follow(self, run: RunDir) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = RunWatch(run)
        self._looking = False
        self.per_input, self.within = False, None
        self.snapshot = Snapshot(run)
        self._next_look = 0.0
        self.look()

    def open_run(self, run: RunDir) -> None:
        """Watch another run and show its table."""
        self._follow(run)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def look(self, *, now: bool = False) -> None:
        """Take a snapshot in a thread, unless one is being taken or it is too early and not asked for now."""
        watch = self._watch
        if now:
            self._next_look = 0.0
        if watch is None or self._looking or time.monotonic() < self._next_look:
            return
        self._looking = True

        def take() -> None:
            began = time.monotonic()
            taken = watch.take(per_input=self.per_input, within=self.within)
            self.call_from_thread(self._looked, watch, taken, time.monotonic() - began)

        self.run_worker(take, thread=True, group="look")

    def _looked(self, watch: RunWatch, taken: Snapshot | None, cost: float) -> None:
        self._looking = False
        if watch is not self._watch:
            return
        sent, self._sent = self._sent, 0
        self._next_look = time.monotonic() + max(SHARE * cost, sent / LINE)
        if taken is None:
            return
        before, self.snapshot = self.snapshot, taken
        if self.tour_when_done and taken.ended and len(self.screen_stack) == 1:
            self.tour_when_done = False
            self.action_tour()
        if before is not None and before.info and not before.ended and taken.ended:
            self.bell()
            self._tell_end(taken)

    def _tell_end(self, snapshot: Snapshot) -> None:
        info, said = snapshot.info, f"Run {snapshot.run.id} is {snapshot.status}"
        if info is not None:
            bad = snapshot.status != "done" or "failed" in info.counts or info.units_failed > 0
            self.say(f"{said}: {share(info.units())}; {outcome(info.counts)}.", bad=bad)

    def elapsed(self, snapshot: Snapshot) -> float:
        """Seconds the run has taken, counted on between snapshots."""
        if snapshot.info is None:
            return 0.0
        ticking = snapshot.info.status not in ENDED
        return snapshot.info.seconds + (time.monotonic() - snapshot.taken if ticking else 0.0)

    # Saying and copying

    def say(self, message: str, *, bad: bool = False) -> None:
        """A short notice; outside text in it stays text."""
        self.notify(clean(message), markup=False, severity="error" if bad else "information", timeout=6)

    def copy(self, text: str, what: str) -> None:
        self.copy_to_clipboard(text)
        short = text if len(text) <= 60 else text[:57] + self.glyphs.ellipsis
        self.say(f"Copied {what}: {short}")

    def copy_command(self, snapshot: Snapshot) -> None:
        def copy(study: Study) -> None:
            self.copy(study.command_line(), "the command")

        self.do(lambda: commands.study_of(snapshot.run), copy)

    def do(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        *,
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Work in a thread; its result goes to `then`, or is said; what fails on purpose is said."""

        def done(result: Any) -> None:
            if then is not None:
                then(result)
            elif result:
                self.say(str(result))

        def run() -> None:
            try:
                result = work()
            except (FalsefloorError, OSError, sqlite3.Error) as error:
                known = isinstance(error, FalsefloorError)
                said = str(error) if known else f"That did not work: {error}."
                self.call_from_thread(self.say, said, bad=True)
                if failed is not None:
                    self.call_from_thread(failed)
            else:
                self.call_from_thread(done, result)

        self.run_worker(run, thread=True, group="do")

    # Doors

    def show(self, name: str, *given: object, then: Callable[[Any], None] | None = None) -> None:
        """Put a page, or a question, on top of the pile; what is answered goes to `then`."""
        module, _, kind = SCREENS[name].partition(":")
        page: Any = getattr(import_module(f"falsefloor.tui.screens.{module}"), kind)
        if name in ONCE and any(type(screen) is page for screen in self.screen_stack):
            while type(self.screen) is not page:
                self.pop_screen()
        else:
            self.push_screen(page(*given), then)

    def open_detail(self, row: SeriesRow, number: int | None) -> None:
        if (run := self.run_dir) is not None:
            self.show("detail", run, row, number)

    def open_warnings(self) -> None:
        if (run := self.run_dir) is not None:
            self.show("warnings", run)

    def open_diagnosis(self, run: RunDir) -> None:
        width, glyphs = self.size.width - 4, self.glyphs
        self.show(
            "lines", f"diagnosis of run {run.id}", lambda: commands.diagnosis(run, width=width, glyphs=glyphs)
        )

    def open_log(self, run: RunDir) -> None:
        self.show("text", f"log of run {run.id}", lambda: commands.tail(run.log))

    def again(self, run: RunDir) -> None:
        """Compose a new run that begins as a copy of this one."""
        self.do(lambda: commands.study_of(run), lambda study: self.show("new run", study))

    def ask_cancel(self, run: RunDir, status: str) -> None:
        if status not in commands.LIVE:
            self.say(f"Run {run.id} is {status}; there is nothing to cancel.")
            return
        asked = (f"Cancel run {run.id}?", "What is finished stays. Resume goes on with it.", "Cancel it")
        self.show("confirm", *asked, then=lambda yes: self.do(lambda: commands.cancel(run)) if yes else None)

    def delete(self, run: RunDir) -> None:
        """Take a run out of the lists; it goes when the app closes, and can be taken back till then."""
        if run.is_alive():
            self.say(f"Run {run.id} is being computed; cancel it first (x).", bad=True)
        else:
            self.deleted[run.id] = run
            self.say(f"Run {run.id} goes when the app closes; u takes it back.")

    def undelete(self) -> None:
        if self.deleted:
            run, _ = self.deleted.popitem()
            self.say(f"Run {run} stays.")

    def reuse(self, run: RunDir) -> None:
        """Compute a run's study anew as another run, which takes over what did not change."""

        def start(study: Study) -> None:
            self.do(lambda: commands.start(study, self.root, reuse=run), self._started)

        self.do(lambda: commands.study_of(run), start)

    def ask_export(self, run: RunDir) -> None:
        def answered(given: tuple[str, str] | None) -> None:
            if given is not None:
                form, path = given
                self.do(lambda: commands.export(run, form, Path(path)), lambda p: self.say(f"Written: {p}"))

        self.show("export", run.id, then=answered)

    def pause_or_go_on(self, run: RunDir, info: RunInfo | None) -> None:
        if info is not None and info.status == "done" and not info.units_failed:
            self.say(f"Run {run.id} is done.")
        elif info is not None:
            self.do(lambda: commands.pause_or_go_on(run, info.status))

    def start_study(self, study: Study) -> None:
        """Start a run and watch it."""

        self.do(lambda: commands.start(study, self.root), self._started)

    def _started(self, result: tuple[RunDir, list[str]]) -> None:
        run, said = result
        for message in said:
            self.say(message)
        self.draft = None
        drafts.forget(self.root)
        self.open_run(run)

    # Keys of every page

    def action_new_run(self) -> None:
        self.show("new run", self.draft)

    def action_runs(self) -> None:
        self.show("runs")

    def action_plugins(self) -> None:
        self.show("plugins")

    def action_codes(self) -> None:
        """On the code that the page speaks of, where it speaks of one."""
        self.show("codes", self.screen.code if isinstance(self.screen, Page) else "")

    def action_diagnose_model(self) -> None:
        """Compose a run whose diagnosis (D) is what is asked: one model, bare, all estimators."""
        self.do(commands.diagnosing, lambda study: self.show("new run", study))

    def action_tour(self) -> None:
        """Point at the table, which must be there."""
        from falsefloor.tui.screens.tour import Tour, steps

        if self.snapshot is None or not self.snapshot.comparison.rows:
            self.say("The tour needs a table; d on the first page computes the demo.")
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.toured()
        table = self.screen.query_one(LiveTable)
        self.push_screen(Tour(table, steps(self.snapshot.comparison, self.glyphs)))

    def first_tour(self) -> bool:
        """Whether nobody was shown around in this store."""
        return not (self.root / "toured").exists()

    def toured(self) -> None:
        with suppress(OSError):
            (self.root / "toured").touch()

    def action_help(self) -> None:
        self.show("help", getattr(self.screen, "WHERE", ""))

    def action_palette(self) -> None:
        self.action_command_palette()

    def action_theme(self) -> None:
        place = ORDER.index(self.theme) if self.theme in ORDER else -1
        self.theme = ORDER[(place + 1) % len(ORDER)]
        self.say(f"Theme {self.theme}")

    async def action_back(self) -> None:
        if isinstance(self.screen, Page) and self.screen.above():
            self.screen.up()
            return
        if self.can_close:
            if isinstance(self.screen, Page):
                self.screen.leaving()
            self.pop_screen()

    @property
    def can_close(self) -> bool:
        """Whether there is a page below: below the first page there is a table of nothing."""
        return len(self.screen_stack) > (2 if self.run_dir is None else 1)

    async def action_quit(self) -> None:
        snapshot = self.snapshot
        if snapshot is not None and snapshot.status in ("running", "queued"):
            self.farewell = (
                f"Run {snapshot.run.id} goes on without the app."
                f" `falsefloor tui {snapshot.run.id}` returns to it,"
                f" `falsefloor cancel {snapshot.run.id}` ends it."
            )
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: the same table of actions as the keys, those of this page first."""
        here = getattr(screen, "WHERE", "")
        for where in (here, "everywhere"):
            for action in ACTIONS:
                if action.where == where and action.name not in ("palette", "back"):
                    namespace = self if where == "everywhere" else screen
                    yield SystemCommand(
                        f"{action.label} ({action.key})" if action.key else action.label,
                        f"{WHERE[where]}. {action.help}",
                        self._runner(action.name, namespace),
                    )

    def _runner(self, name: str, namespace: Any) -> Callable[[], Any]:
        async def run() -> None:
            await self.run_action(name, default_namespace=namespace)

        return run

    def on_unmount(self) -> None:
        for run in self.deleted.values():
            with suppress(FalsefloorError, OSError):
                run.delete()
        if self._watch is not None:
            self._watch.close()


def _warm() -> None:
    for name in ("tui.screens.warnings", "tui.screens.runs", "checks.catalogue", "report.detail"):
        import_module(f"falsefloor.{name}")
