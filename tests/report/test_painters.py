"""Pictures painted as SVG by hand and through matplotlib: what the values say, the same bytes every time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_run import sample

from falsefloor.errors import UsageError
from falsefloor.report import scale
from falsefloor.report.figure import MARKERS, Curve, Figure, Level
from falsefloor.report.paint_plot import LOOK, save, sheet, write_figures
from falsefloor.report.paint_svg import svg
from falsefloor.store.reader import RunReader

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=12)
STAIRS = Figure(
    "spectrum",
    scale.logarithmic("h", [1e-3, 1e-2, 1e-1]),
    scale.logarithmic("slope", [0.0, 90.0, 91.0]),
    (Curve("the function", [1e-3, 1e-2, 1e-1], [0.0, 90.0, 91.0], "function", "circle"),),
    (Level("autograd: 0", 0.0, "gradient"),),
    ("a note",),
)


def test_a_zero_and_a_level_of_zero_stand_in_the_same_row_below_the_break() -> None:
    drawn = svg(STAIRS)
    (first, *_), *_ = re.findall(r'points="([\d.]+,[\d.]+)', drawn), None
    across = re.search(r'M[\d.]+,([\d.]+)L[\d.]+,([\d.]+)" stroke="#b00020"', drawn)
    assert across is not None and first.split(",")[1] == across[1] == across[2]
    assert drawn.count("<rect") == 1 and ">0</text>" in drawn


def test_every_curve_and_level_is_named_and_told_apart_without_colour() -> None:
    keys = tuple(Curve(marker, (), (), "held", marker, line=False) for marker in MARKERS)
    drawn = svg(Figure("a", STAIRS.x, STAIRS.y, keys))
    paths = re.findall(r'<path d="(M[^"]+)" fill', drawn.split("translate")[1])
    assert len({re.sub(r"[\d.,-]+", "", path) for path in paths}) >= len(MARKERS) - 1
    assert all(f">{marker}</text>" in drawn for marker in MARKERS)
    assert ">the function</text>" in svg(STAIRS) and ">autograd: 0</text>" in svg(STAIRS)
    assert 'stroke-dasharray="6 3"' in svg(STAIRS)


def test_a_line_breaks_where_a_value_has_no_place() -> None:
    y = [1.0, 2.0, float("nan"), 3.0, 4.0]
    curve = Curve("c", range(5), y, "function")
    drawn = svg(Figure("a", scale.linear("x", range(5)), scale.linear("y", y), (curve,)))
    assert drawn.count("<polyline") == 2


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.floats(allow_nan=True, allow_infinity=True), st.booleans())
def test_an_svg_stands_whatever_the_curve_holds(
    x: list[float], y: list[float], level: float, upright: bool
) -> None:
    both = min(len(x), len(y))
    curve = Curve('a "b" <c> \x1b', x[:both], y[:both], "function", "cross")
    measures = (scale.linear, scale.logarithmic)
    for figure in (
        Figure("<t>", across("x", x), up("y", y), (curve,), (Level("&", level, "bound", upright=upright),))
        for across in measures
        for up in measures
    ):
        drawn = svg(figure)
        assert ElementTree.fromstring(drawn).tag == "svg"
        assert "nan" not in drawn and "inf" not in drawn and "\x1b" not in drawn


def test_a_run_is_one_comparison_and_a_figure_for_every_curve_worth_it(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path, inputs=1)) as reader:
        written = write_figures(reader, tmp_path / "figures", kind="svg")
    # three of the run; of nine: an attack without curves is drawn with the scales that a sibling looked at
    assert written[0].name == "comparison.svg" and len(set(written)) == 3 + 9
    assert all(set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.=_-") for path in written)
    comparison = written[0].read_text(encoding="utf-8")
    assert ElementTree.fromstring(comparison).tag.endswith("svg")
    for word in ("staircase:c=255", "attack", "refuted", "radius"):
        assert word in comparison


def test_both_painters_draw_the_same_words(tmp_path: Path) -> None:
    from matplotlib import rc_context

    for name in ("one", "two"):
        with rc_context(LOOK):
            save(sheet([STAIRS], title="<a>"), tmp_path / f"{name}.svg", kind="svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
    words = set(re.findall(r">([^<>]+)</text>", svg(STAIRS)))
    assert words and all(f">{word}</text>" in text for word in (*words, "a note", "&lt;a&gt;"))


def test_a_png_is_a_picture(tmp_path: Path) -> None:
    save(sheet([STAIRS]), tmp_path / "a.png", kind="png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_and_a_missing_library_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with RunReader(sample(tmp_path, inputs=1)) as reader:
        with pytest.raises(UsageError, match="cannot write figures to"):
            write_figures(reader, tmp_path / "file", kind="svg")
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(UsageError, match=r"falsefloor\[report\]"):
            write_figures(reader, tmp_path / "figures", kind="svg")
