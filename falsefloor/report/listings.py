"""Lists and tables of words: runs, plugins, parameters, what was found on this machine; sets and claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report import markup
from falsefloor.report.text import clean, glyphs_for, tallied

if TYPE_CHECKING:
    from falsefloor.options import Option
    from falsefloor.plugins.described import Described

STATUS = {
    "done": "green", "running": "cyan", "queued": "cyan", "paused": "yellow", "failed": "bold red",
    "lost": "bold red", "unreadable": "bold red", "healthy": "green", "broken": "bold red",
    "incompatible": "bold red", "timed out": "bold red", "duplicate": "yellow", "ok": "green",
    "warning": "yellow", "bad": "bold red", "held": "green", "refuted": "bold red", "not decided": "yellow",
    "passed": "green", "not measured": "dim",
}  # fmt: skip
LONG = 40
"""Letters from which on a column of a LaTeX table is set as a paragraph."""


@dataclass(frozen=True)
class Listing:
    """Columns of text: all but the last as wide as their widest word, the last wrapped where it ends up.

    Where that is wider than the terminal the first columns stand above their rows, once where they repeat.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    styled: int | None = None
    """The column whose word has a colour of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        glyphs = glyphs_for(options.encoding)
        lines = (self.heads, *self.rows)
        every = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        above = 0
        while len(every) - above > 3 and _before(every[above:]) > options.max_width:
            above += 1
        widths, edge = every[above:], "  " * bool(above)
        before = len(edge) + _before(widths)
        room = options.max_width - before
        below = room < 24 and widths[-1] > room
        heading: tuple[str, ...] = ()
        for at, row in enumerate(lines):
            if at and heading != (heading := row[:above]):
                yield Text(f" {glyphs.dot} ".join(heading))
            line = Text(edge, style="bold" if at == 0 else "")
            for column, (word, wide) in enumerate(zip(row[above:-1], widths, strict=False), above):
                colour = STATUS.get(word, "") if at and column == self.styled else ""
                line.append(word, style=colour)
                line.append(" " * (wide - cell_len(word) + 2))
            pieces = Text(row[-1], style="dim" if at else "").wrap(
                console, max(20, options.max_width - 4 if below else room)
            )
            if not below and pieces:
                line.append_text(pieces[0])
            line.rstrip()
            yield line
            indent = 4 if below else before
            if at == 0:
                yield Text(glyphs.line * min(options.max_width, before + widths[-1]), style="dim")
            for piece in pieces if below and at else pieces[1:]:
                if piece.plain:
                    yield Text(" " * indent) + piece


def _before(widths: Sequence[int]) -> int:
    """Cells before the last column."""
    return sum(widths[:-1]) + 2 * (len(widths) - 1)


@dataclass(frozen=True)
class Tabular:
    """A table of words with what is said below it: the same on a terminal, in Markdown, LaTeX and HTML.

    For what is neither the comparison nor a list of runs: sets, claims, the checklist.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    styled: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Listing | Text]:
        cleaned = tuple(tuple(map(clean, row)) for row in self.rows)
        if cleaned:
            yield Listing(self.heads, cleaned, self.styled)
        for note in self.notes:
            for line in wrap(clean(note), options.max_width, subsequent_indent="  "):
                yield Text(line, style="dim")

    def markdown(self) -> str:
        told = markup.markdown_table(self.heads, self.rows)
        return "\n".join([*told, *(f"\n{markup.markdown(note)}" for note in self.notes), ""])

    def latex(self) -> str:
        """For a column of a paper (package booktabs)."""
        longest = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        room = 0.9 / max(1, sum(wide > LONG for wide in longest))
        kinds = "".join(rf"p{{{room:.2f}\linewidth}}" if wide > LONG else "l" for wide in longest)
        lines = markup.latex_table(kinds, self.heads, self.rows)
        return "\n".join([*lines, *(f"\n{markup.latex(note)}" for note in self.notes), ""])

    def html(self) -> str:
        head = "".join(map(markup.head_html, self.heads))
        rows = (
            "".join(f'<td style="padding:2px 10px">{markup.html(word)}</td>' for word in row)
            for row in self.rows
        )
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<p><small>{markup.html(note)}</small></p>" for note in self.notes)
        return f'<table class="words"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>{notes}'


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """The list of `falsefloor runs`."""
    made = []
    for row in rows:
        counts = row["counts"]
        found = list(tallied(counts).values())
        units = row["units"]
        share = f"{units['done']}/{units['total']}" if units else ""
        what = ", ".join(map(clean, row["models"])) or clean(row["error"] or "")
        tag = f"[{clean(row['tag'])}] " if row["tag"] else ""
        line = (
            clean(row["id"]),
            row["status"],
            (row["started"] or "")[:16].replace("T", " "),
            share,
            f"{tag}{what} {', '.join(found)}",
        )
        made.append(line)
    return Listing(("run", "status", "started (UTC)", "units", "what"), tuple(made), 1)


def plugins_table(rows: Iterable[Described]) -> Listing:
    """The list of `falsefloor plugins list`."""
    made = []
    for row in rows:
        about = row.reason if row.status != "healthy" else row.summary or row.reason
        made.append((row.kind, clean(row.name), row.status, clean(f"{row.dist} {row.version}"), clean(about)))
    return Listing(("kind", "name", "status", "from", "what"), tuple(made), 2)


def options_table(options: Iterable[Option]) -> Listing:
    """The parameters of one plugin."""
    from falsefloor.options import show

    made = [
        (clean(o.name), clean(show(o.default)), clean(o.expects()), clean(o.help))
        for o in options
    ]  # fmt: skip
    return Listing(("parameter", "default", "takes", "what"), tuple(made))
