"""What a live table is made of: cells, columns and rows as values, their order, where columns lie, lines."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from falsefloor.report.text import STYLES

GAP = 2
"""Blank cells after a column, where nothing else is asked for."""
WIDEST = 44
"""A column never takes more cells than this; the last one takes what is left."""
LEFT = 2
"""Cells before the first column: the cursor's mark stands there."""
TONES = (*STYLES, "error", "dim", "live", "strong")


class Cell(NamedTuple):
    """Text (one line, harmless), a tone from `TONES` or "", and what it sorts by (None sorts last)."""

    text: str
    tone: str = ""
    value: float | str | None = None


@dataclass(frozen=True)
class Column:
    """frozen columns stay when the table scrolls sideways; the cursor stops at selectable ones."""

    key: str
    label: str
    align: Literal["left", "right"] = "left"
    frozen: bool = False
    selectable: bool = False
    narrowest: int = 0
    widest: int = WIDEST


class Row(NamedTuple):
    """tags: further (name, text) pairs that a filter finds it by; group: the heading that it stands under."""

    key: Hashable
    cells: tuple[Cell, ...]
    tags: tuple[tuple[str, str], ...] = ()
    group: str = ""


class Head(NamedTuple):
    """The key of a group's heading."""

    group: str


@dataclass(frozen=True)
class Layout:
    """Where columns lie: starts and widths in cells; the first `fixed` columns end at `frozen` and stay.

    reach: how wide the table is to scroll, so that its last column can be seen behind a whole one.
    """

    widths: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    fixed: int = 0
    frozen: int = 0
    total: int = 1
    reach: int = 1

    def whole(self, edge: int) -> int:
        """Where to cut a line: half a number would be another number, so no column is cut but the last."""
        for start, width in zip(self.starts[:-1], self.widths[:-1], strict=True):
            if start < edge < start + width and start >= self.frozen:
                return start
        return edge

    def scroll_for(self, column: int, now: int, *, room: int) -> int | None:
        """How far to scroll so that a column is seen, stopping where one begins; None where it is seen."""
        start = self.starts[column]
        end = start + self.widths[column]
        if column < self.fixed or (start - now >= self.frozen and end - now <= room):
            return None
        wanted = start - self.frozen if start - now < self.frozen else end - room
        stops = (stop - self.frozen for stop in self.starts[self.fixed :])
        return next((stop for stop in stops if stop >= wanted), wanted)

    def span(self, column: int, scrolled: int, *, room: int) -> tuple[int, int] | None:
        """(x, width) of what is seen of a column; None where nothing is."""
        x = self.starts[column]
        end = self.starts[column + 1] if column + 1 < len(self.starts) else max(room + scrolled, self.total)
        if column >= self.fixed:
            x, end = max(x - scrolled, self.frozen), end - scrolled
        end = min(end, room)
        return (x, end - x) if end > x else None

    def column_at(self, x: int) -> int | None:
        return next((n for n in reversed(range(len(self.starts))) if x >= self.starts[n]), None)


def lay_out(
    columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]], *, gap: int, room: int, sorted_by: str | None
) -> Layout:
    """Widths from the content. Frozen columns are let go until others have a quarter of the room."""
    widths = []
    for n, column in enumerate(columns):
        wanted = max((wide(text) for text in {cells[n].text for cells in rows}), default=0)
        mark, last = 2 if sorted_by == column.key else 0, n == len(columns) - 1
        widest = room if last and column.widest == WIDEST else column.widest
        widths.append(max(min(wanted, widest), cell_len(column.label) + mark, column.narrowest))
    starts, x = [], LEFT
    for width in widths:
        starts.append(x)
        x += width + gap

    def end(fixed: int) -> int:
        return starts[fixed] if fixed < len(starts) else 0

    fixed = sum(column.frozen for column in columns)
    while fixed > 1 and end(fixed) > 0.75 * max(1, room):
        fixed -= 1
    if columns and room - starts[-1] > 12:
        widths[-1] = min(widths[-1], room - starts[-1])
        x = starts[-1] + widths[-1]
    frozen, total = (end(fixed) if fixed else 0), max(x, 1)
    stop = next((start - frozen for start in starts[fixed:] if start - frozen >= total - room), 0)
    return Layout(tuple(widths), tuple(starts), fixed, frozen, total, max(total, stop + room if stop else 0))


def wide(text: str) -> int:
    """Cells of a text: quicker than `cell_len` where ten thousand different ones are measured."""
    return len(text) if text.isascii() else cell_len(text)


def arrange(
    rows: Mapping[Hashable, tuple[Cell, ...]],
    *,
    needle: str = "",
    column: int | None = None,
    largest_first: bool = False,
    names: Sequence[str] = (),
    tags: Mapping[Hashable, tuple[tuple[str, str], ...]] = MappingProxyType({}),
) -> list[Hashable]:
    """Keys of the rows that a filter lets through, sorted by a column or in the order given.

    needle: words that a row must contain; `verdict:refuted` for what a column or a tag of that name must.
    """
    keys: list[Hashable] = list(rows)
    if words := needle.lower().split():
        spelt = {*names, *(name for of in tags.values() for name, _ in of)}
        asked = [_asked(word, spelt) for word in words]
        keys = [key for key in keys if _passes(rows[key], tags.get(key, ()), names, asked)]
    if column is None:
        return keys
    known = [key for key in keys if rows[key][column].value is not None]
    rest = [key for key in keys if rows[key][column].value is None]
    known.sort(key=lambda key: _rank(rows[key][column].value), reverse=largest_first)
    return known + rest


def _asked(word: str, known: Collection[str]) -> tuple[str, str]:
    """(name, text): the name of a column or tag, or of its beginning, where the word begins with one."""
    name, colon, text = word.partition(":")
    found = name if name in known else next((one for one in sorted(known) if one.startswith(name)), "")
    return (found, text) if colon and name and found else ("", word)


def _passes(
    cells: tuple[Cell, ...],
    tags: tuple[tuple[str, str], ...],
    names: Sequence[str],
    asked: Sequence[tuple[str, str]],
) -> bool:
    whole = " ".join(cell.text for cell in cells).lower()
    for name, text in asked:
        if not name:
            if text not in whole:
                return False
            continue
        found = [f"{cell.text} {cell.value}" for one, cell in zip(names, cells, strict=False) if one == name]
        if text not in " ".join(found + [told for one, told in tags if one == name]).lower():
            return False
    return True


def _rank(value: float | str | None) -> tuple[int, float, str]:
    return (1, 0.0, value.lower()) if isinstance(value, str) else (0, float(value or 0.0), "")


def fit(text: str, width: int, align: str, *, more: str = "…") -> str:
    """Text in exactly so many cells; what is cut off ends in `more`."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + more if width > 1 else set_cell_size(text, width)
    blank = " " * (width - length)
    return blank + text if align == "right" else text + blank


def header(
    columns: Sequence[Column], lines: Layout, *, style: Style, gap: int, sorted_by: tuple[str, str]
) -> Strip:
    """The headings; the one sorted by, (key, mark), carries its mark."""
    segments = [Segment("  ", style)]
    for n, column in enumerate(columns):
        label = f"{column.label} {sorted_by[1]}" if column.key == sorted_by[0] else column.label
        segments.append(Segment(fit(label, lines.widths[n], column.align) + " " * gap, style))
    return Strip(segments)


def painted(
    cells: Sequence[tuple[Column, Cell]],
    lines: Layout,
    *,
    mark: str,
    styles: Sequence[Style],
    fill: Style,
    gap: int,
) -> Strip:
    """A row, a style a cell, `fill` between them; `mark` stands before it."""
    segments = [Segment(f"{mark} ", fill)]
    for n, (column, cell) in enumerate(cells):
        segments.append(Segment(fit(cell.text, lines.widths[n], column.align), styles[n]))
        segments.append(Segment(" " * gap, fill))
    return Strip(segments).simplify()
