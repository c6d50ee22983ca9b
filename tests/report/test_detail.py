"""What is read around an estimate: its own point first, and never a pair of points as if it were an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from sample_run import sample

from falsefloor.errors import StoreError
from falsefloor.report.detail import _witness, read_detail, worst_record
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array

POINT, PAIR = Array("float32", (4,), b"\0" * 16), Array("float32", (2, 4), b"\0" * 32)


class Stored:
    def array(self, name: str) -> Array | None:
        return {"own": POINT, "pair": PAIR, "found": POINT}.get(name)


def witness(own: str | None, attached: str) -> Array | None:
    record: dict[str, Any] = {"witness": own, "warnings": [{"witness": {"array": attached}}]}
    near = {"claim": "upper_bound", "witness": "found", "radius": 0.1}
    return _witness(cast(RunReader, Stored()), record, [near], POINT)


def test_a_pair_of_points_that_a_warning_names_is_no_other_input() -> None:
    assert witness(None, "pair") is POINT
    assert witness("gone", "gone") is POINT


def test_an_estimate_is_found_with_its_siblings_its_scales_and_its_pictures(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        record = next(one for one in reader.estimates(masker="staircase:c=255", input=2))
        found = read_detail(reader, record["series"], 2)
    assert len(found.siblings) == 3 and {one["input"] for one in found.siblings} == {2}
    assert found.scales is not None and found.scales[0]["name"] == "finite-difference"
    assert len(found.input) == len(found.witness) == 64 and found.seen["predicted"] == 3
    assert found.inputs == (0, 1, 2) and found.record["id"] == record["id"]


def test_the_worst_speaks_for_a_cell_and_a_missing_one_is_said(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        masked = next(one.id for one in reader.series() if one.masker == "staircase:c=255")
        worst = worst_record(reader, masked, None)
        assert worst is not None and (worst["verdict"], worst["input"]) == ("refuted", 0)
        assert worst_record(reader, masked, 99) is None
        with pytest.raises(StoreError, match="not there yet"):
            read_detail(reader, 99, None)
