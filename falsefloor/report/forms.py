"""A run as a text, the same whoever writes it, command line or app: for programs (json, csv), for people
(Markdown, HTML) or for a paper. Others' words are never markup, and no cell of a spreadsheet is a formula.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from falsefloor.checks.verdicts import Place
from falsefloor.jsonable import written
from falsefloor.report import markup
from falsefloor.report.cells import Entry
from falsefloor.report.comparison import Comparison, Row, legend, read_comparison
from falsefloor.report.refutations import read_kinds, read_refutations, sentence
from falsefloor.report.text import UNICODE, clean, outcome, share
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.store.standing import RunInfo
from falsefloor.study.file import study_from

COLUMNS = (
    "model", "masker", "norm", "name", "estimator", "gradient", "recovers", "input", "label", "predicted",
    "claim", "radius", "capped", "low", "high", "verdict", "reason", "warnings", "status", "error", "forward",
    "backward", "seconds", "plugin",
)  # fmt: skip
"""Of the CSV form, whose last one holds the parameters."""
PAPERS = {
    "clever": """@inproceedings{weng2018clever,
  title = {Evaluating the Robustness of Neural Networks: An Extreme Value Theory Approach},
  author = {Weng, Tsui-Wei and Zhang, Huan and Chen, Pin-Yu and Yi, Jinfeng and Su, Dong and Gao, Yupeng and
            Hsieh, Cho-Jui and Daniel, Luca},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
  url = {https://arxiv.org/abs/1801.10578}
}""",
    "milp": """@inproceedings{tjeng2019mip,
  title = {Evaluating Robustness of Neural Networks with Mixed Integer Programming},
  author = {Tjeng, Vincent and Xiao, Kai and Tedrake, Russ},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  url = {https://arxiv.org/abs/1711.07356}
}""",
    "crown": """@inproceedings{zhang2018crown,
  title = {Efficient Neural Network Robustness Certification with General Activation Functions},
  author = {Zhang, Huan and Weng, Tsui-Wei and Chen, Pin-Yu and Hsieh, Cho-Jui and Daniel, Luca},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
  url = {https://arxiv.org/abs/1811.00866}
}""",
    "average": """@inproceedings{athalye2018eot,
  title = {Synthesizing Robust Adversarial Examples},
  author = {Athalye, Anish and Engstrom, Logan and Ilyas, Andrew and Kwok, Kevin},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
  url = {https://arxiv.org/abs/1707.07397}
}""",
}
"""By estimator, or by the setting that a study names."""
NOTE = """@misc{goodfellow2018masking,
  title = {Gradient Masking Causes {CLEVER} to Overestimate Adversarial Perturbation Size},
  author = {Goodfellow, Ian},
  year = {2018},
  url = {https://arxiv.org/abs/1804.07870}
}"""
_NORMS = {"l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}
WIDE = 9
"""Columns beyond which a printed page sets each row as a block."""


def text(
    reader: RunReader, form: str, *, at: Sequence[str] = (), note: Callable[[str], None] = lambda _: None
) -> str | Iterator[str]:
    """As json, csv, md, html, tex, bib or methods. at: the radii of a set's shares; note: told beside."""
    if form == "json":
        return written(reader.streamed())
    if form == "csv":
        file = io.StringIO()
        write_csv(reader.estimates(), file)
        return file.getvalue()
    if form in ("bib", "methods"):
        info = reader.info()
        return bibtex(info) if form == "bib" else methods(info, reader.series())
    # imported where it is asked for: a table needs no page
    if form in ("md", "tex"):
        from falsefloor.report.accuracy import sets_so_far, tabular
        from falsefloor.report.radii import chosen_radii

        sets = sets_so_far(reader)
        radii, said = chosen_radii(at, sets, reader.models())
        for line in said:
            note(line)
        shares = tabular(sets, radii)
        if form == "md":
            return f"{markdown(reader)}\n{shares.markdown()}"
        return f"{latex(read_comparison(reader))}\n{shares.latex()}"
    from falsefloor.report.page import page

    return page(reader)


def write_csv(records: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """One line an estimate and input, with the parameters as one cell `key=value;…`. Numbers stay numbers."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow([*COLUMNS, "params"])
    for record in records:
        rows.writerow([safe(value) for value in _line(record)])


def safe(value: object) -> object:
    """A cell that no spreadsheet computes: text that begins like a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return "" if value is None else value
    shown = clean(value)
    return f"'{shown}" if shown.lstrip()[:1] in ("=", "+", "-", "@") and shown else shown


def _line(record: Mapping[str, Any]) -> list[object]:
    low, high = record["interval"] or (None, None)
    special = {
        "low": low,
        "high": high,
        "warnings": " ".join(w["code"] for w in record["warnings"]),
        **record["queries"],
        "plugin": f"{record['plugin'].get('dist', '')} {record['plugin'].get('version', '')}".strip(),
    }
    cells = [special[name] if name in special else record.get(name) for name in COLUMNS]
    return [*cells, ";".join(f"{key}={value}" for key, value in record["params"].items())]


def markdown(reader: RunReader) -> str:
    """A run for an issue, a pull request or an appendix: head, table, refutations, command."""
    info, comparison, escaped = reader.info(), read_comparison(reader), markup.markdown
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
    found, kinds = read_refutations(reader), read_kinds(reader)
    for one in found:
        again = f"  \n  `{command}`" if (command := one.replay(info.id)) else ""
        lines.append(f"- **{escaped(' · '.join(one.series.place[:4]))}** {escaped(sentence(one))}{again}")
    if kinds:
        heads = ("warning", "severity", "estimates", "for example")
        rows = ((f"{k.code} {k.name}".strip(), k.severity, f"{k.count:,}", k.message) for k in kinds)
        lines += [""] * bool(found) + markup.markdown_table(heads, rows)
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    lines += [""] * bool(found or kinds)
    return "\n".join(
        [*lines, escaped(versions), "", f"    {clean(study_from(info.study).command_line())}", ""]
    )


def table(comparison: Comparison) -> list[str]:
    """The comparison as a pipe table."""
    ratios = [f"{UNICODE.times} none"] * comparison.ratios
    rows = (
        (
            *(*row.subject[:3], *row.numbers(UNICODE)),
            *[UNICODE.ratio(row.ratio)] * comparison.ratios,
            *(row.same_class, row.words, row.why(UNICODE)),
        )
        for row in comparison.rows
    )
    heads = ("model", "masker", "norm", *comparison.columns, *ratios, "same class", "verdict", "why")
    return markup.markdown_table(heads, rows)


def latex(comparison: Comparison) -> str:
    """The comparison as a table for a paper."""

    def line(at: Place, numbers: Sequence[str], verdict: str) -> list[str]:
        named = [at.model] * (len(comparison.models) > 1) + [at.masker]
        named[1:1] = [at.norm] * (len(comparison.norms) > 1)
        return [*named, *numbers, verdict]

    heads = line(Place("model", "masker", "norm"), comparison.columns, "verdict")
    rows = (
        line(row.subject, row.numbers(UNICODE), f"{row.words.lower()} {row.reason.split(' ')[0]}".strip())
        for row in comparison.rows
    )
    many = len(comparison.columns)
    kinds = f"{'l' * (len(heads) - many - 1)}{'r' * many}l"
    return "\n".join([*markup.latex_table(kinds, heads, rows), ""])


def table_html(comparison: Comparison) -> str:
    """The comparison as an HTML fragment: in a notebook, and at the head of a page.

    The verdict stands before the numbers, which a narrow window may cut off; every cell carries its heading,
    for pages that set a row as a block.
    """
    agreement = any(row.agreement for row in comparison.rows)
    heads = ["model", "masker", "norm", "verdict", *comparison.columns]
    heads += [f"{UNICODE.times} none"] * comparison.ratios
    heads += ["same class"] * agreement
    lines = [f"<p><strong>{markup.html(one)}</strong></p>" for one in comparison.said]
    wide = " wide" if len(heads) > WIDE else ""
    lines += [f'<table class="falsefloor{wide}" style="border-collapse:collapse">', "<thead><tr>"]
    lines += [*map(markup.head_html, heads), "</tr></thead><tbody>"]
    for row in comparison.rows:
        cells = _cells(comparison, row) + [row.same_class] * agreement
        lines.append("<tr>")
        lines += [
            f'<td data-head="{markup.html(head)}" style="padding:2px 10px">{inner}</td>'
            for (inner, head) in zip(cells, heads, strict=True)
        ]
        lines.append("</tr>")
    signs = f" {UNICODE.dot} ".join(legend(comparison, UNICODE))
    return "\n".join([*lines, "</tbody></table>", f"<p><small>{markup.html(signs)}</small></p>"])


def _cells(comparison: Comparison, row: Row) -> list[str]:
    why = f"<br><small>{markup.html(said)}</small>" if (said := row.why(UNICODE)) else ""
    made = [*map(markup.html, row.subject[:3]), markup.verdict_html(row.verdict, row.words) + why]
    return [*made, *map(_number, row.entries), *[UNICODE.ratio(row.ratio)] * comparison.ratios]


def _number(entry: Entry | None) -> str:
    """A number with its verdict in a word below it: a colour alone says nothing in print."""
    if entry is None:
        return ""
    said = entry.said(UNICODE)
    colour, shown = markup.COLOURS.get(said.tone), markup.html(said.text + said.mark)
    shown = f'<span style="color:{colour}">{shown}</span>' if colour else shown
    word = "" if entry.word in ("", said.text) else f"<br><small>{markup.html(entry.word)}</small>"
    return shown + word


def methods(info: RunInfo, series: Sequence[SeriesRow]) -> str:
    """One paragraph: what was estimated, with what, and what a verdict means."""
    asked = [one for one in series if one.recovers is None]
    names = dict.fromkeys(
        f"{clean(one.estimator)} ({', '.join(f'{clean(k)} {clean(str(v))}' for k, v in one.params.items())})"
        for one in asked
    )
    norms = " and ".join(_NORMS.get(norm, norm) for norm in dict.fromkeys(one.norm for one in asked))
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    return (
        f"Robustness was estimated in {norms} with {versions} (seed {info.seed}, {clean(info.device)}) by"
        f" {'; '.join(names)}. Each number was checked against what the function shows: an estimate is called"
        " refuted where a stored point of another class lies nearer than it claims, suspect where statistical"
        " evidence speaks against it, vacuous where it is far below the nearest point known, unchecked where"
        " nothing could contradict it, and held where no failure was found; held is no proof. Witnesses were"
        " evaluated again, alone and in their batch, before they counted."
    )


def bibtex(info: RunInfo) -> str:
    """The entries of this software and of the papers whose estimators were used."""
    year = time.gmtime(info.started).tm_year
    used = [entry for name, entry in PAPERS.items() if name in str(info.study)]
    version = info.versions.get("falsefloor", "")
    own = (
        "@software{falsefloor,\n  title = {falsefloor: robustness estimates that say whether they stand},\n"
        f"  author = {{{{The falsefloor maintainers}}}},\n  version = {{{version}}},\n  year = {{{year}}}\n}}"
    )
    return "\n\n".join([own, NOTE, *used])
