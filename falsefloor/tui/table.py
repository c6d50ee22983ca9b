"""The comparison's rows as cells of the live table. What they say is decided in report.comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from rich.cells import cell_len

from falsefloor.checks.verdicts import rank
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison
from falsefloor.report.comparison import Row as Told
from falsefloor.report.text import Glyphs, clean, code_in, tone
from falsefloor.tui import words
from falsefloor.tui.widgets.cells import WIDEST, Cell, Column, Row, fit

NOTHING = Cell("")
LONGEST = 28
"""Cells of a masker beyond which all are written without their keys: the reason is worth the room."""


@dataclass(frozen=True)
class View:
    """pivot: estimators as columns, or one row an estimate. wide: whether there is room for reasons."""

    pivot: Literal["columns", "rows"] = "columns"
    wide: bool = True
    group: str = ""
    """model, masker or norm: what rows are put together by"""

    def turned(self) -> View:
        return replace(self, pivot="rows" if self.pivot == "columns" else "columns")

    def grouped(self, said: Comparison) -> View:
        """By the next of what differs among the rows: model, masker, norm; then not again."""
        maskers = {row.subject.masker for row in said.rows}
        able = [*["model"] * (len(said.models) > 1), *["masker"] * (len(maskers) < len(said.rows))]
        order = ["", *able, *["norm"] * (len(said.norms) > 1)]
        after = order.index(self.group) + 1 if self.group in order else 0
        return replace(self, group=order[after % len(order)])


@dataclass
class Kept:
    """Rows as they were made last, by the row that they are of, and what all of them depended on."""

    rested_on: object = None
    rows: dict[int, tuple[Told, Row]] = field(default_factory=dict)


def table(
    comparison: Comparison,
    view: View,
    glyphs: Glyphs,
    *,
    codes: Mapping[int, str] = MappingProxyType({}),
    kept: Kept | None = None,
) -> tuple[list[Column], list[Row]]:
    """Columns and rows. A row's key is its place: with a label where it is one estimate.

    codes: all warnings of a series, for filters, where they are known. kept: of an earlier table; a row of
    the comparison that is the same object is not made again.
    """
    rows = list(comparison.rows)
    if view.pivot == "rows":
        rows = [row.alone(entry) for row in rows for entry in row.entries if entry is not None]
    columns = list(_columns(comparison, view, glyphs))
    maskers = list(dict.fromkeys(row.subject.masker for row in rows))
    spelt = view.wide and max(map(cell_len, maskers), default=0) <= LONGEST
    names = {masker: clean(masker) for masker in maskers} if spelt else words.short_labels(maskers)
    room: dict[str, int] = {}
    for one in (entry for row in rows for entry in row.entries if entry is not None):
        if one.cell.radius is not None:
            room[_key(one, view)] = max(room.get(_key(one, view), 0), len(one.said(glyphs).mark))
    kept = kept or Kept()
    rests_on = (view, glyphs, columns, names, room, codes)
    known = kept.rows if rests_on == kept.rested_on else {}
    kept.rested_on, kept.rows = rests_on, {}
    made = []
    for row in rows:
        of, found = known.get(id(row), (None, None))
        if of is not row or found is None:
            found = _row(row, columns, view, glyphs, name=names[row.subject.masker], room=room, codes=codes)
        kept.rows[id(row)] = (row, found)
        made.append(found)
    return columns, made


def _row(
    row: Told,
    columns: Sequence[Column],
    view: View,
    glyphs: Glyphs,
    *,
    name: str,
    room: Mapping[str, int],
    codes: Mapping[int, str],
) -> Row:
    at, cells = row.subject, _said(row, glyphs)
    cells["masker"] = Cell(name, "", at.masker)
    entries = [entry for entry in row.entries if entry is not None]
    for entry in entries:
        cells[_key(entry, view)] = _number(entry, room.get(_key(entry, view), 0), glyphs)
    said = " ".join(codes.get(entry.series.id, entry.reason) for entry in entries)
    tags = (("code", said), ("model", at.model), ("masker", at.masker), ("norm", at.norm))
    group = f"{view.group} {clean(getattr(at, view.group))}" if view.group else ""
    return Row(at, tuple(cells.get(column.key, NOTHING) for column in columns), tags, group)


def _columns(comparison: Comparison, view: View, glyphs: Glyphs) -> Iterator[Column]:
    widest = WIDEST if view.wide else 20
    shown = {"model": len(comparison.models) > 1, "masker": True, "norm": len(comparison.norms) > 1}
    for name in (name for name, is_shown in shown.items() if is_shown):
        yield Column(name, name, frozen=name != "norm", widest=widest)
    if any(row.subject.input >= 0 for row in comparison.rows):
        yield Column("input", "input", "right")
    verdict = Column("verdict", "verdict", frozen=not view.wide, narrowest=7)
    if not view.wide:
        # The verdict and what it is for must be seen first where not everything can be.
        yield from (verdict, Column("code", "code", frozen=True))
    said = [Column("ratio", f"{glyphs.times}none", "right")] * comparison.ratios
    said += [verdict] * (view.wide and view.pivot == "rows") + [Column("why", "why")]
    if view.pivot == "rows":
        yield from (Column("estimator", "estimator"), Column("radius", "radius", "right", selectable=True))
        yield from said
        return
    # Repaired numbers explain the raw ones and come after what is said about those.
    raw, repaired = _headings(comparison)
    yield from _estimators(raw, view)
    if view.wide:
        yield from said[:-1]
        yield from _estimators(repaired, view)
        yield from (verdict, said[-1])
    else:
        # A column that is not the last is shown whole or not at all: a long reason is cut here.
        yield from (*said[:-1], Column("why", "why", widest=23) if repaired else said[-1])
        yield from _estimators(repaired, view)


def _headings(comparison: Comparison) -> tuple[dict[str, str], dict[str, str]]:
    """Label to heading, of what was asked for and of what was repaired: that is named after the raw one."""
    entries = [entry for row in comparison.rows for entry in row.entries if entry is not None]
    recovers = {entry.series.label: entry.series.recovers for entry in entries}
    raw = words.short_labels([label for label in comparison.columns if recovers.get(label) is None])
    repaired = {label: f"rec.{raw.get(of, clean(of))}" for label, of in recovers.items() if of is not None}
    return raw, repaired


def _estimators(headings: dict[str, str], view: View) -> Iterator[Column]:
    room = 14 if view.wide else 10
    for label, heading in headings.items():
        shown = heading if cell_len(heading) <= room else fit(heading, room, "left")
        yield Column(f"e:{label}", shown, "right", selectable=True, narrowest=8)


def _said(row: Told, glyphs: Glyphs) -> dict[str, Cell]:
    at, why, style = row.subject, row.why(glyphs), tone(row.verdict)
    code = code_in(row.reason) if row.verdict not in ("held", "failed", "skipped") else ""
    quiet = "error" if row.verdict == "failed" else "dim" if row.verdict in ("held", "skipped") else ""
    return {
        "model": Cell(clean(at.model), "", at.model),
        "norm": Cell(at.norm, "dim", at.norm),
        "input": Cell(str(at.input), "dim", at.input),
        "estimator": Cell(clean(at.label), "", at.label),
        "ratio": Cell(glyphs.ratio(row.ratio), "", row.ratio),
        "verdict": Cell(row.words, style, float(rank(row.verdict)) if row.verdict else None),
        "why": Cell(why, quiet, why or None),
        "code": Cell(code, quiet or style, code or None),
    }


def _key(entry: Entry, view: View) -> str:
    """The column of an entry."""
    return "radius" if view.pivot == "rows" else f"e:{entry.series.label}"


def _number(entry: Entry, room: int, glyphs: Glyphs) -> Cell:
    """The number, with as much room behind it as the marks of its column take, so that numbers line up."""
    said, radius = entry.said(glyphs), entry.cell.radius
    return Cell(said.text + (said.mark if radius is None else said.mark.ljust(room)), said.tone, radius)
