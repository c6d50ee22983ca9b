"""What is installed, from which distribution, and whether it is healthy: told without loading any of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType

from falsefloor.options import show
from falsefloor.plugins import Catalogue, Described, catalogue
from falsefloor.report.text import clean, clean_lines
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column

COLUMNS = (
    Column("name", "name", frozen=True),
    Column("kind", "kind"),
    Column("status", "status"),
    Column("dist", "from"),
    Column("version", "version"),
    Column("summary", "what it is"),
)
TONES = {"healthy": "held", "duplicate": "suspect", "timed out": "suspect", "being described": "live"}


class Plugins(ListPage[Described]):
    """A row a plugin; what the cursor is on is described below."""

    WHERE = "plugins"
    TITLE_TEXT = "plugins"
    COLUMNS = COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = bindings("plugins")

    def opened(self) -> None:
        self.head([("looking", "quiet")])
        self._load(refresh=False)

    def _load(self, *, refresh: bool) -> None:
        self.read(lambda: catalogue(refresh=refresh, wait=refresh), self._show)

    def _show(self, found: Catalogue) -> None:
        self.show({f"{row.kind}/{row.spec}": row for row in found.plugins})
        bad = sum(not (row.usable or row.status == "being described") for row in found.plugins)
        packages = len({row.dist for row in found.plugins})
        self.head(
            [
                (f"{len(self.found)} from {words.many(packages, 'package')}", ""),
                (f"{bad} cannot be used" if bad else "all healthy", "refuted" if bad else "live"),
            ]
        )
        if not found.whole:
            self.read(catalogue, self._show)

    def columns(self) -> Sequence[Column]:
        """Where all come from one package, that is said above and the room is for what they are."""
        several = len({row.dist for row in self.found.values()}) > 1
        return [column for column in COLUMNS if several or column.key not in ("dist", "version")]

    def cells(self, row: Described) -> Mapping[str, Cell]:
        summary = row.summary if row.usable else row.reason
        return {
            "name": Cell(clean(row.name), "", row.name),
            "kind": Cell(row.kind, "", row.kind),
            "status": Cell(row.status, TONES.get(row.status, "error"), row.status),
            "dist": Cell(clean(row.dist), "", row.dist),
            "version": Cell(clean(row.version), "", row.version),
            "summary": Cell(clean(summary), "", summary),
        }

    def about(self, row: Described | None) -> Iterable[Line]:
        looking = "Each plugin is described by a process of its own; the first time takes some seconds."
        return described(row) if row else [("" if self.found else looking, "dim")]

    def action_refresh(self) -> None:
        self.bench.say("Describing all plugins anew.")
        self._load(refresh=True)

    def action_copy(self) -> None:
        if (row := self.current) is not None:
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
        yield ("", "")
        yield (f"{option.name}={show(option.default)}", "strong")
        yield (clean(option.help), "")
        yield (option.expects(), "dim")
    for code, info in row.codes.items():
        yield (f"{clean(code)} {clean(info.name)}", "dim")
    if row.traceback:
        yield (clean_lines(row.traceback), "dim")
