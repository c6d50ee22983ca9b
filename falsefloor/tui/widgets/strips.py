"""Lines of a live table, painted from cells: pure, and made once for each row that does not change."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from falsefloor.tui.widgets.cells import Cell, Column, Layout, fit


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


__all__ = ["header", "painted"]
