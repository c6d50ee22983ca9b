"""The app itself: which run is watched, and the doors between the pages.

What it paints first is an empty frame, of what is quick to import; all else is imported behind it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.events import Event, Key
from textual.filter import ANSIToTruecolor
from textual.reactive import reactive
from textual.screen import Screen

from falsefloor.errors import FalsefloorError, StoreError
from falsefloor.report.text import ASCII, clean, glyphs_for, outcome, share
from falsefloor.tui import themes
from falsefloor.tui.actions import ACTIONS, WHERE, bindings
from falsefloor.tui.apart import apart, leave, quick
from falsefloor.tui.themes import ANSI_LIGHT, DARK, LIGHT, ORDER, AsciiFilter, first_theme
from falsefloor.tui.widgets.bars import KeyBar, TopLine

if TYPE_CHECKING:
    from falsefloor.checks.verdicts import Place
    from falsefloor.store.run_dir import RunDir
    from falsefloor.study.study import Study
    from falsefloor.tui.drafts import Draft
    from falsefloor.tui.lookout import Lookout
    from falsefloor.tui.snapshot import Snapshot

WARM = 1.0
"""Seconds after which the pages that are opened most are imported, so that nobody waits for that."""
SCREENS = {
    "changes": "changes:ChangesPage",
    "codes": "help:Codes",
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


def _table() -> Screen[Any]:
    from falsefloor.tui.screens.compare import Compare

    return Compare()


class Frame(Screen[None]):
    """The lines above and below, until there is something between them."""

    def compose(self) -> ComposeResult:
        top = TopLine(dot="", id="top")
        top.pieces = (("falsefloor", "strong"),)
        yield from (top, KeyBar(id="keys"))


class Workbench(App[None]):
    """falsefloor in a terminal. `root` is the store; `run` the run to open, or the newest one."""

    TITLE = "falsefloor"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("everywhere")
    COMMAND_PALETTE_BINDING = "ctrl+p"
    MODES = {"runs": _table}  # noqa: RUF012

    snapshot: reactive[Snapshot | None] = reactive(None, always_update=True)
    lookout: Lookout

    def __init__(self, root: Path, run: RunDir | None = None) -> None:
        super().__init__()
        self.root = root
        self.glyphs = glyphs_for()
        self.per_input = False
        self.within: Place | None = None
        self.pressed = 0.0
        self.tour_when_done = False
        self.farewell = ""
        self.draft: Draft | None = None
        self.deleted: dict[str, RunDir] = {}
        self._wanted = run
        self.ascii = self.glyphs is ASCII
        # The kernel's console has no braille.
        self.braille = os.environ.get("TERM") != "linux"
        if self.ascii:
            self._filters.append(AsciiFilter())
        for theme in (DARK, LIGHT, ANSI_LIGHT):
            self.register_theme(themes.grey(theme) if self.no_color and theme is not ANSI_LIGHT else theme)
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
        # Where nothing is painted there is nothing to wait for.
        return _table() if self.is_headless else Frame()

    def _newest(self) -> RunDir | None:
        """The newest run under way, else the newest."""
        from falsefloor.store.run_dir import list_dirs

        try:
            runs = list_dirs(self.root)
        except StoreError as error:
            self.say(str(error), bad=True)
            return None
        return next((run for run in runs[:20] if run.is_alive()), runs[0] if runs else None)

    def on_mount(self) -> None:
        if self.ascii:
            self.add_class("-ascii")
        if self.is_headless:
            self._begin()
        else:
            self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """What the first frame does not wait for."""
        from falsefloor.tui import drafts
        from falsefloor.tui.lookout import Lookout

        self.lookout = Lookout(self, asked=lambda: (self.per_input, self.within), seen=self._show_snapshot)
        self.draft = drafts.kept(self.root)
        quick(self, last_key=lambda: self.pressed)
        if not self.is_headless:
            self.switch_mode("runs")
        if (run := self._wanted or self._newest()) is not None:
            self._follow(run)
        else:
            self.show("first")
        self.lookout.begin(self._driver)
        self.set_timer(WARM, lambda: apart(self, _warm))

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded:
            self.pressed = time.monotonic()
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Behind the first frame there is no page yet that a key could open another one on."""
        return hasattr(self, "lookout") and super().check_action(action, parameters)

    def _handle_exception(self, error: Exception) -> None:
        """A crash, which should not be: what was being composed is on disk before the app goes."""
        from falsefloor.tui import drafts

        for screen in self.screen_stack:
            if callable(draft := getattr(screen, "draft", None)):
                with suppress(Exception):  # whatever is broken, the crash itself is what must be told
                    drafts.keep(self.root, draft())
        super()._handle_exception(error)

    # The run that is watched

    def _follow(self, run: RunDir) -> None:
        from falsefloor.tui.snapshot import Snapshot

        self.per_input, self.within = False, None
        self.snapshot = Snapshot(run)
        self.lookout.watch(run)

    def open_run(self, run: RunDir) -> None:
        """Watch another run and show its table."""
        self._follow(run)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def _show_snapshot(self, taken: Snapshot) -> None:
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

    # Saying and copying

    def say(self, message: str, *, bad: bool = False) -> None:
        """A short notice; outside text in it stays text."""
        self.notify(clean(message), markup=False, severity="error" if bad else "information", timeout=6)

    def copy(self, text: str, what: str) -> None:
        self.copy_to_clipboard(text)
        short = text if len(text) <= 60 else text[:57] + self.glyphs.ellipsis
        self.say(f"Copied {what}: {short}")

    def do(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        *,
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Work in a thread; its result goes to `then`, or is said; what fails on purpose is said."""

        def run() -> tuple[Any, str]:
            try:
                return work(), ""
            except (FalsefloorError, OSError, sqlite3.Error) as error:
                known = isinstance(error, FalsefloorError)
                return None, str(error) if known else f"That did not work: {error}."

        def done(came: tuple[Any, str]) -> None:
            result, problem = came
            if problem:
                self.say(problem, bad=True)
                if failed is not None:
                    failed()
            elif then is not None:
                then(result)
            elif result:
                self.say(str(result))

        apart(self, run, done)

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

    def start_study(self, study: Study, *, reuse: RunDir | None = None) -> None:
        """Start a run, which may take over what another one has computed, and watch it."""
        from falsefloor.tui import commands

        self.do(lambda: commands.start(study, self.root, reuse=reuse), self._started)

    def _started(self, result: tuple[RunDir, list[str]]) -> None:
        from falsefloor.tui import drafts

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
        self.show("codes", getattr(self.screen, "code", ""))

    def action_diagnose_model(self) -> None:
        """Compose a run whose diagnosis (D) is what is asked: one model, bare, all estimators."""
        from falsefloor.tui import commands

        self.do(commands.diagnosing, lambda study: self.show("new run", study))

    def action_tour(self) -> None:
        """Point at the table, which must be there."""
        from falsefloor.tui.screens.first import Tour, steps
        from falsefloor.tui.widgets.live_table import LiveTable

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

    def action_command_palette(self) -> None:
        from falsefloor.tui.screens.asking import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_theme(self) -> None:
        place = ORDER.index(self.theme) if self.theme in ORDER else -1
        self.theme = ORDER[(place + 1) % len(ORDER)]
        self.say(f"Theme {self.theme}")

    async def action_back(self) -> None:
        from falsefloor.tui.screens.page import Page

        page = self.screen if isinstance(self.screen, Page) else None
        if page is not None and page.above():
            page.up()
        elif self.can_close:
            if page is not None:
                page.leaving()
            self.pop_screen()

    @property
    def can_close(self) -> bool:
        """Whether there is a page below: below the first page there is a table of nothing."""
        return len(self.screen_stack) > (2 if self.lookout.run is None else 1)

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
                if action.where == where and action.name not in ("command_palette", "back"):
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
        leave()
        for run in self.deleted.values():
            with suppress(FalsefloorError, OSError):
                run.delete()
        if hasattr(self, "lookout"):
            self.lookout.close()


def _warm() -> None:
    for name in ("tui.screens.warnings", "tui.screens.runs", "checks.catalogue", "report.detail"):
        import_module(f"falsefloor.{name}")
