"""What is told of the estimate under the cursor: at once from the table, soon from the stored record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from falsefloor.checks.verdicts import Place
from falsefloor.errors import FalsefloorError
from falsefloor.report.cells import Entry
from falsefloor.report.radii import read_strips
from falsefloor.report.text import Glyphs, clean, fact
from falsefloor.tui import sentences, words
from falsefloor.tui.apart import apart
from falsefloor.tui.snapshot import Snapshot
from falsefloor.tui.themes import Line, styled
from falsefloor.tui.widgets.side import Seen, Side, look

REST = 0.12
"""Seconds the cursor rests before the estimate under it is read."""


class Story(Horizontal):
    """Two panes: sentences, and the facts beside them where there is room."""

    _told: object = None
    """what is told, or about to be"""

    def compose(self) -> Iterator[Widget]:
        with VerticalScroll(id="story", classes="pane"):
            yield Static(id="says", markup=False)
        with VerticalScroll(id="aside", classes="pane"):
            yield Static(id="more", markup=False)

    def say(self, lines: Iterable[Line], more: Iterable[Line] = ()) -> None:
        self.query_one("#says", Static).update(styled(lines))
        self.query_one("#more", Static).update(styled(more))

    def tell_nothing(self, *lines: Line) -> None:
        """The cursor is on no estimate."""
        self.forget()
        self.say(lines)

    def tell(self, snapshot: Snapshot, at: Place, entry: Entry, *, side: Side) -> None:
        """Of one estimate, or of the gravest of a cell; `side` draws it where there is room for pictures."""
        fresh = (snapshot.run.id, at, entry)
        if fresh == self._told:
            return
        self._told = fresh
        if not entry.counts and not entry.cell.judged:
            name = f"{clean(at.label)} on {clean(at.masker)}"
            self.say([(name, "strong"), (sentences.wait(entry, ended=snapshot.ended), "dim")])
            return
        glyphs: Glyphs = self.app.glyphs  # type: ignore[attr-defined]

        def show(told: tuple[list[Line], list[Line], Seen | None], drawn: bool) -> None:
            if fresh == self._told and self.is_attached:
                says, more, pictures = told
                self.say(says, more)
                if drawn:
                    side.show(pictures)

        def rested() -> None:
            if fresh == self._told and self.is_attached:
                # Asked now: when the cursor came here, the pictures may not have had their room yet.
                drawn = side.size.height > 0
                apart(
                    self.app,
                    lambda: _read(snapshot, at, entry, drawn, glyphs),
                    lambda told: show(told, drawn),
                )

        self.set_timer(REST, lambda: self.call_after_refresh(rested))

    def forget(self) -> None:
        """Tell all of it again when asked next: the room for pictures came or went."""
        self._told = None


def _read(
    snapshot: Snapshot, at: Place, entry: Entry, drawn: bool, glyphs: Glyphs
) -> tuple[list[Line], list[Line], Seen | None]:
    from falsefloor.report.detail import read_detail, worst_record
    from falsefloor.store.reader import reading

    pictures: Seen | None = None
    try:
        with reading(snapshot.run) as reader:
            record = worst_record(reader, entry.series.id, at.one)
            if drawn and record is not None:
                detail = read_detail(reader, entry.series.id, int(record["input"]))
                pictures = look(detail, read_strips(reader, snapshot.comparison, at, entry))
    except FalsefloorError as error:
        return [(clean(str(error)), "error")], [], None
    if record is None:
        return [(sentences.wait(entry, ended=True), "dim")], [], None
    which = sentences.which(entry, record, glyphs)
    says = [*which, (sentences.says(record), "strong"), *sentences.judged(record, glyphs)]
    return says, list(_facts(entry, record, glyphs)), pictures


def _facts(entry: Entry, record: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Line]:
    series = entry.series
    if entry.of > 1:
        yield (", ".join(f"{count} {clean(word)}" for word, count in entry.counts.items()), "")
    if entry.ratio is not None:
        yield (f"{glyphs.ratio(entry.ratio)} the unmasked model's number", "strong")
    yield (f"{series.claim.replace('_', ' ')} by {clean(series.estimator)}", "heading")
    if series.params:
        yield (", ".join(f"{k}={fact(v)}" for k, v in series.params.items()), "dim")
    yield (f"gradient {series.gradient}", "dim")
    queries = record["queries"]
    total = words.magnitude(queries["forward"] + queries["backward"])
    yield (f"{total} queries, {record['seconds']:.2f} s an input", "dim")
