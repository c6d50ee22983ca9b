"""A table for numbers that move: it repaints the cells that changed and nothing else.

`DataTable.update_cell` repaints all that is visible, which costs tens of milliseconds an update and sends the
whole screen over the line (Textualize/textual#6457). Here each row keeps its finished strip, a change drops
the strips of the rows it touches and refreshes the rectangles of the cells it touches.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip

from falsefloor.tui.widgets.cells import (
    GAP,
    TONES,
    Cell,
    Column,
    Head,
    Row,
    arrange,
    header,
    lay_out,
    painted,
)
from falsefloor.tui.widgets.cursor_view import CursorView, OfTable


class LiveTable(CursorView):
    """Rows of cells with a cursor. Feed it with `show`: everything, cheaply compared."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "live-table--header",
        "live-table--cursor-row",
        "live-table--cursor-cell",
        *(f"live-table--{tone}" for tone in TONES),
    }

    class Selected(OfTable):
        """Enter, or a click where the cursor already was."""

    class HeaderClicked(OfTable):
        """A click on a heading."""

    def __init__(self, *, id: str | None = None, marks: tuple[str, str, str] = ("▸", "▲", "▼")) -> None:  # noqa: A002
        super().__init__(id=id)
        self._mark, self._up, self._down = marks
        self._rows: dict[Hashable, tuple[Cell, ...]] = {}
        self._gap = GAP
        self._strips: dict[Hashable, Strip] = {}
        self._tones: dict[str, Style] = {}
        self._needle = ""
        self._sorted: tuple[str, bool] | None = None
        self._tags: dict[Hashable, tuple[tuple[str, str], ...]] = {}
        self._groups: dict[Hashable, str] = {}
        self._folded: set[str] = set()
        self._blank = ""

    # What is shown

    @property
    def shown(self) -> Sequence[Hashable]:
        """Keys of the rows that pass the filter, in the order shown."""
        return self._order

    @property
    def count(self) -> int:
        """How many rows there are, filtered out or not."""
        return len(self._rows)

    @property
    def sorted_by(self) -> tuple[str, bool] | None:
        """(column, whether largest first), or None for the order given."""
        return self._sorted

    @property
    def needle(self) -> str:
        """What the rows are filtered by."""
        return self._needle

    def say(self, blank: str) -> None:
        """What stands in the place of the rows where there are none."""
        if blank != self._blank:
            self._blank = blank
            self.refresh()

    def show(self, columns: Sequence[Column], rows: Iterable[Row], *, gap: int = GAP) -> None:
        """Everything anew; only what differs from before is painted. The cursor stays on its row."""
        rows = list(rows)
        columns, given = tuple(columns), {row.key: row.cells for row in rows}
        tags = {row.key: row.tags for row in rows if row.tags}
        groups = {row.key: row.group for row in rows if row.group}
        same = (columns, gap, groups) == (self._columns, self._gap, self._groups)
        same = same and len(given) == len(self._rows) and (tags == self._tags or not self._needle)
        self._tags, self._groups = tags, groups
        if same and [*given] == [*self._rows]:
            old = self._rows
            self._apply({key: cells for key, cells in given.items() if cells != old[key]})
            return
        before, at = self.current, self.current_column
        self._columns, self._rows, self._gap = columns, given, gap
        keys = [column.key for column in columns]
        if self._sorted and self._sorted[0] not in keys:
            self._sorted = None
        stops = [n for n, column in enumerate(columns) if column.selectable]
        place = keys.index(at) if at in keys else -1
        self.set_reactive(LiveTable.cursor_column, place if place in stops else next(iter(stops), 0))
        self._rearrange(before)

    def sort_by(self, column: str | None, *, largest_first: bool = False) -> None:
        """Sort by a column's values, or go back to the order given."""
        self._sorted = None if column is None else (column, largest_first)
        self._rearrange(self.current)

    def sort_on(self, column: str, *, largest_first: bool) -> None:
        """Sort by a column; again turns it, then undoes it."""
        if self._sorted == (column, not largest_first):
            self.sort_by(None)
        elif column:
            self.sort_by(column, largest_first=largest_first != (self._sorted == (column, largest_first)))

    def filter(self, needle: str) -> None:
        """Show only the rows that pass, in any case of letters: see `cells.arrange`."""
        self._needle = needle
        self._rearrange(self.current)

    def _apply(self, changed: dict[Hashable, tuple[Cell, ...]]) -> None:
        if not changed:
            return
        regions: list[Region] = []
        offset, height, room = round(self.scroll_y), self.size.height, self._seen
        last, wider = len(self._columns) - 1, False
        for key, cells in changed.items():
            old, self._rows[key] = self._rows[key], cells
            self._strips.pop(key, None)
            y = self._places.get(key, -1) - offset + 1
            for column, (before, after) in enumerate(zip(old, cells, strict=True)):
                if before == after:
                    continue
                wanted, width = cell_len(after.text), self._lines.widths[column]
                if wanted > width and (
                    width < self._columns[column].widest if column < last else self._lines.total < room
                ):
                    wider = True
                if 1 <= y < height and (span := self._lines.span(column, round(self.scroll_x), room=room)):
                    regions.append(Region(span[0], y, span[1], 1))
        # Where sorting or filtering could tell another story, look again.
        if wider or ((self._sorted or self._needle) and self._arranged() != self._order):
            self._rearrange(self.current)
        elif regions:
            self.refresh(*regions)

    # Order and layout

    def _arranged(self) -> list[Hashable]:
        name, largest_first = self._sorted or ("", False)
        names = [column.key for column in self._columns]
        place = names.index(name) if name in names else None
        found = arrange(
            self._rows,
            needle=self._needle,
            column=place,
            largest_first=largest_first,
            names=names,
            tags=self._tags,
        )
        if not self._groups:
            return found
        parts: dict[str, list[Hashable]] = {group: [] for group in self._groups.values()}
        for key in found:
            parts.setdefault(self._groups.get(key, ""), []).append(key)
        made: list[Hashable] = []
        for group, keys in parts.items():
            made += [Head(group)] * bool(keys) + keys * (group not in self._folded)
        return made

    def _rearrange(self, cursor_on: Hashable | None) -> None:
        self._order = self._arranged()
        self._places = {key: n for n, key in enumerate(self._order)}
        self._strips.clear()
        self._measure()
        last = max(0, len(self._order) - 1)
        place = self._places.get(cursor_on, min(self.cursor, last))
        self.set_reactive(LiveTable.cursor, place)
        self.refresh()
        self._keep_in_sight()
        self.post_message(self.Moved(self, self.current, self.current_column))

    def _measure(self) -> None:
        # Whether or not the scroll bar is there yet.
        width, height = self.outer_size
        self._lines = lay_out(
            self._columns,
            list(self._rows.values()),
            gap=self._gap,
            room=width - (len(self._order) + 1 > height),
            sorted_by=self._sorted[0] if self._sorted else None,
        )
        self.virtual_size = Size(self._lines.reach, len(self._order) + 1)

    def on_resize(self) -> None:
        self._strips.clear()
        self._measure()
        self._keep_in_sight()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._tones.clear()
        self._strips.clear()

    # Painting

    def render_line(self, y: int) -> Strip:
        width, base = self._seen, self._tone("")
        if y == 0:
            style = self._tone("header")
            line = self._scrolled(self._header(), style, width)
            if self._lines.whole(round(self.scroll_x) + width) < self._lines.total - 1:
                # There is more to the right.
                return Strip.join([line.crop(0, width - 1), Strip([Segment("›", style)])])
            return line
        place = round(self.scroll_y) + y - 1
        if place >= len(self._order):
            if self._blank and y == 2 and not self._order:
                return Strip([Segment(f"  {self._blank}", self._tone("dim"))]).adjust_cell_length(width, base)
            return Strip.blank(width, base)
        key = self._order[place]
        if isinstance(key, Head):
            return self._headed(key, place == self.cursor).adjust_cell_length(width, base)
        if place == self.cursor:
            return self._scrolled(self._painted(key, True), self._tone("cursor-row"), width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._painted(key, False)
        return self._scrolled(strip, base, width)

    def _scrolled(self, strip: Strip, fill: Style, width: int) -> Strip:
        x = round(self.scroll_x)
        edge = self._lines.whole(x + width)
        if x or edge < x + width:
            strip = Strip.join([strip.crop(0, self._lines.frozen), strip.crop(self._lines.frozen + x, edge)])
        return strip.adjust_cell_length(width, fill)

    def _header(self) -> Strip:
        mark = (self._down if self._sorted[1] else self._up) if self._sorted else ""
        by = (self._sorted[0], mark) if self._sorted else ("", "")
        return header(self._columns, self._lines, style=self._tone("header"), gap=self._gap, sorted_by=by)

    def _headed(self, head: Head, under_cursor: bool) -> Strip:
        fold = self._mark if head.group in self._folded else self._down
        style = self._tone("cursor-row" if under_cursor else "strong")
        return Strip([Segment(f"{fold} {head.group}", style)])

    def _painted(self, key: Hashable, under_cursor: bool) -> Strip:
        cells = list(zip(self._columns, self._rows[key], strict=True))
        styles = [self._tone(cell.tone) for _, cell in cells]
        fill = self._tone("")
        if under_cursor:
            fill = self._tone("cursor-row")
            for n, (column, cell) in enumerate(cells):
                ground = Style(bgcolor=fill.bgcolor, reverse=fill.reverse)
                quiet = cell.tone == "dim" or not cell.text
                styles[n] = fill if quiet else styles[n] + ground
                if column.selectable and n == self.cursor_column and self.has_focus:
                    styles[n] += self._tone("cursor-cell")
        mark = self._mark if under_cursor else " "
        return painted(cells, self._lines, mark=mark, styles=styles, fill=fill, gap=self._gap)

    def _tone(self, name: str) -> Style:
        style = self._tones.get(name)
        if style is None:
            part = name in TONES
            component = f"live-table--{name}"
            style = self.get_component_rich_style(component, partial=False) if name else self.rich_style
            if name.startswith("cursor") and self.app.native_ansi_color:
                # Reversed: among sixteen colours none goes below all others, and some palettes hide one.
                row = name == "cursor-row"
                style = self.rich_style + Style(reverse=True) if row else Style(bold=True, underline=True)
            if part:
                style = Style(
                    color=style.color, bgcolor=self.rich_style.bgcolor, bold=style.bold, dim=style.dim
                )
            self._tones[name] = style
        return style

    def action_select(self) -> None:
        if isinstance(self.current, Head):
            self._folded ^= {self.current.group}
            self._rearrange(self.current)
        elif self.current is not None:
            self.post_message(self.Selected(self, self.current, self.current_column))

    def on_click(self, event: events.Click) -> None:
        x = event.x + (round(self.scroll_x) if event.x >= self._lines.frozen else 0)
        column = self._lines.column_at(x)
        if event.y == 0:
            if column is not None:
                self.post_message(self.HeaderClicked(self, None, self._columns[column].key))
            return
        place = round(self.scroll_y) + event.y - 1
        if place >= len(self._order):
            return
        same = place == self.cursor
        self.cursor = place
        if column is not None and self._columns[column].selectable:
            same = same and column == self.cursor_column
            self.cursor_column = column
        if same:
            self.action_select()
