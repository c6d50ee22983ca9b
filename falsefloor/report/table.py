"""The table of a comparison for a terminal: `demo`, `show`, `watch` and a followed run print this one.

Laid out by hand, because a reason belongs beside its row where there is room and under it where there is
none. Three layouts, by width: open (names on one line), compact (names folded, no column for agreement) and
one line an estimator where even the numbers do not fit. Words come as `rich.text.Text`, never as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row, legend
from falsefloor.report.text import STYLES, Glyphs, clean, glyphs_for, tone

LEAST_WHY = 28
"""Columns that reasons need to stand beside their rows."""
LEAST_NAME = 14
"""Columns that folded names need."""
LONGEST_NAME = 48

Line = list[Text]


@dataclass(frozen=True)
class ComparisonTable:
    """A rich renderable: it looks at width and encoding when it is drawn, so it may be resized."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield from table_lines(self.comparison, width=options.max_width, glyphs=glyphs_for(options.encoding))


def table_lines(comparison: Comparison, *, width: int, glyphs: Glyphs) -> list[Text]:
    """The table as lines no wider than ``width``, legend included, behind what is said of the models."""
    said = [f"! {clean(one)}" for one in comparison.said]
    return [
        *(Text(piece, style="bold yellow") for one in said for piece in wrapped(one, width)),
        *_laid_out(comparison, width=width, glyphs=glyphs),
    ]


def _laid_out(comparison: Comparison, *, width: int, glyphs: Glyphs) -> list[Text]:
    if not comparison.rows:
        return [Text("nothing is planned yet", style="dim")]
    names = [comparison.name(row) for row in comparison.rows]
    widest = max(len(_NAME_HEAD), *map(cell_len, names))
    raw = comparison.without_recovered()
    for agreement, gap, drawn in ((True, 2, comparison), (True, 2, raw), (False, 1, raw)):
        heads, rows = _grid(drawn, glyphs, agreement=agreement)
        widths = [max(cell_len(line[at].plain) for line in (*heads, *rows)) for at in range(len(rows[0]))]
        room = width - sum(widths) - gap * len(widths)
        name = min(widest, room)
        if name == widest <= LONGEST_NAME or (gap == 1 and name >= min(widest, LEAST_NAME)):
            frame = _Frame(name, widths, gap, width, glyphs)
            below = [[] if drawn is comparison else _recovered(row, glyphs) for row in comparison.rows]
            if not agreement:
                below = [[*b, r.changed_class] for b, r in zip(below, comparison.rows, strict=True)]
            return [*_table(drawn, frame, names, heads, rows, below), *_legend(comparison, width, glyphs)]
    return [*_long(comparison, names, width=width, glyphs=glyphs), *_legend(comparison, width, glyphs)]


_NAME_HEAD = "masker"


@dataclass(frozen=True)
class _Frame:
    """The columns of a table: the name's, the others', the space before each of these."""

    name: int
    widths: list[int]
    gap: int
    width: int
    glyphs: Glyphs

    @property
    def used(self) -> int:
        return self.name + sum(self.widths) + self.gap * len(self.widths)

    def line(self, name: str, cells: Line, *, style: str = "") -> Text:
        """The cells right-aligned but for the verdict, which is the last."""
        line = Text(name + " " * (self.name - cell_len(name)), style=style)
        for at, (cell, wide) in enumerate(zip(cells, self.widths, strict=True)):
            fill = Text(" " * (wide - cell_len(cell.plain)))
            line.append(" " * self.gap)
            line.append_text(cell + fill if at == len(cells) - 1 else fill + cell)
        return line


def _table(
    comparison: Comparison,
    frame: _Frame,
    names: Sequence[str],
    heads: list[Line],
    rows: list[Line],
    notes: Sequence[Sequence[str]],
) -> list[Text]:
    whys = [row.why(frame.glyphs) for row in comparison.rows]
    beside = frame.width - frame.used - 2
    if beside < min(max(map(cell_len, whys)), LEAST_WHY):
        beside = 0
    lines = [_stripped(frame.line("", head, style="bold")) for head in heads[:-1]]
    last = frame.line(_NAME_HEAD, heads[-1], style="bold")
    lines.append(_stripped(last + Text("  why" if beside and any(whys) else "", style="bold")))
    lines.append(Text(frame.glyphs.line * frame.width, style="dim"))
    for row, name, cells, reason, more in zip(comparison.rows, names, rows, whys, notes, strict=True):
        folded = _folded(name, frame.name)
        said = wrapped(reason, beside) if beside else []
        for at in range(max(len(folded), len(said), 1)):
            part = folded[at] if at < len(folded) else ""
            line = frame.line(part, cells if at == 0 else [Text("")] * len(cells))
            if at < len(said):
                line.append(f"  {said[at]}", style="dim")
            lines.append(_stripped(line))
        below = [] if beside else [row.correct_words if row.verdict == "held" else reason]
        for words in (*below, *more):
            lines += [Text(f"    {piece}", style="dim") for piece in wrapped(words, frame.width - 4)]
    return lines


def _grid(comparison: Comparison, glyphs: Glyphs, *, agreement: bool) -> tuple[list[Line], list[Line]]:
    """Head lines, then a line a row: numbers, ratio, agreement, verdict."""
    agreement = agreement and any(row.agreement for row in comparison.rows)
    heads = [_head(clean(column)) for column in comparison.columns]
    heads += [[glyphs.times, "none"]] * comparison.ratios + [["same", "class"]] * agreement
    heads.append(["verdict"])
    tall = max(map(len, heads))
    padded = [[""] * (tall - len(head)) + head for head in heads]
    rows = []
    for row in comparison.rows:
        line = [_number(entry, glyphs) for entry in row.entries]
        if comparison.ratios:
            line.append(Text(glyphs.ratio(row.ratio)))
        if agreement:
            line.append(Text(row.same_class, style="yellow" if row.changed_class else ""))
        rows.append([*line, _verdict(row)])
    return [[Text(head[at], style="bold") for head in padded] for at in range(tall)], rows


def _long(comparison: Comparison, names: Sequence[str], *, width: int, glyphs: Glyphs) -> list[Text]:
    """One line an estimator, for narrow windows and for many or long names."""
    lines: list[Text] = []
    label = min(max(cell_len(clean(c)) for c in comparison.columns), max(8, width - 26))
    for row, name in zip(comparison.rows, names, strict=True):
        lines += [Text(part, style="bold") for part in _folded(name, width)]
        tail = Text("  ") + _verdict(row)
        if row.ratio is not None:
            tail.append(f"  {glyphs.ratio(row.ratio)}", style="dim")
        if lines[-1].cell_len + tail.cell_len <= width:
            lines[-1] += tail
        else:
            lines.append(tail)
        for entry in row.entries:
            if entry is not None:
                line = Text(f"  {set_cell_size(clean(entry.series.label), label)}  ")
                line.append_text(_number(entry, glyphs))
                line.append(f"  {clean(entry.word)}", style=STYLES.get(tone(entry.word), ""))
                line.truncate(width)
                lines.append(line)
        why = row.correct_words if row.verdict == "held" else row.why(glyphs)
        for words in (why, row.changed_class):
            lines += [Text(f"    {p}", style="dim") for p in wrapped(words, max(10, width - 4))]
    return lines


def _legend(comparison: Comparison, width: int, glyphs: Glyphs) -> list[Text]:
    return [Text(p, style="dim") for p in _flow(legend(comparison, glyphs), width, f" {glyphs.dot} ")]


def _flow(words: Sequence[str], width: int, joint: str) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1] + joint + word) <= width:
            lines[-1] += joint + word
        else:
            lines.extend(wrapped(word, width) or [""])
    return lines


def _folded(name: str, width: int) -> list[str]:
    """A name on lines of this width, cut after a sign where there is one; what follows is indented."""
    if cell_len(name) <= width:
        return [name]
    lines = [""]
    for part in re.findall(r"[^:,+ ]*[:,+ ]?", name):
        if cell_len(lines[-1] + part.rstrip()) <= width:
            lines[-1] += part
        else:
            lines += [f" {piece}" for piece in chop_cells(part, max(2, width - 1))]
    return [line.rstrip() for line in lines if line.strip()]


def _head(name: str) -> list[str]:
    """A column's head on several lines: "finite-", "difference"; "clever:", "radius=0.3"."""
    parts = re.findall(r"[^:,+ -]*(?:-(?=[^:,+ -]{3})|[:,+ ]|$|-)", name)
    return [part.rstrip() for part in parts if part] or [""]


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def _number(entry: Entry | None, glyphs: Glyphs) -> Text:
    """A cell; where it is a number, with room for one mark, so that numbers stand below each other."""
    if entry is None:
        return Text("")
    said = entry.said(glyphs)
    room = f"{said.mark:<1}" if entry.cell.radius is not None else ""
    return Text(said.text + room, style=STYLES.get(said.tone, "cyan" if said.tone == "live" else ""))


def _verdict(row: Row) -> Text:
    return Text(row.words, style=STYLES.get(tone(row.verdict), ""))


def _recovered(row: Row, glyphs: Glyphs) -> list[str]:
    """The estimates made again with a repaired gradient, for layouts without columns for them."""
    return [
        f"{clean(entry.series.label)} {entry.shown(glyphs)} {clean(entry.word)}".rstrip()
        for entry in row.entries
        if entry is not None and entry.series.recovers is not None and entry.cell.radius is not None
    ]


def wrapped(words: str, width: int) -> list[str]:
    """Words on lines of this many terminal cells; a word that is longer is cut."""
    lines: list[str] = []
    for word in words.split():
        for piece in chop_cells(word, width):
            if lines and cell_len(lines[-1]) + 1 + cell_len(piece) <= width:
                lines[-1] += f" {piece}"
            else:
                lines.append(piece)
    return lines
