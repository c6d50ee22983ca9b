"""What a cell says over its inputs: medians, who was right, what failed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_runs import restored
from test_store import UNITS, ids, judge, open_writer

from falsefloor.api import Facts, Finding
from falsefloor.checks.judge import Judgement
from falsefloor.checks.verdicts import MISCLASSIFIED
from falsefloor.report.cells import brief, summary
from falsefloor.store.cells import Cell, middle
from falsefloor.store.reader import RunReader
from falsefloor.store.records import EstimateResult, UnitResult
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import RIGHT
from falsefloor.store.writer import RunWriter

DOUBTED = 0.7


def saying_what_is_misclassified(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    if facts.judged.radius == DOUBTED:
        return Judgement("suspect", (), "FF101 vanished gradient", 1)
    return Judgement("held", (), "1 check" if facts.judged.radius else MISCLASSIFIED, 1)


def cell(run: RunDir, *rows: EstimateResult) -> Cell:
    """Of a first series with these estimates, as the database says it and as its records do."""
    with closing(open_writer(run)) as writer:
        writer._judge = saying_what_is_misclassified
        writer.store(ids(writer)["clever"], UnitResult(UNITS["clever"].key, estimates=rows))
    with RunReader(run) as reader:
        found = reader.cells()[1]
        told = summary(1, [brief(record) for record in reader.estimates(series=1)])
    assert replace(told, total=found.total) == found
    return found


def right(number: int, radius: float, *, capped: bool = False) -> EstimateResult:
    return EstimateResult(number, label=3, predicted=3, radius=radius, capped=capped)


def wrong(number: int) -> EstimateResult:
    return EstimateResult(number, label=3, predicted=5, radius=0.0)


def test_the_median_of_an_even_count_lies_between_the_two_middle_ones(run: RunDir) -> None:
    found = cell(run, right(0, 0.1), right(1, 0.4), right(2, 0.2), right(3, 9.0))
    assert found.radius == pytest.approx(0.3)
    assert not found.capped


def test_a_median_is_capped_where_a_middle_one_is(run: RunDir) -> None:
    assert middle([(0.2, False), (0.3, True)]) == (0.25, True)
    assert middle([(0.1, False), (0.2, False), (0.3, True)]) == (0.2, False)
    assert middle([]) == (None, False)
    assert cell(run, right(0, 0.2), right(1, 0.3, capped=True)).capped


def test_misclassified_inputs_are_counted_beside_and_never_averaged_in(run: RunDir) -> None:
    found = cell(run, wrong(0), wrong(1), right(2, 0.2), wrong(3), right(4, 0.3))
    assert found.radius == pytest.approx(0.25)
    assert (found.correct, found.judged) == (2, 5)


def test_where_every_label_is_wrong_there_is_no_median(run: RunDir) -> None:
    found = cell(run, wrong(0), wrong(1))
    assert (found.radius, found.correct, found.judged) == (None, 0, 2)


def test_the_reason_is_of_the_gravest_verdict_however_rare(run: RunDir) -> None:
    found = cell(run, right(0, 0.2), right(1, 0.3), right(2, DOUBTED))
    assert (found.reason, found.verdicts) == ("FF101 vanished gradient", {"held": 2, "suspect": 1})


def test_what_failed_is_said_although_others_came_back(run: RunDir) -> None:
    errors = ["rare", "often", "often"]
    failed = [EstimateResult(n, label=3, status="failed", error=said) for n, said in enumerate(errors)]
    found = cell(run, *failed, right(3, 0.2))
    assert (found.verdicts, found.radius, found.failure) == ({"failed": 3, "held": 1}, 0.2, "often")
    assert (found.reason, found.correct, found.judged) == ("1 check", 1, 1)


def test_why_nothing_came_back_is_said(run: RunDir) -> None:
    found = cell(run, EstimateResult(0, status="skipped", error="not for this norm"))
    assert (found.failure, found.radius) == ("not for this norm", None)


rows = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "ok", "failed", "skipped", "cancelled"]),
        st.sampled_from([None, 3]),
        st.sampled_from([None, 3, 5]),
        st.sampled_from([0.1, 0.1, 0.2, 0.3, float("inf")]),
        st.booleans(),
    ),
    min_size=1,
    max_size=9,
)


@given(rows)
@settings(max_examples=40, deadline=None)
def test_the_database_and_the_document_say_the_same_of_a_cell(drawn: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = [
            EstimateResult(
                n,
                label=label,
                predicted=predicted,
                status=status,
                error=None if status == "ok" else f"{status} {n % 2}",
                radius=(0.0 if None not in (label, predicted) and label != predicted else radius)
                if status == "ok"
                else None,
                capped=capped,
            )
            for n, (status, label, predicted, radius, capped) in enumerate(drawn)
        ]
        cell(RunDir(Path(folder)), *made)


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_an_older_version_has_the_same_cells_before_it_is_brought_up_to_date_and_after(
    tmp_path: Path, version: int
) -> None:
    run = restored(tmp_path / "old", version)
    with RunReader(run) as reader:
        before = reader.cells()
    RunWriter(run.db, judge).close()
    with RunReader(run) as reader:
        assert reader.cells() == before
        assert {series.asked for series in reader.series()} == {True}
    if version == 2:
        assert [(one.correct, one.judged) for one in before.values()][9] == (1, 2)


def test_the_median_is_read_from_an_index(run: RunDir) -> None:
    with closing(open_writer(run)) as writer:
        (plan, *_) = writer._db.execute(
            "EXPLAIN QUERY PLAN SELECT radius, capped FROM estimate"
            f" WHERE series = 1 AND {RIGHT} ORDER BY radius, capped"
        )
        assert "USING" in plan[3] and "INDEX estimate_radius" in plan[3]
