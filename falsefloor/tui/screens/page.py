"""The frame of every page: a line above, the keys below, the snapshot of the run handed on.

`Bench` is what a page may ask of the app it stands in; the app knows the pages, not the pages the app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from falsefloor.tui.actions import bar
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.widgets.bars import KeyBar, Piece, TopLine

if TYPE_CHECKING:
    from falsefloor.report.text import Glyphs
    from falsefloor.store.forms import RunInfo
    from falsefloor.store.rows import SeriesRow
    from falsefloor.store.run_dir import RunDir
    from falsefloor.study.study import Study

TONES = {
    "refuted": "bold $error",
    "error": "bold $error",
    "failed": "bold $error",
    "suspect": "$warning",
    "vacuous": "$vacuous",
    "unchecked": "$quiet",
    "held": "$success",
    "dim": "$quiet",
    "skipped": "$quiet",
    "cancelled": "$quiet",
    "strong": "bold",
    "live": "$primary",
    "heading": "bold $primary",
    "primary": "$primary",
    "secondary": "$secondary",
    "warning": "$warning",
}


def styled(lines: Iterable[Line], *, joint: str = "\n") -> Content:
    """Lines with their tones; the text is shown letter by letter, never read as markup."""
    pieces: list[tuple[str, str]] = []
    for n, (text, tone) in enumerate(lines):
        pieces.append(((joint if n else "") + text, TONES.get(tone, "")))
    return Content.assemble(*pieces)


class Bench(Protocol):
    """The app, as its pages see it."""

    root: Path
    glyphs: Glyphs
    snapshot: Snapshot | None
    per_input: bool
    draft: Study | None

    def elapsed(self, snapshot: Snapshot) -> float: ...
    def say(self, message: str, *, bad: bool = False) -> None: ...
    def copy(self, text: str, what: str) -> None: ...
    def copy_command(self, snapshot: Snapshot) -> None: ...
    def do(self, work: Callable[[], Any], then: Callable[[Any], None] | None = None) -> None: ...
    def show(self, name: str, *given: object) -> None: ...
    def open_run(self, run: RunDir) -> None: ...
    def open_detail(self, row: SeriesRow, number: int | None) -> None: ...
    def open_warnings(self) -> None: ...
    def open_log(self, run: RunDir) -> None: ...
    def again(self, run: RunDir) -> None: ...
    def start_study(self, study: Study) -> None: ...
    def pause_or_go_on(self, run: RunDir, info: RunInfo | None) -> None: ...
    def ask_cancel(self, run: RunDir, status: str) -> None: ...
    def ask_delete(self, run: RunDir, then: Callable[[], None]) -> None: ...
    def ask_export(self, run: RunDir) -> None: ...


class Page(Screen[None]):
    """A screen with a title, a body and the bars. Subclasses say what they show and which keys they have."""

    WHERE: ClassVar[str] = ""
    TITLE_TEXT: ClassVar[str] = ""
    PARTS: ClassVar[tuple[str, ...]] = ()
    """ids that must be there for the page to be shown anew"""
    AUTO_FOCUS = "LiveTable, Input, .focus"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (17, "-middle"), (38, "-tall")]  # noqa: RUF012

    @property
    def bench(self) -> Bench:
        return cast("Bench", self.app)

    def body(self) -> Iterable[Widget]:
        """What stands between the bars."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield TopLine(dot=self.bench.glyphs.dot, id="top")
        yield from self.body()
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        self.query_one(KeyBar).actions = tuple(bar(self.WHERE))
        self.head()
        self.opened()
        self.watch(self.app, "snapshot", self._on_snapshot, init=True)

    def head(self, pieces: Sequence[Piece] = ()) -> None:
        """Set the line above: the product, the page, then the given pieces."""
        title = ((self.TITLE_TEXT, ""),) if self.TITLE_TEXT else ()
        self.query_one(TopLine).pieces = (("falsefloor", "strong"), *title, *pieces)

    def opened(self) -> None:
        """Called once when the page is there."""

    def leaving(self) -> None:
        """Called before the page is closed by the user."""

    def seen(self, snapshot: Snapshot) -> None:
        """Called with every new snapshot of the run that is watched."""

    @property
    def standing(self) -> bool:
        """Whether the page is whole: late messages still arrive while it is put up or taken down."""
        return self.is_attached and all(self.query(f"#{name}") for name in ("top", "keys", *self.PARTS))

    def _on_snapshot(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None and self.standing:
            self.seen(snapshot)
