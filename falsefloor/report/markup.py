"""Words and tables in the languages of documents, HTML, Markdown and LaTeX: no word is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from falsefloor.report.text import clean

COLOURS = {
    "refuted": "#b00020",
    "suspect": "#8a5a00",
    "vacuous": "#7b2d8b",
    "unchecked": "#5f6368",
    "held": "#1b6e3a",
    "failed": "#b00020",
}
_MARKDOWN = "\\`*_{}[]()#<>|~&!$"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "≳": r"$\gtrsim$", "≥": r"$\geq$",
    "≤": r"$\leq$", "×": r"$\times$", "✗": r"$^\times$", "⊢": r"$\vdash$", "∞": r"$\infty$", "·": r"$\cdot$",
    "–": "--", "…": r"\ldots{}",
}  # fmt: skip


def html(words: object) -> str:
    """Other people's words as HTML: no markup, no control characters."""
    return escape(clean(str(words)), quote=True)


def markdown(words: str) -> str:
    """The same in Markdown: no markup, no HTML, no line ends."""
    return "".join(f"\\{char}" if char in _MARKDOWN else char for char in clean(words))


def latex(words: str) -> str:
    """The same in LaTeX: no command, and the signs that its fonts lack as mathematics."""
    return "".join(_LATEX.get(char, char) for char in clean(words))


def verdict_html(verdict: str, shown: str) -> str:
    """A verdict in its colour. shown: its word, with its count."""
    colour = COLOURS.get(verdict, "inherit")
    return f'<span style="color:{colour};font-weight:600">{html(shown)}</span>'


def head_html(words: str) -> str:
    return f'<th style="text-align:left;padding:2px 10px">{html(words)}</th>'


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A pipe table, a line a row."""
    lines = [[markdown(cell) for cell in row] for row in (heads, *rows)]
    return [f"| {' | '.join(line)} |" for line in (lines[0], ["---"] * len(heads), *lines[1:])]


def latex_table(kinds: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table for a paper (packages booktabs and amssymb), a line a row. kinds: of its columns."""
    first, *others = (" & ".join(map(latex, row)) + r" \\" for row in (heads, *rows))
    return [
        r"% \usepackage{booktabs,amssymb}",
        rf"\begin{{tabular}}{{{kinds}}}",
        *(r"\toprule", first, r"\midrule", *others, r"\bottomrule"),
        r"\end{tabular}",
    ]
