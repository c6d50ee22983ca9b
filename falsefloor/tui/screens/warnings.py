"""All warnings of a run by their code, with the explanation of the one under the cursor beside them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType

from falsefloor.api import CodeInfo
from falsefloor.checks.verdicts import rank
from falsefloor.report.text import clean, fact, tallied, tone, verdict_word
from falsefloor.store.reader import reading
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.tui import words
from falsefloor.tui.actions import bindings
from falsefloor.tui.screens.list_page import ListPage
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.themes import Line
from falsefloor.tui.widgets.cells import Cell, Column, Row
from falsefloor.tui.widgets.live_table import LiveTable

MOST = 20_000
"""Single warnings shown; beyond that their count is all a reader could use."""
PAUSE, SHARE = 1.0, 60.0
"""Seconds between two looks at a live run, and how many times longer than a look: half of 3 % of a core."""
MODES = ("cells", "codes", "single")
"""How warnings stand together: by code and cell, by code, not at all."""
Found = tuple[dict[str, dict[str, Any]], list[Row], dict[str, int]]


class Warnings(ListPage[Mapping[str, Any]]):
    """Worst first. Enter goes from a group to its inputs, and from an input to its estimate."""

    WHERE = "warnings"
    TITLE_TEXT = "warnings"
    BINDINGS: ClassVar[list[BindingType]] = bindings("warnings")

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._shown: object = None
        """the view that is shown, or being read"""
        self._counts: object = None
        self._series: Mapping[int, SeriesRow] = {}
        self._places: dict[int, Mapping[str, Cell]] = {}
        self._codes: Mapping[str, CodeInfo] = {}
        self._mode = "cells"
        self._within: Mapping[str, Any] | None = None
        """The group whose inputs are shown."""
        self._columns: tuple[Column, ...] = ()
        self._next = self._cost = 0.0

    def opened(self) -> None:
        self.set_interval(PAUSE, self._look)

    def seen(self, snapshot: Snapshot) -> None:
        if snapshot.run == self._run and snapshot.series:
            self._series = {row.id: row for row in snapshot.series}
            self._look()

    def _look(self) -> None:
        """Read anew what changed, not more often than that costs little."""
        snapshot = self.bench.snapshot
        counts = dict(snapshot.info.counts) if snapshot and snapshot.info else None
        view, mode, within = self._view, self._mode, self._within
        due = view != self._shown or (counts != self._counts and time.monotonic() >= self._next)
        if due and not self.reading:
            self._shown, self._counts = view, counts
            self.read(lambda: self._read(mode, within), self._show, failed=self._failed)

    @property
    def _view(self) -> tuple[object, ...]:
        """How warnings are to stand together, and of which group."""
        return (self._mode, self._within and (self._within["code"], self._within["series"]))

    def _failed(self) -> None:
        self.query_one(LiveTable).say("The warnings of this run cannot be read now.")

    def _read(self, mode: str, within: Mapping[str, Any] | None) -> Found:
        import falsefloor.checks.catalogue  # noqa: F401  (read here, where nobody waits for it)

        began = time.thread_time()
        with reading(self._run) as reader:
            self._codes = reader.codes()
            if within is not None:
                of = {"series": within["series"], "code": within["code"]}
                found = list(islice(reader.findings(**of), MOST))
            elif mode == "single":
                found = reader.finding_lines(most=MOST)
            else:
                found = reader.finding_groups()
        counts: Counter[str] = Counter()
        for one in found:
            counts[one["severity"]] += one.get("count", 1)
        if mode == "codes" and within is None:
            found = _by_code(found)
        by_key = {str(one["id"]): one for one in found}
        self._columns = self._heads(mode, single=within is not None or mode == "single")
        rows = self.rows(by_key)
        self._cost = time.thread_time() - began
        return by_key, rows, dict(counts)

    def _show(self, read: Found) -> None:
        if self._view != self._shown:
            self._look()  # another view was asked for meanwhile
            return
        found, rows, counts = read
        began = time.thread_time()
        self.show(found, rows)
        self._next = time.monotonic() + SHARE * (self._cost + time.thread_time() - began)
        shown = [
            (said, "refuted" if word == "refuted" else "quiet") for word, said in tallied(counts).items()
        ]
        more = [("only the first are shown", "quiet")] if len(found) >= MOST else []
        where = [(f"{self._within['code']} {self._at(self._within)}", "")] if self._within else []
        self.head([(f"run {self._run.id}", "quiet"), *where, *(shown or [("none", "")]), *more])

    def _at(self, warning: Mapping[str, Any]) -> str:
        row = self._series.get(warning["series"])
        return words.short_spec(row.masker) + " " + words.short_spec(row.label) if row else ""

    # Rows

    def columns(self) -> Sequence[Column]:
        return self._columns

    def _heads(self, mode: str, *, single: bool) -> tuple[Column, ...]:
        rows = self._series.values()
        heads = [Column("code", "code", frozen=True), Column("severity", "severity")]
        if single or mode == "cells":
            heads += [Column("model", "model", widest=18)] * (len({row.model for row in rows}) > 1)
            heads += [Column("masker", "masker", widest=24)]
            heads += [Column("norm", "norm")] * (len({row.norm for row in rows}) > 1)
            heads += [Column("estimator", "estimator", widest=20)]
        heads += [Column("input", "input", "right") if single else Column("count", "inputs", "right")]
        return (*heads, Column("message", "warning" if single else "warning, of the first"))

    def cells(self, warning: Mapping[str, Any]) -> Mapping[str, Cell]:
        severity = warning["severity"]
        style = tone(severity) or ("error" if severity == "error" else "dim")
        return {
            "code": Cell(clean(warning["code"]), style, warning["code"]),
            "severity": Cell(verdict_word(severity), style, float(rank(severity))),
            **self._place(warning["series"]),
            "input": Cell(str(warning["input"]), "dim", warning["input"]),
            "count": Cell(f"{warning.get('inputs', 1):,}", "dim", float(warning.get("inputs", 1))),
            "message": Cell(clean(warning["message"]), "", warning["message"]),
        }

    def _place(self, series: int) -> Mapping[str, Cell]:
        """Of which model, masker, norm and estimator: made once for all warnings of one."""
        if series not in self._places and (row := self._series.get(series)) is not None:
            self._places[series] = {
                "model": Cell(clean(row.model), "", row.model),
                "masker": Cell(words.short_spec(row.masker), "", row.masker),
                "norm": Cell(row.norm, "dim", row.norm),
                "estimator": Cell(words.short_spec(row.label), "", row.label),
            }
        return self._places.get(series, {})

    def tags(self, warning: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        row = self._series.get(warning["series"])
        more = (("model", row.model), ("norm", row.norm), ("masker", row.masker)) if row else ()
        return (("verdict", warning["severity"]), *more)

    def about(self, warning: Mapping[str, Any] | None) -> Iterator[Line]:
        if warning is None:
            none = "This run has no warnings." if not self.found else "No warning passes; escape shows all."
            yield (none if self._shown is not None and not self.reading else "Reading.", "dim")
            return
        yield from words.explained(str(warning["code"]), before=self._of(warning), others=self._codes)

    def _of(self, warning: Mapping[str, Any]) -> Iterator[Line]:
        if warning.get("count", 1) > 1:
            times = f", {warning['count']:,} times" if warning["count"] > warning["inputs"] else ""
            yield (f"On {words.many(warning['inputs'], 'input')}{times}; of input {warning['input']}:", "dim")
        yield (clean(warning["message"]), "strong")
        for key, value in warning.get("evidence", {}).items():
            yield (f"{clean(key)}: {fact(value)}", "dim")
        if warning.get("witness"):
            yield (f"replay it: {self._replay(warning)}", "dim")

    def _replay(self, warning: Mapping[str, Any]) -> str:
        return f"falsefloor replay {self._run.id} {warning['id']}"

    # Keys

    @property
    def code(self) -> str:
        return str(self.current["code"]) if self.standing and self.current else ""

    def above(self) -> str:
        return super().above() or ("All warnings" if self._within is not None else "")

    def up(self) -> None:
        if super().above():
            super().up()
        else:
            self._go(None)

    def _go(self, within: Mapping[str, Any] | None) -> None:
        self._within = within
        self._look()

    @on(LiveTable.Selected)
    def action_open(self) -> None:
        warning = self.current
        if warning is None:
            return
        if warning.get("cells", 1) > 1:
            # A code on many cells: those first.
            self._mode = "cells"
            self.query_one(LiveTable).filter(f"code:{warning['code']}")
            self._look()
        elif warning.get("count", 1) > 1 and self._within is None:
            self._go(warning)
        elif (row := self._series.get(warning["series"])) is not None:
            self.bench.show("detail", self._run, row, int(warning["input"]))

    def action_group(self) -> None:
        self._within = None
        self._mode = MODES[(MODES.index(self._mode) + 1) % len(MODES)]
        said = {"cells": "by code and cell", "codes": "by code", "single": "one by one"}[self._mode]
        self.bench.say(f"Warnings {said}.")
        self._look()

    def action_copy(self) -> None:
        if (warning := self.current) is None:
            return

        def read() -> str:
            with reading(self._run) as reader:
                of = {"series": warning["series"], "code": warning["code"], "input": warning["input"]}
                return next((self._replay(one) for one in reader.findings(**of) if one["witness"]), "")

        def copy(command: str) -> None:
            if command:
                self.bench.copy(command, "the command")
            else:
                self.bench.say("No point is attached to this warning: there is nothing to replay.")

        self.bench.do(read, copy)


def _by_code(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a code and severity; `cells` says how many cells it stands for."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for one in groups:
        key = (one["code"], one["severity"])
        if (first := made.get(key)) is None:
            made[key] = {**one, "cells": 1}
        else:
            first["count"] += one["count"]
            first["inputs"] = max(first["inputs"], one["inputs"])
            first["cells"] += 1
    return list(made.values())
