"""A run as one self-contained HTML page: no script, nothing fetched, readable in print."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.checks.verdicts import VERDICTS
from falsefloor.jsonable import as_number
from falsefloor.report.comparison import read_comparison
from falsefloor.report.drawings import histogram, line_chart, picture, planes, values
from falsefloor.report.html import table_html, text, verdict_html
from falsefloor.report.refutations import read_refutations, sentence, suspicions
from falsefloor.report.text import UNICODE, number
from falsefloor.store.forms import RunInfo
from falsefloor.store.reader import RunReader
from falsefloor.study.file import study_from

ROWS = 5000
"""Estimates listed one by one; the others are in the CSV and JSON forms."""
DRAWN = 60
"""Estimates with pictures, the worst verdicts first: half a megabyte."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c1c1c}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:2px 10px;text-align:left;vertical-align:top;border-bottom:1px solid #e4e4e4}
td.n{text-align:right;font-variant-numeric:tabular-nums}thead{display:table-header-group}
tr,figure{break-inside:avoid}figure{display:inline-block;margin:.4rem .8rem .4rem 0}
figcaption,small{color:#555;font-size:.8rem}
img{image-rendering:pixelated;width:96px;border:1px solid #ccc}code,pre{background:#f4f4f4;padding:1px 4px}
pre{padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}details>summary{cursor:pointer}
.scroll{overflow-x:auto}
@media print{body{margin:0;max-width:none;font-size:10pt}.scroll{overflow:visible}}
"""


def page(reader: RunReader) -> str:
    """The whole page of a run."""
    return "\n".join(_page(reader))


def _page(reader: RunReader) -> Iterator[str]:
    info, comparison = reader.info(), read_comparison(reader)
    title = f"falsefloor run {info.id}"
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    # Nothing may be fetched or executed, whatever a model's name says.
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;'
    yield " style-src 'unsafe-inline'\">"
    yield f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{text(title)}{f' · {text(info.tag)}' if info.tag else ''}</h1>"
    yield f"<p>{_head(info)}</p>"
    if info.error:
        yield f"<p><strong>error:</strong> {text(info.error)}</p>"
    yield f'<div class="scroll">{table_html(comparison)}</div>'
    yield from _units(reader)
    yield from _refuted(reader)
    yield from _estimates(reader)
    yield from _provenance(reader, info)
    yield "</body></html>"


def _head(info: RunInfo) -> str:
    counts = [f"{info.counts[v]} {verdict_html(v)}" for v in (*VERDICTS, "failed") if info.counts.get(v)]
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(info.started))
    words = [text(info.status), text(began), f"{info.seconds:.0f} s", text(info.device), f"seed {info.seed}"]
    return " · ".join([*words, *counts])


def _units(reader: RunReader) -> Iterator[str]:
    for name, facts in reader.models().items():
        units = facts.get("units") or "the input's own units"
        bounds = facts.get("bounds") or [0, 1]
        domain = f"{bounds[0]:g} to {bounds[1]:g}"
        grey = ""
        if list(bounds) == [0, 1] and "pixel" in str(units):
            grey = " One level of an 8-bit image is 1/255 ≈ 0.0039."
        yield f"<p><small>{text(name)}: radii in {text(units)}, domain {text(domain)}.{grey}</small></p>"


def _refuted(reader: RunReader) -> Iterator[str]:
    found = read_refutations(reader)
    if not found:
        return
    yield "<h2>Refuted, with the point that contradicts</h2><ul>"
    for one in found:
        name = " · ".join((one.series.model, one.series.masker, one.series.norm, one.series.label))
        many = f" ({one.count} inputs; the nearest is told)" if one.count > 1 else ""
        yield f"<li><strong>{text(name)}</strong>{many}<br>{text(sentence(one))}"
        yield f"<br><small>{text(suspicions(one))}</small></li>"
    yield "</ul>"


def _estimates(reader: RunReader) -> Iterator[str]:
    yield "<h2>Every estimate</h2>"
    total, drawn = 0, 0
    for series in reader.series():
        rows: list[str] = []
        drawings: list[str] = []
        for record in reader.estimates(series=series.id):
            total += 1
            if total <= ROWS:
                rows.append(_row(record))
            worth = record["verdict"] in ("refuted", "suspect") or record["input"] == 0
            if worth and drawn < DRAWN and (made := _drawings(reader, record)):
                drawn += 1
                drawings.append(f"<h4>input {record['input']}</h4>{made}{_evidence(record)}")
        name = " · ".join((series.model, series.masker, series.norm, series.label))
        if rows:
            yield f"<details><summary>{text(name)}</summary>"
            yield '<div class="scroll"><table><thead><tr><th>input</th><th>label</th><th>predicted</th>'
            yield "<th>radius</th><th>interval of the fit</th><th>verdict</th><th>warnings</th>"
            yield "<th>queries</th><th>seconds</th></tr></thead><tbody>"
            yield from rows
            yield f"</tbody></table></div>{''.join(drawings)}</details>"
    if total > ROWS:
        yield f"<p>{total - ROWS} more estimates: <code>falsefloor export … --format csv</code></p>"


def _row(record: Mapping[str, Any]) -> str:
    radius = UNICODE.radius(record["radius"], claim=record["claim"], capped=record["capped"])
    interval = ""
    if record["interval"]:
        ends = [as_number(end) for end in record["interval"]]
        interval = " to ".join(number(end) for end in ends if end is not None)
    state = record["verdict"] if record["status"] == "ok" else record["status"]
    warnings = "<br>".join(
        f"{text(w['code'])} {text(w['message'])}" for w in record["warnings"]
    ) or text(record["error"] or "")  # fmt: skip
    queries = record["queries"]["forward"] + record["queries"]["backward"]
    return (
        f'<tr><td class="n">{record["input"]}</td><td class="n">{_or_dash(record["label"])}</td>'
        f'<td class="n">{_or_dash(record["predicted"])}</td><td class="n">{text(radius)}</td>'
        f'<td class="n">{text(interval)}</td><td>{verdict_html(state or "")}</td><td>{warnings}</td>'
        f'<td class="n">{queries:,}</td><td class="n">{record["seconds"]:.2f}</td></tr>'
    )


def _or_dash(value: object) -> str:
    return "–" if value is None else text(value)


def _drawings(reader: RunReader, record: Mapping[str, Any]) -> str:
    """The curves that were stored, and the input beside what contradicts its radius."""
    at = record["arrays"]
    curves = {name: values(reader.array(f"{at}/curve-{name}")) for name in record["curves"]}
    evidence = record["evidence"]
    made = []
    if "scales" in curves and "spectrum" in curves:
        level = as_number(evidence.get("gradient_norm_median"))
        title = "slope over step width"
        made.append(
            line_chart(title, curves["scales"], curves["spectrum"], level=level, level_name="autograd")
        )
    if "maxima" in curves:
        end = as_number(evidence.get("lipschitz"))
        made.append(histogram("maxima of the batches", curves["maxima"], mark=end, mark_name="endpoint"))
    if "score" in curves:
        steps = [float(n + 1) for n in range(len(curves["score"]))]
        made.append(line_chart("score as batches arrive", steps, curves["score"]))
    witness = next((w["witness"] for w in record["warnings"] if w["witness"]), None)
    point = witness["array"] if witness else record["witness"]
    if point:
        low, high = _bounds(reader, record["model"])
        seen = reader.array(point)
        where = as_number((witness or (dict(seen.facts) if seen else {})).get("distance"))
        caption = f"adversarial, at {number(where)}" if where is not None else "adversarial"
        made.append(picture(planes(reader.array(_original(reader, record)), low=low, high=high), "input"))
        made.append(picture(planes(seen, low=low, high=high), caption))
    return "".join(made)


def _original(reader: RunReader, record: Mapping[str, Any]) -> str:
    """The name of the stored input: it lies with the observation of the same subject."""
    seen = reader.observations(
        model=record["model"], masker=record["masker"], norm=record["norm"], input=record["input"]
    )
    for one in seen:
        return str(one["facts"].get("arrays", {}).get("input", ""))
    return ""


def _bounds(reader: RunReader, model: str) -> tuple[float, float]:
    low, high = (reader.models().get(model) or {}).get("bounds") or (0.0, 1.0)
    return float(low), float(high)


def _evidence(record: Mapping[str, Any]) -> str:
    words = [f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
             for name, value in record["evidence"].items()]  # fmt: skip
    return f"<p><small>{text(', '.join(words))}</small></p>" if words else ""


def _provenance(reader: RunReader, info: RunInfo) -> Iterator[str]:
    yield "<h2>Where this comes from</h2><table><tbody>"
    for name, version in info.versions.items():
        yield f"<tr><th>{text(name)}</th><td>{text(version)}</td></tr>"
    plugins = {s.label: f"{s.plugin.get('dist')} {s.plugin.get('version')}" for s in reader.series()}
    for label, origin in plugins.items():
        yield f"<tr><th>{text(label)}</th><td>{text(origin)}</td></tr>"
    for name, digests in reader.fingerprints().items():
        for part, digest in digests.items():
            yield f"<tr><th>{text(name)} {text(part)}</th><td><code>{text(digest)}</code></td></tr>"
    yield f"<tr><th>queries</th><td>{info.forward:,} forward, {info.backward:,} backward</td></tr>"
    yield "</tbody></table><p>The same run again:</p>"
    yield f"<pre>{text(_command(info.study))}</pre>"


def _command(study: Mapping[str, Any]) -> str:
    return shlex.join(study_from(study).command())


__all__ = ["page"]
