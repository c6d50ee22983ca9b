"""All warnings of a run by their code, with the explanation of the one under the cursor beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.checks.verdicts import rank
from falsefloor.report.text import fact, tone, verdict_word
from falsefloor.store.paths import RunDir
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.page import Page, styled
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import Snapshot, reading
from falsefloor.tui.widgets.live_table import Cell, Column, LiveTable, Row
from falsefloor.tui.widgets.search import Search

MOST = 20_000
"""Warnings shown; beyond that their count is all a reader could use."""
COLUMNS = (
    Column("code", "code", frozen=True),
    Column("severity", "severity"),
    Column("masker", "masker", widest=24),
    Column("estimator", "estimator", widest=20),
    Column("input", "input", "right"),
    Column("message", "warning"),
)


class Warnings(Page):
    """Worst first, codes together; Enter opens the estimate."""

    WHERE = "warnings"
    PARTS = ("table", "words")
    TITLE_TEXT = "warnings"
    BINDINGS: ClassVar[list[BindingType]] = bindings("warnings")

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._found: dict[str, Mapping[str, Any]] = {}
        self._state: object = None

    def body(self) -> Iterable[Widget]:
        g = self.bench.glyphs
        table = LiveTable(id="table", marks=(g.cursor, g.up, g.down))
        with Container(id="split"):
            yield table
            with VerticalScroll(id="explain", can_focus=False):
                yield Static(id="words", markup=False)
        yield Search(table)

    def seen(self, snapshot: Snapshot) -> None:
        state = dict(snapshot.info.counts) if snapshot.info else None
        if snapshot.run == self._run and (state != self._state or not self._found):
            self._state = state
            self._load()

    def _load(self) -> None:
        def read() -> list[dict[str, Any]]:
            with reading(self._run) as reader:
                found = []
                for warning in reader.findings():
                    found.append(warning)
                    if len(found) >= MOST:
                        break
                return found

        self.bench.do(read, self._show)

    def _show(self, found: list[dict[str, Any]]) -> None:
        snapshot = self.bench.snapshot
        if not self.standing or snapshot is None:
            return
        self._found = {warning["id"]: warning for warning in found}
        series = {row.id: row for row in snapshot.series}
        rows = []
        counts: dict[str, int] = {}
        for warning in found:
            row = series.get(warning["series"])
            severity = warning["severity"]
            counts[severity] = counts.get(severity, 0) + 1
            style = tone(severity) or ("error" if severity == "error" else "dim")
            cells = (
                Cell(self.bench.clean(warning["code"]), style, warning["code"]),
                Cell(verdict_word(severity), style, float(rank(severity))),
                Cell(words.short_spec(row.masker) if row else "", "", row.masker if row else None),
                Cell(words.short_spec(row.label) if row else "", "", row.label if row else None),
                Cell(str(warning["input"]), "dim", warning["input"]),
                Cell(self.bench.clean(warning["message"]), "", warning["message"]),
            )
            rows.append(Row(warning["id"], cells))
        self.query_one(LiveTable).show(COLUMNS, rows, gap=1)
        shown = [
            (f"{n} {severity}", "refuted" if severity == "refuted" else "") for severity, n in counts.items()
        ]
        more = [("only the first are shown", "quiet")] if len(found) >= MOST else []
        self.head([(f"run {self._run.id}", "quiet"), *(shown or [("none", "")]), *more])
        self._tell()

    @on(LiveTable.Moved)
    def _tell(self) -> None:
        if not self.standing:
            return
        key = self.query_one(LiveTable).current
        warning = self._found.get(str(key))
        lines = list(self._explained(warning)) if warning else [("This run has no warnings.", "dim")]
        self.query_one("#words", Static).update(styled(lines))

    def _explained(self, warning: Mapping[str, Any]) -> Iterator[Line]:
        from falsefloor.checks.catalogue import explain

        clean = self.bench.clean
        code = str(warning["code"])
        entry = explain(code)
        yield (f"{clean(code)} {entry.info.name if entry else ''}".strip(), "heading")
        yield (clean(warning["message"]), "strong")
        for key, value in warning["evidence"].items():
            yield (f"{clean(key)}: {fact(value)}", "dim")
        if warning["witness"]:
            yield (f"replay it: falsefloor replay {self._run.id} {warning['id']}", "dim")
        if entry is None:
            yield ("This code is not ours: the documentation of its package explains it.", "dim")
            return
        for title, text in (
            ("What it means", entry.info.summary),
            ("What to do", entry.info.cure),
            ("What was measured", entry.measured),
            ("Usual cause", entry.cause),
            ("Blind spot", entry.blind_spot),
            ("Source", entry.info.source),
        ):
            yield ("", "")
            yield (title, "heading")
            yield (text, "")

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        key, snapshot = self.query_one(LiveTable).current, self.bench.snapshot
        warning = self._found.get(str(key))
        if warning is None or snapshot is None:
            return
        row = next((row for row in snapshot.series if row.id == warning["series"]), None)
        if row is not None:
            self.bench.open_detail(row, int(warning["input"]))

    def action_find(self) -> None:
        self.query_one(Search).begin()

    def action_copy(self) -> None:
        warning = self._found.get(str(self.query_one(LiveTable).current))
        if warning is None:
            return
        if warning["witness"]:
            self.bench.copy(f"falsefloor replay {self._run.id} {warning['id']}", "the command")
        else:
            self.bench.say("No point is attached to this warning: there is nothing to replay.")
