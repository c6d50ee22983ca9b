"""The table of a comparison for a terminal: `demo`, `show`, `watch` and a followed run print this one.

Laid out by hand, because a reason belongs beside its row where there is room and under it where there is
none. Three layouts, by width: reasons beside, reasons below, and one line an estimator where even the numbers
do not fit. Every word of it comes as `rich.text.Text`, never as markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.comparison import Comparison, Entry, Row
from falsefloor.report.glyphs import MARKS, STYLES, Glyphs, glyphs_for, plain

GAP = 2
LEAST_WHY = 30
"""Columns that reasons need to stand beside their rows."""

_NAMES = 40
"""Columns that a masker's name may take before the layout with one line an estimator is used."""


@dataclass(frozen=True)
class ComparisonTable:
    """A rich renderable: it looks at width and encoding when it is drawn, so it may be resized."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield from table_lines(self.comparison, width=options.max_width, glyphs=glyphs_for(options.encoding))


def table_lines(comparison: Comparison, *, width: int, glyphs: Glyphs) -> list[Text]:
    """The table as lines no wider than ``width``, legend included."""
    if not comparison.rows:
        return [Text("nothing is planned yet", style="dim")]
    grid = _grid(comparison, glyphs)
    widths = [max(cell_len(row[at].plain) for row in grid) for at in range(len(grid[0]))]
    used = sum(widths) + GAP * len(widths)
    whys = [_why(row) for row in comparison.rows]
    if used > width or widths[0] > _NAMES:
        lines = _long(comparison, whys, width=width, glyphs=glyphs)
    else:
        longest = max((cell_len(why) for why in whys), default=0)
        beside = width - used
        if beside < min(longest, LEAST_WHY):
            beside = 0
        lines = _wide(comparison, grid, widths, whys, beside=beside, width=width, glyphs=glyphs)
    return lines + _legend(comparison, width=width, glyphs=glyphs)


def subject_name(comparison: Comparison, row: Row) -> str:
    """A row's name, without what is the same in every row."""
    model, masker, norm = row.subject
    parts = [model if len(comparison.models) > 1 else "", masker, norm if len(comparison.norms) > 1 else ""]
    return " ".join(plain(part) for part in parts if part)


def cell_text(entry: Entry | None, *, glyphs: Glyphs) -> Text:
    """One number with its claim and, where it does not stand, its mark; or how far it is."""
    if entry is None:
        return Text("")
    cell = entry.cell
    if cell.radius is None and cell.live is not None:
        share, moving = cell.live
        shown = "" if moving is None else f"{glyphs.radius(moving, claim=entry.series.claim)} "
        return Text(f"{shown}{share:.0%}", style="cyan")
    if cell.radius is None:
        state = next((s for s in ("failed", "skipped", "cancelled") if cell.verdicts.get(s)), "")
        return Text(state or glyphs.dash, style=STYLES.get(state, "dim"))
    shown = glyphs.radius(cell.radius, claim=entry.series.claim, capped=cell.capped)
    mark = MARKS.get(cell.worst or "", "") + ("!" if entry.failed else "")
    return Text(f"{shown}{mark:<1}", style=STYLES.get(cell.worst or "", "") if mark else "")


def verdict_text(row: Row) -> Text:
    """ "REFUTED", "3/5 refuted", "held", or nothing while nothing has come back."""
    told, verdict = row.told, row.verdict
    if told is None or not verdict:
        return Text("")
    of = sum(told.cell.verdicts.values())
    count = told.cell.verdicts.get(verdict, 0)
    partly = of > 1 and count < of
    word = f"{count}/{of} {verdict}" if partly else verdict
    return Text(word if verdict != "refuted" or partly else word.upper(), style=STYLES.get(verdict, ""))


def _why(row: Row) -> str:
    told = row.told
    if told is None:
        return ""
    reason = plain(told.cell.reason)
    if not reason or row.verdict == "held":
        return reason
    return f"{plain(told.series.label)}: {reason}" if len(row.entries) > 1 else reason


def _grid(comparison: Comparison, glyphs: Glyphs) -> list[list[Text]]:
    """Header lines, then a line a row: name, numbers, ratio, agreement, verdict."""
    agreement = any(row.agreement for row in comparison.rows)
    heads = [[""], *(_split(plain(column)) for column in comparison.columns)]
    if comparison.ratio_of is not None:
        heads.append([glyphs.times, "none"])
    if agreement:
        heads.append(["same", "class"])
    heads.append(["verdict"])
    heads[0] = [" ".join(["model"] * (len(comparison.models) > 1) + ["masker"])]
    tall = max(map(len, heads))
    grid = [[Text(head[line - tall + len(head)] if line >= tall - len(head) else "", style="bold")
             for head in heads] for line in range(tall)]  # fmt: skip
    for row in comparison.rows:
        line = [Text(subject_name(comparison, row))]
        line += [cell_text(entry, glyphs=glyphs) for entry in row.entries]
        if comparison.ratio_of is not None:
            line.append(Text(glyphs.ratio(row.ratio), style="dim" if row.ratio == 1.0 else ""))
        if agreement:
            same, of = row.agreement or (0, 0)
            line.append(Text(f"{same}/{of}" if of else "", style="yellow" if same < of else ""))
        line.append(verdict_text(row))
        grid.append(line)
    return grid


def _wide(
    comparison: Comparison,
    grid: Sequence[Sequence[Text]],
    widths: Sequence[int],
    whys: Sequence[str],
    *,
    beside: int,
    width: int,
    glyphs: Glyphs,
) -> list[Text]:
    heads = len(grid) - len(comparison.rows)
    last = len(widths) - 1
    lines: list[Text] = []
    for at, cells in enumerate(grid):
        line = Text()
        for column, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
            fill = " " * (wide - cell_len(cell.plain))
            line.append_text(cell + Text(fill) if column in (0, last) else Text(fill) + cell)
            line.append(" " * GAP)
        why = "" if at < heads else whys[at - heads]
        if at == heads - 1:
            line.append("why" if beside else "", style="bold")
        pieces = textwrap.wrap(why, beside) if beside else []
        for first, piece in enumerate(pieces or [""]):
            lines.append(_right(line if first == 0 else Text(" " * (width - beside)), piece))
        if not beside and why and grid[at][last].plain != "held":
            lines += [Text(f"    {piece}", style="dim") for piece in textwrap.wrap(why, width - 4)]
        if at == heads - 1:
            lines.append(Text(glyphs.line * width, style="dim"))
    return lines


def _right(line: Text, piece: str) -> Text:
    whole = line + Text(piece, style="dim" if piece else "")
    whole.rstrip()
    return whole


def _long(comparison: Comparison, whys: Sequence[str], *, width: int, glyphs: Glyphs) -> list[Text]:
    """One line an estimator, for narrow windows and for many or long names."""
    lines: list[Text] = []
    name = min(max(cell_len(plain(c)) for c in comparison.columns), max(8, width - 26))
    for row, why in zip(comparison.rows, whys, strict=True):
        head = Text(subject_name(comparison, row), style="bold")
        head.truncate(max(8, width - 26), overflow="ellipsis" if glyphs.more == "…" else "crop")
        head.append("  ").append_text(verdict_text(row))
        if row.ratio is not None and comparison.ratio_of is not None:
            head.append(f"  {glyphs.ratio(row.ratio)}", style="dim")
        lines.append(_cropped(head, width))
        for entry in row.entries:
            if entry is not None:
                line = Text(f"  {plain(entry.series.label)[:name]:<{name}}  ")
                line.append_text(cell_text(entry, glyphs=glyphs))
                line.append(f"  {entry.cell.worst or ''}", style=STYLES.get(entry.cell.worst or "", ""))
                lines.append(_cropped(line, width))
        if why and row.verdict != "held":
            lines += [Text(f"    {piece}", style="dim") for piece in textwrap.wrap(why, max(10, width - 4))]
    return lines


def _cropped(line: Text, width: int) -> Text:
    line.truncate(width)
    return line


def _legend(comparison: Comparison, *, width: int, glyphs: Glyphs) -> list[Text]:
    entries = [entry for row in comparison.rows for entry in row.entries if entry is not None]
    shown = [entry for entry in entries if entry.cell.radius is not None]
    words = []
    if any(e.series.claim == "lower_estimate" and not e.cell.capped for e in shown):
        words.append(f"{glyphs.about} estimated floor")
    if any(e.series.claim == "lower_bound" or e.cell.capped for e in shown):
        words.append(f"{glyphs.least} at its cap, or certified")
    if any(not e.lower for e in shown):
        words.append(f"{glyphs.most} ceiling: an adversarial input was found there")
    seen = {entry.cell.worst for entry in shown}
    words += [f"{MARKS[v]} {v}" for v in MARKS if MARKS[v] and v in seen]
    if any(entry.failed for entry in shown):
        words.append("! failed for some inputs")
    if comparison.ratio_of is not None:
        words.append(f"{glyphs.times} none: {plain(comparison.ratio_of)} over its unmasked value")
    if any(row.agreement for row in comparison.rows):
        words.append("same class: inputs that the masker leaves in their class")
    if any(entry.cell.total > 1 for entry in shown):
        words.append("numbers are medians over the inputs")
    return [Text(piece, style="dim") for piece in _flow(words, width, f" {glyphs.dot} ")]


def _flow(words: Sequence[str], width: int, joint: str) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1] + joint + word) <= width:
            lines[-1] += joint + word
        else:
            lines.extend(textwrap.wrap(word, width) or [""])
    return lines


def _split(name: str) -> list[str]:
    """A column's head on several lines: "finite-", "difference"; "clever:", "radius=0.3"."""
    parts, start = [], 0
    for at, char in enumerate(name):
        if char in ":,+" or (char == "-" and at - start >= 3):
            parts.append(name[start : at + 1])
            start = at + 1
    parts.append(name[start:])
    return [part for part in parts if part] or [""]


__all__ = ["ComparisonTable", "cell_text", "subject_name", "table_lines", "verdict_text"]
