"""The frame of every page: a line above, the keys below, the snapshot of the run handed on.

`Bench` is what a page may ask of the app it stands in; the app knows the pages, not the pages the app."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.events import ScreenResume
from textual.screen import Screen
from textual.widget import Widget

from falsefloor.tui import commands
from falsefloor.tui.actions import Action, bar
from falsefloor.tui.snapshot import RunLine, Snapshot
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.bars import KeyBar, Piece, TopLine
from falsefloor.tui.widgets.inputs import Words
from falsefloor.tui.widgets.live_table import LiveTable

if TYPE_CHECKING:
    from falsefloor.checks.verdicts import Place
    from falsefloor.report.text import Glyphs
    from falsefloor.store.run_dir import RunDir
    from falsefloor.study.study import Study
    from falsefloor.tui.drafts import Draft
    from falsefloor.tui.lookout import Lookout


CHARACTERS = {
    "question_mark": "?",
    "slash": "/",
    "space": " ",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "full_stop": ".",
    "comma": ",",
}
"""What a key types, where its name says something else."""

SOON = 0.05
"""Seconds after a key within which what changes is painted at once."""


class Bench(Protocol):
    """The app, as its pages see it."""

    root: Path
    glyphs: Glyphs
    snapshot: Snapshot | None
    per_input: bool
    within: Place | None
    """the subject whose inputs are shown one by one"""
    lookout: Lookout
    pressed: float
    """when the last key was, by the monotonic clock"""
    can_close: bool
    tour_when_done: bool
    draft: Draft | None
    deleted: dict[str, RunDir]
    """runs that go when the app closes"""

    def first_tour(self) -> bool: ...
    def say(self, message: str, *, bad: bool = False) -> None: ...
    def copy(self, text: str, what: str) -> None: ...
    def do(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        *,
        failed: Callable[[], None] | None = None,
    ) -> None: ...
    def show(self, name: str, *given: object, then: Callable[[Any], None] | None = None) -> None: ...
    def open_run(self, run: RunDir) -> None: ...
    def start_study(self, study: Study, *, reuse: RunDir | None = None) -> None: ...


class Page(Screen[None]):
    """A screen with a title, a body and the bars. Subclasses say what they show and which keys they have."""

    WHERE: ClassVar[str] = ""
    TITLE_TEXT: ClassVar[str] = ""
    PARTS: ClassVar[tuple[str, ...]] = ()
    """ids that must be there for the page to be shown anew"""
    _bench: Bench | None = None
    reading = False
    """whether a thread reads for it"""
    _resumed = False
    """whether it was on top before: what stands there now was given its looks a moment ago"""
    AUTO_FOCUS = "LiveTable, Input, .focus"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (17, "-middle"), (38, "-tall")]  # noqa: RUF012

    @property
    def bench(self) -> Bench:
        # Kept: a thread that still reads for a page that is closed finds no app from there.
        if self._bench is None:
            self._bench = cast("Bench", self.app)
        return self._bench

    def body(self) -> Iterable[Widget]:
        """What stands between the bars."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        # Known before anything stands here: all of it would be given its looks again.
        for points, room in zip(
            (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), self.app.size, strict=True
        ):
            self.add_class(max((least, name) for least, name in points if least <= room)[1], update=False)
        yield TopLine(dot=self.bench.glyphs.dot, id="top")
        yield from self.body()
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        if not self.standing:
            return  # it was closed while it was put up
        self.bindings_updated_signal.subscribe(self, lambda _: self.tell_keys())
        self.tell_keys()
        self.head()
        self.opened()
        self.watch(self.app, "snapshot", self._on_snapshot, init=True)

    def on_idle(self) -> None:
        # Textual paints by a clock, up to two frames after what it painted last.
        if time.monotonic() - self.bench.pressed < SOON:
            self._on_timer_update()

    def on_screen_resume(self, event: ScreenResume) -> None:
        event.refresh_styles, self._resumed = self._resumed, True
        self._on_snapshot(self.bench.snapshot)
        self.tell_keys()

    def head(self, pieces: Sequence[Piece] = ()) -> None:
        """Set the line above: the product, the page, then the given pieces."""
        title = ((self.TITLE_TEXT, ""),) if self.TITLE_TEXT else ()
        self.query_one(TopLine).pieces = (("falsefloor", "strong"), *title, *pieces)

    def put(self, name: str, lines: str | Iterable[Line]) -> None:
        """Lines into a text of the page."""
        self.query_one(f"#{name}", Words).tell(lines)

    # The bar below: only keys that do something where the focus is

    def offers(self, action: Action) -> str:
        """What the bar calls a key now; empty where it would do nothing."""
        if action.name == "back":
            return self.above() or ("Back" if self.bench.can_close else "")
        return "" if action.name == self.WHERE else action.label

    def above(self) -> str:
        """Where escape leads within the page; empty where there is nothing to undo."""
        return ""

    def up(self) -> None:
        """Escape, where `above` names something."""

    @property
    def code(self) -> str:
        """The code of a warning that the page speaks of; empty where of none."""
        return ""

    def tell_keys(self) -> None:
        """Choose the keys that the bar shows, anew: the focus moved, or what can be done changed."""
        if not self.standing:
            return
        active, focused, shown = self.active_bindings, self.focused, list(getattr(self.focused, "HINTS", ()))
        for action in bar(self.WHERE):
            key = action.keys.split(",")[0]
            found = active.get(key)
            if found is None or not found.enabled:
                continue
            letter = CHARACTERS.get(key, key if len(key) == 1 else None)
            if focused is not None and focused.check_consume_key(key, letter):
                continue
            on_row = isinstance(focused, LiveTable) and focused.current is not None
            acts = found.binding.action == action.name or (key == "enter" and on_row)
            if acts and (label := self.offers(action)):
                shown.append(replace(action, label=label))
        self.query_one(KeyBar).actions = tuple(shown)

    def read(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        *,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`then` with what a thread has read, where the page still stands."""

        def came(found: Any) -> None:
            self.reading = False
            if self.standing:
                then(found)

        def broke() -> None:
            self.reading = False
            if self.standing:
                failed()

        self.reading = True
        self.bench.do(work, came, failed=broke)

    def opened(self) -> None:
        """Called once when the page is there."""

    def leaving(self) -> None:
        """Called before the page is closed by the user."""

    def seen(self, snapshot: Snapshot) -> None:
        """Called with every new snapshot of the run that is watched, while the page is on top."""

    @property
    def standing(self) -> bool:
        """Whether the page is whole: late messages still arrive while it is put up or taken down."""
        if not self.is_attached:
            return False
        return {"top", "keys", *self.PARTS} <= {widget.id for widget in self.walk_children()}

    @property
    def on_top(self) -> bool:
        """Whether nothing but questions stands on it."""
        stack = self.app.screen_stack
        return self in stack and all(one.is_modal for one in stack[stack.index(self) + 1 :])

    def _on_snapshot(self, snapshot: Snapshot | None) -> None:
        # Below another page nothing is shown, and what is not painted asks to be painted all the time.
        if snapshot is not None and self.standing and self.on_top:
            self.seen(snapshot)


class OfRun(Page):
    """Subclasses say which run they speak of."""

    @property
    def spoken_of(self) -> RunLine | Snapshot | None:
        raise NotImplementedError

    def offers(self, action: Action) -> str:
        one = self.spoken_of if self.standing else None
        if one is not None and action.name == "pause":
            return commands.next_step(one.status, failed=bool(one.info and one.info.units_failed))
        if one is not None and action.name == "cancel" and one.status not in commands.LIVE:
            return ""
        return super().offers(action)

    def action_pause(self) -> None:
        """Or go on with it."""
        one = self.spoken_of
        if one is None or one.info is None:
            return
        run, status = one.run, one.info.status
        if status == "done" and not one.info.units_failed:
            self.bench.say(f"Run {run.id} is done.")
        else:
            self.bench.do(lambda: commands.pause_or_go_on(run, status))

    def action_cancel(self) -> None:
        if (one := self.spoken_of) is None:
            return
        run = one.run
        if one.status not in commands.LIVE:
            self.bench.say(f"Run {run.id} is {one.status}; there is nothing to cancel.")
            return
        asked = (f"Cancel run {run.id}?", "What is finished stays. Resume goes on with it.", "Cancel it")
        self.bench.show(
            "confirm", *asked, then=lambda yes: self.bench.do(lambda: commands.cancel(run)) if yes else None
        )

    def action_again(self) -> None:
        """Compose a new run that begins as a copy of this one."""
        if (one := self.spoken_of) is not None:
            run = one.run
            self.bench.do(lambda: commands.study_of(run), lambda study: self.bench.show("new run", study))

    def action_diagnose(self) -> None:
        if (one := self.spoken_of) is not None:
            run, width, glyphs = one.run, self.size.width - 4, self.bench.glyphs
            self.bench.show(
                "lines",
                f"diagnosis of run {run.id}",
                lambda: commands.diagnosis(run, width=width, glyphs=glyphs),
            )

    def action_log(self) -> None:
        if (one := self.spoken_of) is not None:
            run = one.run
            self.bench.show("text", f"log of run {run.id}", lambda: commands.tail(run.log))

    def action_export(self) -> None:
        if (one := self.spoken_of) is None:
            return
        run = one.run

        def answered(given: tuple[str, str] | None) -> None:
            if given is not None:
                form, path = given
                self.bench.do(
                    lambda: commands.export(run, form, Path(path)),
                    lambda written: self.bench.say(f"Written: {written}"),
                )

        self.bench.show("export", run.id, then=answered)
