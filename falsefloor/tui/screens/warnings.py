"""All warnings of a run by their code, with the explanation of the one under the cursor beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType

from falsefloor.checks.verdicts import rank
from falsefloor.report.text import clean, fact, tone, verdict_word
from falsefloor.store.reader import reading
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.sentences import Line
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.widgets.cells import Cell, Column
from falsefloor.tui.widgets.live_table import LiveTable

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


class Warnings(ListPage[Mapping[str, Any]]):
    """Worst first, codes together; Enter opens the estimate."""

    WHERE = "warnings"
    TITLE_TEXT = "warnings"
    COLUMNS = COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = bindings("warnings")

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._state: object = None
        self._series: Mapping[int, SeriesRow] = {}

    def seen(self, snapshot: Snapshot) -> None:
        state = dict(snapshot.info.counts) if snapshot.info else None
        if snapshot.run == self._run and (state != self._state or not self.found):
            self._state = state
            self._series = {row.id: row for row in snapshot.series}
            self.bench.do(self._read, self._show)

    def _read(self) -> list[dict[str, Any]]:
        with reading(self._run) as reader:
            return list(islice(reader.findings(), MOST))

    def _show(self, found: list[dict[str, Any]]) -> None:
        if not self.standing:
            return
        self.show({warning["id"]: warning for warning in found})
        counts = Counter(warning["severity"] for warning in found).items()
        shown = [(f"{n} {clean(s)}", "refuted" if s == "refuted" else "") for s, n in counts]
        more = [("only the first are shown", "quiet")] if len(found) >= MOST else []
        self.head([(f"run {self._run.id}", "quiet"), *(shown or [("none", "")]), *more])

    def cells(self, warning: Mapping[str, Any]) -> Iterator[Cell]:
        row, severity = self._series.get(warning["series"]), warning["severity"]
        style = tone(severity) or ("error" if severity == "error" else "dim")
        yield Cell(clean(warning["code"]), style, warning["code"])
        yield Cell(verdict_word(severity), style, float(rank(severity)))
        yield Cell(words.short_spec(row.masker) if row else "", "", row.masker if row else None)
        yield Cell(words.short_spec(row.label) if row else "", "", row.label if row else None)
        yield Cell(str(warning["input"]), "dim", warning["input"])
        yield Cell(clean(warning["message"]), "", warning["message"])

    def about(self, warning: Mapping[str, Any] | None) -> Iterator[Line]:
        from falsefloor.checks.catalogue import explain

        if warning is None:
            yield (
                "This run has no warnings." if not self.found else "No warning contains these words.",
                "dim",
            )
            return
        code = str(warning["code"])
        entry = explain(code)
        yield (f"{clean(code)} {entry.info.name if entry else ''}".strip(), "heading")
        yield (clean(warning["message"]), "strong")
        for key, value in warning["evidence"].items():
            yield (f"{clean(key)}: {fact(value)}", "dim")
        if warning["witness"]:
            yield (f"replay it: {self._replay(warning)}", "dim")
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

    def _replay(self, warning: Mapping[str, Any]) -> str:
        return f"falsefloor replay {self._run.id} {warning['id']}"

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        warning = self.current
        if warning is not None and (row := self._series.get(warning["series"])) is not None:
            self.bench.open_detail(row, int(warning["input"]))

    def action_copy(self) -> None:
        if (warning := self.current) is None:
            return
        if warning["witness"]:
            self.bench.copy(self._replay(warning), "the command")
        else:
            self.bench.say("No point is attached to this warning: there is nothing to replay.")
