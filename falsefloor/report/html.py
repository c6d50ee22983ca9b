"""The comparison as an HTML fragment: in a notebook, and at the head of a page. Everything is escaped."""

from __future__ import annotations

from html import escape

from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row, legend
from falsefloor.report.text import UNICODE, clean, verdict_word

COLOURS = {
    "refuted": "#b00020",
    "suspect": "#8a5a00",
    "vacuous": "#7b2d8b",
    "unchecked": "#5f6368",
    "held": "#1b6e3a",
    "failed": "#b00020",
}
WIDE = 9
"""Columns beyond which a printed page sets each row as a block."""


def text(words: object) -> str:
    """Other people's words as HTML: no markup, no control characters."""
    return escape(clean(str(words)), quote=True)


def verdict_html(verdict: str, shown: str = "") -> str:
    """A verdict in its colour; ``shown``: with its count."""
    colour = COLOURS.get(verdict, "inherit")
    return f'<span style="color:{colour};font-weight:600">{text(shown or verdict_word(verdict))}</span>'


def table_html(comparison: Comparison) -> str:
    """A table: subject × norm in rows, the verdict with its reason beside it, then the estimators.

    The verdict stands before the numbers, which a narrow window may cut off; every cell carries its heading,
    for pages that set a row as a block.
    """
    agreement = any(row.agreement for row in comparison.rows)
    heads = ["model", "masker", "norm", "verdict", *comparison.columns]
    heads += [f"{UNICODE.times} none"] * comparison.ratios
    heads += ["same class"] * agreement
    lines = [f"<p><strong>{text(one)}</strong></p>" for one in comparison.said]
    wide = " wide" if len(heads) > WIDE else ""
    lines += [f'<table class="falsefloor{wide}" style="border-collapse:collapse">', "<thead><tr>"]
    lines += [f'<th style="text-align:left;padding:2px 10px">{text(head)}</th>' for head in heads]
    lines.append("</tr></thead><tbody>")
    for row in comparison.rows:
        cells = _cells(comparison, row, agreement=agreement)
        lines.append("<tr>")
        lines += [_td(inner, head) for (inner, head) in zip(cells, heads, strict=True)]
        lines.append("</tr>")
    signs = f" {UNICODE.dot} ".join(legend(comparison, UNICODE))
    return "\n".join([*lines, "</tbody></table>", f"<p><small>{text(signs)}</small></p>"])


def _cells(comparison: Comparison, row: Row, *, agreement: bool) -> list[str]:
    made = [text(word) for word in row.subject[:3]]
    why = f"<br><small>{text(said)}</small>" if (said := row.why(UNICODE)) else ""
    made += [verdict_html(row.verdict, row.words) + why, *map(_number, row.entries)]
    if comparison.ratios:
        made.append(text(UNICODE.ratio(row.ratio)))
    if agreement:
        same, of = row.agreement or (0, 0)
        made.append(f"{same}/{of}" if of else "")
    return made


def _td(inner: str, head: str) -> str:
    return f'<td data-head="{text(head)}" style="padding:2px 10px">{inner}</td>'


def _number(entry: Entry | None) -> str:
    """A number with its verdict in a word below it: a colour alone says nothing in print."""
    if entry is None:
        return ""
    said = entry.said(UNICODE)
    colour, shown = COLOURS.get(said.tone), text(said.text + said.mark)
    shown = f'<span style="color:{colour}">{shown}</span>' if colour else shown
    word = "" if entry.word in ("", said.text) else f"<br><small>{text(entry.word)}</small>"
    return shown + word
