"""A run as Markdown: the table and the refutations, for an issue, a pull request or a paper's appendix."""

from __future__ import annotations

from falsefloor.report.comparison import Comparison, Row, read_comparison
from falsefloor.report.refutations import read_kinds, read_refutations, sentence
from falsefloor.report.text import UNICODE, clean, outcome, share
from falsefloor.store.reader import RunReader
from falsefloor.study.file import study_from

_SPECIAL = "\\`*_{}[]()#<>|~&!$"


def markdown(reader: RunReader) -> str:
    """A run: head, table, refutations, command."""
    info, comparison = reader.info(), read_comparison(reader)
    lines = [
        f"# falsefloor run {escaped(info.id)}",
        "",
        f"{escaped(info.status)}, {escaped(info.device)}, seed {info.seed}, {info.seconds:.0f} s,"
        f" {share(info.units())}: {escaped(outcome(info.counts))}",
        "",
        *(f"**{escaped(one)}**\n" for one in comparison.said),
        *table(comparison),
        "",
        *(f"{escaped(one)}\n" for one in comparison.words),
    ]
    found = read_refutations(reader)
    for one in found:
        name = " · ".join((one.series.model, one.series.masker, one.series.norm, one.series.label))
        again = f"  \n  `{command}`" if (command := one.replay(info.id)) else ""
        lines.append(f"- **{escaped(name)}** {escaped(sentence(one))}{again}")
    kinds = read_kinds(reader)
    if kinds:
        lines += [""] * bool(found) + [_line(["warning", "severity", "estimates", "for example"])]
        lines.append(_line(["---"] * 4))
    for kind in kinds:
        words = [escaped(f"{kind.code} {kind.name}".strip()), escaped(kind.severity)]
        lines.append(_line([*words, f"{kind.count:,}", escaped(kind.message)]))
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    lines += [""] * bool(found or kinds)
    return "\n".join(
        [*lines, escaped(versions), "", f"    {clean(study_from(info.study).command_line())}", ""]
    )


def table(comparison: Comparison) -> list[str]:
    """The comparison as a pipe table."""
    heads = ["model", "masker", "norm", *comparison.columns]
    heads += [f"{UNICODE.times} none"] * comparison.ratios + ["same class", "verdict", "why"]
    lines = [_line([escaped(head) for head in heads]), _line(["---"] * len(heads))]
    return lines + [_line(_cells(comparison, row)) for row in comparison.rows]


def _cells(comparison: Comparison, row: Row) -> list[str]:
    made = [escaped(word) for word in row.subject[:3]]
    made += [escaped("".join(e.said(UNICODE)[:2])) if e is not None else "" for e in row.entries]
    if comparison.ratios:
        made.append(UNICODE.ratio(row.ratio))
    same, of = row.agreement or (0, 0)
    return [*made, f"{same}/{of}" if of else "", escaped(row.words), escaped(row.why(UNICODE))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(words: str) -> str:
    """Other people's words: no markup, no HTML, no line ends."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in clean(words))
