"""A table of words with what is said below it: the same on a terminal, in Markdown, LaTeX and HTML.

For what is neither the comparison nor a list of runs: sets, claims, the checklist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.citing import escaped_latex
from falsefloor.report.html import text
from falsefloor.report.listings import Listing
from falsefloor.report.markdown import escaped
from falsefloor.report.text import clean

LONG = 40
"""Letters from which on a column of a LaTeX table is set as a paragraph."""


@dataclass(frozen=True)
class Tabular:
    """A rich renderable. styled: the column whose word has a colour of its own."""

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
        lines = [self.heads, ("---",) * len(self.heads), *(tuple(map(escaped, row)) for row in self.rows)]
        told = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([*told, *(f"\n{escaped(note)}" for note in self.notes), ""])

    def latex(self) -> str:
        """For a column of a paper (package booktabs)."""
        longest = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        room = 0.9 / max(1, sum(wide > LONG for wide in longest))
        kinds = (rf"p{{{room:.2f}\linewidth}}" if wide > LONG else "l" for wide in longest)
        lines = [
            r"% \usepackage{booktabs,amssymb}",
            rf"\begin{{tabular}}{{{''.join(kinds)}}}",
            r"\toprule",
            " & ".join(map(escaped_latex, self.heads)) + r" \\",
            r"\midrule",
            *(" & ".join(map(escaped_latex, row)) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join([*lines, *(f"\n{escaped_latex(note)}" for note in self.notes), ""])

    def html(self) -> str:
        head = "".join(
            f'<th style="text-align:left;padding:2px 10px">{text(word)}</th>' for word in self.heads
        )
        rows = (
            "".join(f'<td style="padding:2px 10px">{text(word)}</td>' for word in row) for row in self.rows
        )
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<p><small>{text(note)}</small></p>" for note in self.notes)
        return f'<table class="words"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>{notes}'
