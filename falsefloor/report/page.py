"""A run as one self-contained HTML page: no script, nothing fetched, readable in print.

What it says is gathered here as values; the template lays them out and escapes every word.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from falsefloor.jsonable import as_number
from falsefloor.observed import Observed
from falsefloor.report.accuracy import input_sets, tabular
from falsefloor.report.cells import brief
from falsefloor.report.comparison import read_comparison
from falsefloor.report.detail import Detail, first_records, worst_details
from falsefloor.report.figure import FIGURES, Figure, own
from falsefloor.report.forms import bibtex, methods, table_html
from falsefloor.report.markup import COLOURS
from falsefloor.report.paint_svg import svg
from falsefloor.report.pictures import picture, png_url
from falsefloor.report.radii import comparison, curves, round_radii
from falsefloor.report.refutations import read_kinds, read_refutations, sentence, suspicions
from falsefloor.report.scale import short
from falsefloor.report.standing import by_input, sentences, share, standing
from falsefloor.report.standing import picture as picture_of
from falsefloor.report.text import UNICODE, clean, fact, number, tallied, verdict_word
from falsefloor.report.text import share as share_done
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.store.standing import RunInfo
from falsefloor.study.file import study_from

if TYPE_CHECKING:
    from jinja2 import Template

ROWS = 5000
"""Estimates listed one by one, and points in the comparison; all are in the CSV and JSON forms."""
LARGEST_DRAWN = 1_500_000
"""Letters that all pictures may add to the page."""
LARGEST = 512
"""Pixels a side: a larger input is no picture for a page."""


def page(reader: RunReader) -> str:
    """The whole page of a run."""
    info, listed = reader.info(), first_records(reader, most=ROWS)
    records = list(chain.from_iterable(listed.values()))
    more = sum(info.counts.values()) - len(records)
    # of a set that is not listed whole the rest is left out, not unknown
    sets = input_sets(records, None if more else reader.models())
    return _template().render(
        info=info,
        began=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(info.started)),
        counts=tallied(info.counts),
        done=share_done(info.units()),
        colours=COLOURS,
        worded=verdict_word,
        table=_markup(table_html(read_comparison(reader))),
        figures=[
            _shown(one)
            for one in (comparison(records, more=more), picture_of(by_input(records)), curves(sets))
        ],
        accuracy=_markup(tabular(sets, round_radii(sets)).html()),
        units=list(_units(reader)),
        refuted=[(one, sentence(one), suspicions(one)) for one in read_refutations(reader)],
        kinds=read_kinds(reader),
        drawn=list(_drawn(reader)),
        series=[_listed(reader, one, listed[one.id]) for one in reader.series()],
        more=more,
        origins=list(_origins(reader, info)),
        command=shlex.join(study_from(info.study).command()),
        methods=methods(info, reader.series()),
        bibtex=bibtex(info),
    )


@cache
def _template() -> Template:
    # imported where a page is asked for: most commands never make one
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def harmless(value: object) -> object:
        """Other people's words cannot turn the writing around; what is markup was made by our painters."""
        return value if isinstance(value, Markup) else clean(str(value))

    made = Environment(
        loader=PackageLoader("falsefloor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return made.get_template("page.html.j2")


def _markup(painted: str) -> Any:
    """What a painter of ours made, with every word in it escaped."""
    from markupsafe import Markup

    return Markup(painted)  # noqa: S704


def _shown(figure: Figure) -> dict[str, Any]:
    return {"svg": _markup(svg(figure)), "title": figure.title, "notes": figure.notes}


def _units(reader: RunReader) -> Iterator[dict[str, Any]]:
    """What one unit of a radius is, for each model; a grey level only where an input was seen to have one."""
    for name, facts in reader.models().items():
        ends = [as_number(end) for end in facts.get("bounds") or (0.0, 1.0)]
        domain = " to ".join(short(end) for end in ends if end is not None)
        units = facts.get("units") or "the input's own units"
        yield {"model": name, "units": units, "domain": domain, "grey": _grey_level(reader, name)}


def _grey_level(reader: RunReader, model: str) -> str | None:
    """An input that is outside the domain says nothing: a few are asked."""
    for at in range(8):
        for seen in reader.observations(model=model, input=at):
            if (grey := Observed.read(seen["facts"]).grey_level) is not None:
                return number(grey)
    return None


def _drawn(reader: RunReader) -> Iterator[dict[str, Any]]:
    """The pictures of the worst estimates, until there are enough or they are too large.

    again: another input of an estimate that was shown before, which paper leaves out.
    """
    size, shown = 0, set[tuple[str, ...]]()
    for detail in worst_details(reader):
        record = detail.record
        known = standing(detail.siblings, of=record, name=f"input {record['input']}")
        drawn = [figure for make in FIGURES.values() if (figure := make(detail)) is not None]
        figures = [_shown(figure) for figure in (*drawn, *own(detail), picture_of([known]))]
        images = list(_images(detail))
        size += sum(len(one["svg"]) for one in figures) + sum(len(url) for url, _ in images)
        if size > LARGEST_DRAWN:
            return
        if figures or images:
            place = tuple(str(record[key]) for key in ("model", "masker", "norm", "name"))
            again = place in shown
            shown.add(place)
            yield {
                **{key: record[key] for key in ("model", "masker", "norm", "name", "input", "warnings")},
                "again": again,
                "verdict": brief(record).word,
                "radius": _radius(record),
                "figures": figures,
                "images": images,
                "stands": list(sentences(record, known)),
                "evidence": list(_evidence(record["evidence"])),
            }


def _images(detail: Detail) -> Iterator[tuple[str, str]]:
    """(data: URL, caption) of the input, and of what contradicts its radius."""
    low, high = detail.bounds
    distance, predicted = as_number(detail.seen.get("distance")), detail.seen.get("predicted")
    found = "adversarial"
    found += f", class {predicted}" if predicted is not None else ""
    found += f", at {number(distance)}" if distance is not None else ""
    label = detail.record["label"]
    given = "input" if label is None else f"input, class {label}"
    for values, caption in ((detail.input, given), (detail.witness, found)):
        seen = picture(values, detail.shape) if detail.witness else None
        if seen is not None and max(seen.size) <= LARGEST:
            yield png_url(seen.planes(low, high)), caption


def _evidence(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values, without those that do not apply."""
    for name, value in facts.items():
        if value is not None and value == value and value != "nan":  # NaN: does not apply here
            yield name.replace("_", " "), fact(value)


def _listed(
    reader: RunReader, one: SeriesRow, records: Iterable[Mapping[str, Any]]
) -> tuple[SeriesRow, list[str], list[dict[str, Any]]]:
    """A series, the headings that its package adds, and its rows."""
    columns = reader.shown(one.estimator).get("columns")
    named = columns if isinstance(columns, dict) else {}
    rows = [
        _row(record) | {"more": [fact(record["evidence"].get(name, "")) for name in named]}
        for record in records
    ]
    return one, [str(heading) for heading in named.values()], rows


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    ends = [as_number(end) for end in record["interval"] or ()]
    return {
        "input": record["input"],
        "label": _or_dash(record["label"]),
        "predicted": _or_dash(record["predicted"]),
        "radius": _radius(record),
        "interval": " to ".join(number(end) for end in ends if end is not None),
        "verdict": brief(record).word,
        "warnings": record["warnings"],
        "error": record["error"] or "",
        "share": "" if (drawn := share(record)) is None else drawn.words(),
        "queries": f"{record['queries']['forward'] + record['queries']['backward']:,}",
        "seconds": f"{record['seconds']:.2f}",
    }


def _radius(record: Mapping[str, Any]) -> str:
    return UNICODE.radius(record["radius"], claim=record["claim"], capped=record["capped"])


def _or_dash(value: object) -> object:
    return UNICODE.none if value is None else value


def _origins(reader: RunReader, info: RunInfo) -> Iterator[tuple[str, object]]:
    yield from info.versions.items()
    for label, plugin in {one.label: one.plugin for one in reader.series()}.items():
        yield label, f"{plugin.get('dist', '')} {plugin.get('version', '')}"
    for name, digests in reader.fingerprints().items():
        for part, digest in digests.items():
            yield f"{name}: digest of its {part}", digest
    yield "queries", f"{info.forward:,} forward, {info.backward:,} backward"
