"""What is installed, from which distribution, and whether it is healthy: told without loading any of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.options import show
from falsefloor.plugins import Catalogue, Described, catalogue
from falsefloor.report.text import clean, clean_lines
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line
from falsefloor.tui.widgets.live_table import Cell, Column, LiveTable, Row
from falsefloor.tui.widgets.search import Search

COLUMNS = (
    Column("name", "name", frozen=True),
    Column("kind", "kind"),
    Column("status", "status"),
    Column("dist", "from"),
    Column("version", "version"),
    Column("summary", "what it is"),
)
TONES = {"healthy": "held", "duplicate": "suspect", "timed out": "suspect"}


class Plugins(Page):
    """A row a plugin; what the cursor is on is described below."""

    WHERE = "plugins"
    PARTS = ("table", "words")
    TITLE_TEXT = "plugins"
    BINDINGS: ClassVar[list[BindingType]] = bindings("plugins")

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, Described] = {}

    def body(self) -> Iterable[Widget]:
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        yield table
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="words", markup=False)
        yield Search(table)

    def opened(self) -> None:
        self.head([("looking", "quiet")])
        text = "Each plugin is described by a process of its own; the first time takes some seconds."
        self.query_one("#words", Static).update(styled([(text, "dim")]))
        self._load(refresh=False)

    def _load(self, *, refresh: bool) -> None:
        self.bench.do(lambda: catalogue(refresh=refresh), self._show)

    def _show(self, found: Catalogue) -> None:
        if not self.standing:
            return
        self._rows = {f"{row.kind}/{row.spec}": row for row in found.plugins}
        rows = []
        for key, row in self._rows.items():
            tone = TONES.get(row.status, "error")
            summary = row.summary if row.usable else row.reason
            cells = (row.name, row.kind, row.status, row.dist, row.version, summary)
            rows.append(
                Row(key, tuple(Cell(clean(c), tone if n == 2 else "", c) for n, c in enumerate(cells)))
            )
        self.query_one(LiveTable).show(COLUMNS, rows, gap=1)
        bad = sum(not row.usable for row in found.plugins)
        packages = len({row.dist for row in found.plugins})
        self.head(
            [
                (f"{len(rows)} from {packages} package{'s' if packages > 1 else ''}", ""),
                (f"{bad} cannot be used" if bad else "all healthy", "refuted" if bad else "live"),
            ]
        )
        self._tell()

    @on(LiveTable.Moved)
    def _tell(self) -> None:
        if not self.standing:
            return
        row = self._rows.get(str(self.query_one(LiveTable).current))
        if not self._rows:
            return
        self.query_one("#words", Static).update(styled(described(row) if row else [("", "")]))

    def action_find(self) -> None:
        self.query_one(Search).begin()

    def action_refresh(self) -> None:
        self.bench.say("Describing all plugins anew.")
        self._load(refresh=True)

    def action_copy(self) -> None:
        if row := self._rows.get(str(self.query_one(LiveTable).current)):
            self.bench.copy(row.spec, "the name")


def described(row: Described) -> Iterator[Line]:
    """A plugin in words: what it is, why it cannot be used, which parameters it takes."""
    yield (f"{clean(row.spec)} {clean(row.version)}", "heading")
    if row.summary:
        yield (clean(row.summary), "")
    if row.reason:
        yield (f"{row.status}: {clean_lines(row.reason)}", "" if row.usable else "error")
    if row.claim:
        norms = ", ".join(row.norms)
        yield (f"claims: {row.claim.replace('_', ' ')}; norms {norms}", "dim")
    for option in row.options:
        yield (f"{option.name}={show(option.default)}  {clean(option.help)} ({option.expects()})", "dim")
    for code, info in row.codes.items():
        yield (f"{clean(code)} {clean(info.name)}", "dim")
    if row.traceback:
        yield (clean_lines(row.traceback), "dim")


__all__ = ["Plugins", "described"]
