"""Floors against ceilings on one line: what is read, and that the unmasked one stands below."""

from __future__ import annotations

from pathlib import Path

from stored_run import stored

from falsefloor.report.comparison import read_comparison
from falsefloor.report.figure import Curve, Figure, Level, on_axes, read_off
from falsefloor.report.radii import read_strips
from falsefloor.report.scale import linear, logarithmic
from falsefloor.store.reader import RunReader


def test_every_floor_of_a_row_has_a_line_and_below_it_that_of_the_unmasked_model(tmp_path: Path) -> None:
    with RunReader(stored(tmp_path)) as reader:
        said = read_comparison(reader)
        row = next(row for row in said.rows if row.subject.masker.startswith("staircase"))
        entry = next(e for e in row.entries if e is not None and e.word == "refuted")
        found = read_strips(reader, said, row.subject._replace(label=entry.series.label), entry)
    first, second = found.strips[:2]
    assert (first.twin, second.twin) == (False, True)
    assert first.estimator == second.estimator == entry.series.label
    assert all(verdict == "refuted" for _, verdict in first.floors)
    assert min(radius for radius, _ in first.floors) > max(first.ceilings)
    assert all(found.scale.at(radius) is not None for radius, _ in first.floors)
    assert not any(verdict == "refuted" for _, verdict in second.floors)


def test_a_misclassified_input_has_no_place_on_a_line(tmp_path: Path) -> None:
    with RunReader(stored(tmp_path)) as reader:
        series = next(one for one in reader.series() if one.estimator == "clever")
        cell = reader.cells()[series.id]
        assert len(reader.radii(series.id, most=100)) == cell.correct < cell.judged


FIGURE = Figure(
    "t",
    linear("x", [1.0, 2.0, 3.0]),
    linear("slope", [0.0, 10.0]),
    (Curve("a", [1.0, 2.0, 3.0], [0.0, 1.0, 10.0], "function"), Curve("b", [1.1, 2.9], [5.0, 6.0], "fit")),
    (Level("autograd: 0", 0.0, "gradient"), Level("end", 2.0, "fit", upright=True)),
)


def test_a_point_is_read_off_every_curve_and_level() -> None:
    assert read_off(FIGURE, 2) == "x 3.0000: a 10; b 6.0000; autograd: 0"


def test_a_side_becomes_a_logarithm_and_keeps_its_zeros() -> None:
    turned = on_axes(FIGURE, y=True)
    assert turned.y.log and turned.y.zeros and not turned.x.log
    assert on_axes(turned, y=False).y == linear("slope", [0.0, 1.0, 10.0, 5.0, 6.0, 0.0])
    assert on_axes(FIGURE, x=True).x == logarithmic("x", [1.0, 2.0, 3.0, 1.1, 2.9, 2.0])
    assert on_axes(FIGURE) == FIGURE
