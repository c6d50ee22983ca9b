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


def text(words: object) -> str:
    """Other people's words as HTML: no markup, no control characters."""
    return escape(clean(str(words)), quote=True)


def verdict_html(verdict: str, shown: str = "") -> str:
    """A verdict in its colour; ``shown``: with its count."""
    colour = COLOURS.get(verdict, "inherit")
    return f'<span style="color:{colour};font-weight:600">{text(shown or verdict_word(verdict))}</span>'


def table_html(comparison: Comparison) -> str:
    """A table: subject × norm in rows, estimators in columns, the verdict beside with its reason below it."""
    agreement = any(row.agreement for row in comparison.rows)
    heads = ["model", "masker", "norm", *comparison.columns]
    heads += [f"{UNICODE.times} none"] * comparison.ratios
    heads += ["same class"] * agreement + ["verdict"]
    lines = [f"<p><strong>{text(one)}</strong></p>" for one in comparison.said]
    lines += ['<table class="falsefloor" style="border-collapse:collapse">', "<thead><tr>"]
    lines += [f'<th style="text-align:left;padding:2px 10px">{text(head)}</th>' for head in heads]
    lines.append("</tr></thead><tbody>")
    for row in comparison.rows:
        lines += ["<tr>", *_cells(comparison, row, agreement=agreement), "</tr>"]
    signs = f" {UNICODE.dot} ".join(legend(comparison, UNICODE))
    return "\n".join([*lines, "</tbody></table>", f"<p><small>{text(signs)}</small></p>"])


def _cells(comparison: Comparison, row: Row, *, agreement: bool) -> list[str]:
    made = [_td(text(word)) for word in row.subject[:3]]
    made += [_td(_number(entry), right=True) for entry in row.entries]
    if comparison.ratios:
        made.append(_td(text(UNICODE.ratio(row.ratio)), right=True))
    if agreement:
        same, of = row.agreement or (0, 0)
        made.append(_td(f"{same}/{of}" if of else "", right=True))
    # a column of its own would be the one that a narrow window cuts off
    why = f"<br><small>{text(said)}</small>" if (said := row.why(UNICODE)) else ""
    return [*made, _td(verdict_html(row.verdict, row.words) + why)]


def _td(inner: str, *, right: bool = False) -> str:
    return f'<td style="padding:2px 10px;text-align:{"right" if right else "left"}">{inner}</td>'


def _number(entry: Entry | None) -> str:
    if entry is None:
        return ""
    said = entry.said(UNICODE)
    colour, shown = COLOURS.get(said.tone), text(said.text + said.mark)
    return f'<span style="color:{colour}" title="{text(entry.word)}">{shown}</span>' if colour else shown
