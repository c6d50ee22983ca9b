"""One recorded run, and every surface says the same of it: verdict, why, numbers, ratio, counts, failures."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from rich.console import Console
from stored_run import stored
from textual.widgets import Static

from falsefloor.cli.follow import follow
from falsefloor.report import paint_plot
from falsefloor.report.cells import Brief, brief, grouped, summary
from falsefloor.report.changes import ChangesTable, compare_runs
from falsefloor.report.comparison import Comparison, compare, read_comparison
from falsefloor.report.detail import Detail, read_detail, worst_details
from falsefloor.report.figure import Figure, spectrum
from falsefloor.report.forms import markdown, table, table_html, write_csv
from falsefloor.report.markup import markdown as escaped
from falsefloor.report.page import page
from falsefloor.report.paint_svg import svg
from falsefloor.report.refutations import read_refutations
from falsefloor.report.results import Results
from falsefloor.report.summary import Summary
from falsefloor.report.table import ComparisonTable
from falsefloor.report.text import ASCII, UNICODE
from falsefloor.store.cells import WRONG
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.app import Workbench
from falsefloor.tui.screens.detail import DetailPage
from falsefloor.tui.snapshot import RunWatch
from falsefloor.tui.widgets.plots import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

COLUMNS = ("clever", "clever:radius=0.3", "finite-difference", "milp:time_limit=20", "moody", "attack",
           "clever (recovered)", "clever:radius=0.3 (recovered)")  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """A row as it must be printed, by hand from the recorded estimates."""

    masker: str
    numbers: tuple[str, ...]
    ratio: str
    words: str
    why: str


ROWS = (
    Expected(
        "none",
        ("≳0.0925", "≳0.0888", "≳0.0924", "⊢0.0986", "≳0.0200?!", "≤0.0986", "", ""),
        "",
        "2/3 suspect",
        "3/4 correct · guestbook:ROUND exactly 0.02 | is *odd* <b>",
    ),
    Expected(
        "staircase:c=255",
        ("≥1.0000✗", "≥0.3000✗", "≳0.0924", "⊢0.0980", "≳0.0200?!", "≤0.0980", "≳0.0925", "≳0.0888"),
        "×10.8",
        "REFUTED",
        "3/4 correct · FF201 floor above ceiling",
    ),
    Expected(
        "ramp:c=255,delta=0.2",
        ("≳0.0406?", "≳0.0325?", "≳0.0924", "skipped", "≳0.0200?!", "≤0.0983", "≳0.0926", "≳0.0889"),
        "×0.37",
        "suspect",
        "3/4 correct · FF102 scales disagree",
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return stored(tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def utf8_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def printed(found: Comparison) -> tuple[Expected, ...]:
    return tuple(
        Expected(
            row.subject.masker,
            tuple("" if e is None else "".join(e.said(UNICODE)[:2]) for e in row.entries),
            UNICODE.ratio(row.ratio),
            row.words,
            row.why(UNICODE),
        )
        for row in found.rows
    )


def test_the_values_that_surfaces_paint_are_these(run: RunDir) -> None:
    with RunReader(run) as reader:
        found = read_comparison(reader)
    assert found.columns == COLUMNS and printed(found) == ROWS


def of_document(document: dict[str, Any]) -> Comparison:
    """What a script can make of the JSON alone."""
    groups = grouped(document["estimates"], "model", "masker", "norm", "name")
    same = ("stack", "estimator", "params", "gradient", "recovers", "claim", "plugin", "asked")
    series = [
        SeriesRow(n, model=m, masker=k, norm=norm, label=label, **{key: some[0][key] for key in same})
        for n, ((m, k, norm, label), some) in enumerate(groups.items())
    ]
    cells = {n: summary(n, [brief(one) for one in some]) for n, some in enumerate(groups.values())}
    return compare(series, cells, ended=True)


def test_the_json_document_says_the_same(run: RunDir) -> None:
    with RunReader(run) as reader:
        document = json.loads(json.dumps(reader.document()))
        found = read_comparison(reader)
    read = of_document(document)
    assert printed(read) == printed(found)
    for one in (read, found):
        asked = {e.series.label: e.series.asked for row in one.rows for e in row.entries if e is not None}
        assert [label for label, yes in asked.items() if not yes] == ["attack"]


def drawn(renderable: object, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def in_order(parts: tuple[str, ...], line: str) -> bool:
    """Whether the parts are words of the line, one after the other."""
    words, at = line.split(), 0
    for part in parts:
        wanted = part.split()
        while at < len(words) and words[at : at + len(wanted)] != wanted:
            at += 1
        if at >= len(words):
            return False
        at += len(wanted)
    return True


def table_says_all(shown: str) -> None:
    lines = shown.splitlines()
    for row in ROWS:
        line = next(line for line in lines if line.startswith(row.masker))
        said = filter(None, (*row.numbers, row.ratio, row.words, row.why))
        assert in_order(tuple(said), line), line


def test_show_prints_them(run: RunDir) -> None:
    with RunReader(run) as reader:
        shown = drawn(Summary(reader.info(), read_comparison(reader), tuple(read_refutations(reader))), 240)
    table_says_all(shown)
    assert "6 refuted" in shown and "3 failed" in shown and "3 skipped" in shown


@pytest.mark.parametrize("width", [40, 66, 80, 120])
def test_show_prints_every_number_verdict_and_count_at_every_width(run: RunDir, width: int) -> None:
    with RunReader(run) as reader:
        shown = drawn(Summary(reader.info(), read_comparison(reader)), width)
    for row in ROWS:
        for word in (*row.numbers, row.ratio, *row.words.split(), "3/4 correct"):
            assert word in " ".join(shown.split()), word


def test_a_followed_run_tells_each_cell_with_the_same_words(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(run, owner=False)
    told = capsys.readouterr().err
    for row in ROWS:
        for column, number in zip(COLUMNS, row.numbers, strict=True):
            if number:
                lines = [line for line in told.splitlines() if f"{row.masker} linf {column}  " in line]
                assert len(lines) == 1 and f"  {number}  " in lines[0]
    assert "moody  ≳0.0200?!  2/3 suspect: 3/4 correct · guestbook:ROUND exactly 0.02" in told
    assert "milp:time_limit=20  skipped  skipped: 3/4 correct · not applicable because" in told


async def test_the_app_shows_them(run: RunDir) -> None:
    app = Workbench(run.path.parent, run)
    async with app.run_test(size=(260, 40)) as pilot:
        for _ in range(400):
            await pilot.pause(0.02)
            strips = app.screen._compositor.render_strips()
            screen = ["".join(segment.text for segment in strip) for strip in strips]
            if any("3/4 correct" in line for line in screen):
                break
        await app.workers.wait_for_complete()
    assert "6 refuted, 3 failed" in screen[0]
    for row in ROWS:
        line = next(line for line in screen if f" {row.masker} " in line)
        raw, repaired = row.numbers[:6], row.numbers[6:]
        begun = " ".join(row.why.split()[:5])  # the app cuts a long reason and tells it whole below
        said = filter(None, (*raw, row.ratio, *repaired, row.words, begun))
        assert in_order(tuple(said), line), line


async def test_the_app_shows_single_inputs_with_the_same_rule(run: RunDir) -> None:
    with RunReader(run) as reader:
        briefs = {(e["series"], e["input"]): brief(e) for e in reader.estimates(input=2)}
        found = compare(reader.series(), {}, briefs=briefs)
    watch = RunWatch(run)
    snapshot = watch.take(per_input=True)
    watch.close()
    assert snapshot is not None
    rows = [row for row in snapshot.comparison.rows if row.subject.input == 2]
    assert printed(Comparison(snapshot.comparison.columns, tuple(rows))) == printed(found)
    assert [row.words for row in rows] == ["failed", "REFUTED", "suspect"]
    assert "class 3 is | not <b>served</b>" in rows[0].reason


def test_evaluates_table_prints_them(run: RunDir) -> None:
    results = Results(run)
    table_says_all(drawn(results, 240))
    assert cells_of(results._repr_html_()) == expected_cells(web=True)


class Cells(HTMLParser):
    """The text of every table cell, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "br" and self.rows and self.rows[-1]:
            self.rows[-1][-1] += "\n"

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def cells_of(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    fragment = text[text.index("<table") : text.index("</table>")]
    return [[cell.strip() for cell in row] for row in Cells(fragment).rows[1:]]


def expected_cells(*, web: bool) -> list[list[str]]:
    """The page's cells, verdict first and a word below each number; or Markdown's."""
    made = []
    for row in ROWS:
        if web:
            told = [f"{row.words}\n{row.why}", *map(worded, row.numbers), row.ratio, "4/4"]
        else:
            told = [*row.numbers, row.ratio, "4/4", row.words, row.why]
        made.append(["digits:mlp", row.masker, "linf", *told])
    return made


def worded(number: str) -> str:
    if number in ("", "skipped"):
        return number
    word = "refuted" if "✗" in number else "suspect" if "?" in number else "held"
    return f"{number}\n{word}"


def test_the_page_prints_them_and_escapes_what_others_wrote(run: RunDir) -> None:
    with RunReader(run) as reader:
        text = page(reader)
    assert cells_of(text) == expected_cells(web=True)
    assert "<b>" not in text


def test_markdown_prints_them_and_escapes_what_others_wrote(run: RunDir) -> None:
    with RunReader(run) as reader:
        text = markdown(reader)
    lines = [line for line in text.splitlines() if line.startswith("| digits")]
    for line, cells in zip(lines, expected_cells(web=False), strict=True):
        assert line == "| " + " | ".join(map(escaped, cells)) + " |"
    assert "3 failed" in text and "6 refuted" in text


def test_the_csv_has_the_verdict_reason_and_failure_of_every_estimate(run: RunDir) -> None:
    file = io.StringIO()
    with RunReader(run) as reader:
        records = list(reader.estimates())
        write_csv(reader.estimates(), file)
    lines = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        for name in ("verdict", "reason", "status", "error"):
            assert line[name] == (record[name] or "")
        assert line["radius"] == ("" if record["radius"] is None else str(record["radius"]))
    assert sum(line["status"] == "failed" for line in lines) == 3


def test_in_ascii_the_three_kinds_of_floor_still_have_three_marks(run: RunDir) -> None:
    with RunReader(run) as reader:
        (_, staircase, _) = read_comparison(reader).rows
    shown = ["".join(e.said(ASCII)[:2]) for e in staircase.entries if e is not None]
    assert shown[:6] == [">=1.0000x", ">=0.3000x", ">~0.0924", "|-0.0980", ">~0.0200?!", "<=0.0980"]


def test_no_surface_prints_what_it_would_not_say(run: RunDir, tmp_path: Path) -> None:
    """A run of one misclassified input, and one without any estimate yet."""
    for where, words in (("input != 0", "0/1 correct"), ("1", "")):
        bare = stored(tmp_path / words.replace("/", "-").replace(" ", "") / "store")
        only(bare, where)
        with RunReader(bare) as reader:
            found = read_comparison(reader)
            shown = drawn(Summary(reader.info(), found), 240)
            texts = (shown, markdown(reader), page(reader), drawn(Results(bare), 240))
        assert {row.correct_words for row in found.rows} == {words}
        assert not any(row.verdict == "held" for row in found.rows)
        for text in texts:
            assert words in text and "≳0." not in text


def only(run: RunDir, dropped: str) -> None:
    """Forget estimates, as a run that has less: by hand, since no run is so on purpose."""
    with closing(sqlite3.connect(run.db)) as db:
        db.execute(f"DELETE FROM finding WHERE estimate IN (SELECT id FROM estimate WHERE {dropped})")
        db.execute(f"DELETE FROM estimate WHERE {dropped}")
        db.execute("DELETE FROM tally")
        db.execute(
            "INSERT INTO tally SELECT series, coalesce(verdict, status), count(*) FROM estimate GROUP BY 1, 2"
        )
        db.execute(
            "INSERT INTO tally SELECT series, ?, sum(label != predicted) FROM estimate WHERE status = 'ok'"
            " GROUP BY series",
            (WRONG,),
        )
        db.commit()


LEVELS = {
    "none": "autograd: 125",
    "staircase:c=255": "autograd: 0",
    "ramp:c=255,delta=0.2": "autograd: 101.7",
}
"""Beside the scale spectrum of input 1: what autograd says there of the function itself."""


def drawn_for(run: RunDir, masker: str) -> Figure:
    with RunReader(run) as reader:
        one = next(s for s in reader.series() if (s.masker, s.label) == (masker, "finite-difference"))
        found = spectrum(read_detail(reader, one.id, 1))
    assert found is not None
    return found


@pytest.mark.parametrize("masker", LEVELS)
def test_every_picture_of_a_spectrum_draws_autograd_where_it_is(run: RunDir, masker: str) -> None:
    figure = drawn_for(run, masker)
    assert [level.name for level in figure.levels] == [LEVELS[masker]]
    assert LEVELS[masker] in svg(figure)
    with RunReader(run) as reader:
        assert svg(figure) in page(reader)


@pytest.mark.parametrize("masker", LEVELS)
async def test_the_app_draws_the_same_figure_and_autograd_where_it_is(run: RunDir, masker: str) -> None:
    figure = drawn_for(run, masker)
    with RunReader(run) as reader:
        one = next(s for s in reader.series() if (s.masker, s.label) == (masker, "finite-difference"))
    app = Workbench(run.path.parent, run)
    async with app.run_test(size=(260, 60)) as pilot:
        app.push_screen(DetailPage(run, one, 1))
        for _ in range(400):
            await pilot.pause(0.02)
            found = app.screen.query("#spectrum Plot")
            if found and found.first(Plot).figure is not None:
                break
        plot = found.first(Plot)
        assert plot.figure == figure
        canvas = [line for line in str(plot.plt.build()).splitlines() if any(edge in line for edge in "│┤")]
        legend = str(app.screen.query_one("#spectrum .title", Static).render())
    heights = [n for n, line in enumerate(canvas) if "==" in line]
    assert LEVELS[masker] in legend
    assert heights == [pytest.approx((1 - level_height(run, masker)) * (len(canvas) - 1), abs=1)]


def test_the_files_draw_the_same_levels(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    sheets: dict[Path, Sheet] = {}
    saved = paint_plot.save

    def noted(made: Sheet, path: Path, *, kind: Literal["svg", "png"], trim: bool) -> None:
        sheets[path] = made
        saved(made, path, kind=kind, trim=trim)

    monkeypatch.setattr(paint_plot, "save", noted)

    def of_one(asked: RunReader) -> list[Detail]:
        own = ("clever", "finite-difference")
        return [
            one
            for one in worst_details(asked)
            if one.record["input"] == 1 and (one.record["masker"] == "none" or one.record["estimator"] in own)
        ]

    monkeypatch.setattr(paint_plot, "worst_details", of_one)
    with RunReader(run) as reader:
        written = paint_plot.write_figures(reader, tmp_path, kind="svg")
        # what a sheet shows is settled before it has a form: of PNG, the run's own and one estimate's do
        monkeypatch.setattr(paint_plot, "worst_details", lambda asked: of_one(asked)[:1])
        written += paint_plot.write_figures(reader, tmp_path, kind="png")
    assert written == list(sheets) and all(path.stat().st_size > 1000 for path in written)
    for masker, level in LEVELS.items():
        named = f"_{masker.replace(':', '-').replace(',', '-')}_linf_"
        told = [levels_on(sheets[p]) for p in written if named in p.name and p.stem.endswith("_1")]
        assert any(told) and all(found in ({}, {level: level_height(run, masker)}) for found in told)


def levels_on(made: Sheet) -> dict[str, float]:
    """The words of autograd's levels in the legends of a sheet, and the height of the line beside them."""
    found: dict[str, float] = {}
    for axes in made.axes:
        legend = axes.get_legend()
        if legend is None:
            continue
        for key, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
            if text.get_text().startswith("autograd"):
                alike = [line for line in axes.get_lines() if line.get_color() == key.get_color()]
                (height,) = {float(y) for line in alike for y in line.get_ydata()}
                found[text.get_text()] = height
    return found


def level_height(run: RunDir, masker: str) -> float:
    figure = drawn_for(run, masker)
    (level,) = figure.levels
    at = figure.y.at(level.value)
    assert at is not None
    return at


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_any_number_of_rows_is_printed_row_by_row(count: int) -> None:
    series = [strange(number) for number in range(count)]
    briefs = [Brief("ok", "suspect", "FF102 scales disagree", 0.1, False, True)]
    found = compare(series, {number: summary(number, briefs) for number in range(count)})
    shown = drawn(ComparisonTable(found), 120).splitlines()
    assert sum("suspect" in line and line.startswith("m0") for line in shown) == count
    assert len(cells_of(table_html(found))) == count
    assert sum("FF102" in line for line in table(found)) == count


RECORDS: list[dict[str, Any]] = [
    {},
    {"status": "ok", "verdict": "held", "radius": "nan"},
    {"status": "ok", "verdict": "held", "radius": "inf"},
    {"status": "ok", "verdict": "doubtful", "radius": 1e-300, "reason": "XX999 \x1b[31m<b>|"},
    {"status": "ok", "verdict": None, "radius": 1e300, "predicted": None, "label": 3},
    {"status": "melted", "error": None},
    {"status": "failed", "error": "no\nway", "radius": 3.0},
]


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("claim", ["lower_estimate", "lower_bound", "upper_bound", "guess"])
def test_strange_records_are_the_same_words_on_every_surface(record: dict[str, Any], claim: str) -> None:
    found = compare([strange(0, claim=claim)], {0: summary(0, [brief(record)])})
    (row,) = found.rows
    (entry,) = row.entries
    assert entry is not None
    number = "".join(entry.said(UNICODE)[:2])
    terminal, html = drawn(ComparisonTable(found), 240), cells_of(table_html(found))[0]
    cells = table(found)[2]
    for word in (number, row.words):
        assert word in terminal and word in " ".join(html) and escaped(word) in cells
    assert row.why(UNICODE) in html[3] and escaped(row.why(UNICODE)) in cells
    assert "\x1b" not in terminal + cells + "".join(html)


def strange(number: int, *, claim: str = "lower_estimate") -> SeriesRow:
    stack: list[dict[str, Any]] = [{"use": "staircase"}]
    name = f"m{number:05}"
    return SeriesRow(number, "model", name, stack, "linf", "c", "c", {}, "autograd", None, claim, {})


def test_two_runs_side_by_side_have_the_same_numbers_and_verdicts(run: RunDir) -> None:
    with RunReader(run) as one, RunReader(run) as other:
        shown = drawn(ChangesTable(compare_runs(one, other), "a", "b"), 160)
    assert "0 of " in shown and "other verdict" not in shown
    for number in ("≥1.0000", "⊢0.0980", "≤0.0986", "≳0.0925"):
        assert any(line.split().count(number) == 2 for line in shown.splitlines()), number


def test_nothing_moves_in_a_run_whose_worker_is_gone(run: RunDir, tmp_path: Path) -> None:
    lost = stored(tmp_path)
    only(lost, "1")
    with closing(sqlite3.connect(lost.db)) as db:
        db.execute("INSERT INTO progress SELECT id, 41, 100, '[0.02]', 0 FROM unit WHERE series IS NOT NULL")
        db.execute("UPDATE meta SET value = '\"running\"' WHERE key = 'status'")
        db.commit()
    with RunReader(lost) as reader:
        assert reader.info().status == "lost"
        shown = [
            e.said(UNICODE) for row in read_comparison(reader).rows for e in row.entries if e is not None
        ]
    assert not any("41%" in said.text for said in shown)
