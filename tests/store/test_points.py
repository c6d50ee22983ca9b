"""What a run stores of points: packed without a bit lost, held to a budget, what numbers rest on last."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest
from test_store import UNITS, floor, ids, open_writer

from falsefloor.errors import StoreError, UsageError
from falsefloor.store.points import SMALL, is_left_out, unzipped, zipped
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.store.reuse import Stored
from falsefloor.store.rows import ArrayRow, shared
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.study.study import ModelSpec, Study

WIDE = 5000
BYTES = 4 * WIDE
ROLES = ("input", "witness-changed", "secant-0-a", "secant-0-b")


def point(seed: int) -> Array:
    values = np.random.default_rng(seed).random(WIDE, dtype=np.float32)
    return Array("float32", (WIDE,), values.tobytes(), {"distance": 0.1, "predicted": 8})


def filled(run: RunDir, *, limit: int | None) -> RunWriter:
    """Two inputs, each with four points of an observation, and an attack's point that refutes a floor."""
    writer = open_writer(run)
    writer.hold_to(limit)
    unit = ids(writer)
    seen = [
        ObservationResult(n, True, {}, {role: point(10 * n + at) for at, role in enumerate(ROLES)})
        for n in (0, 1)
    ]
    found = [EstimateResult(n, radius=0.1, arrays={"witness": point(100 + n)}) for n in (0, 1)]
    writer.store(unit["observe"], UnitResult(UNITS["observe"].key, observations=seen))
    writer.store(unit["attack"], UnitResult(UNITS["attack"].key, estimates=found))
    writer.store(unit["clever"], floor())
    return writer


def kept(run: RunDir) -> list[str]:
    with RunReader(run) as reader, closing(sqlite3.connect(run.db)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM array")]
        return sorted(name.split("/", 1)[1] for name in names if reader.array(name))


def row(array: Array) -> ArrayRow:
    return shared(ArrayRow, array, name="c/0/input", unit=1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_what_repeats_is_packed_and_comes_back_bit_for_bit(dtype: str) -> None:
    values = (np.arange(2**15) % 256).astype(np.float64) / 255
    array = Array(dtype, (len(values),), values.tobytes(), {"distance": 0.5})
    packed = zipped(array)
    assert len(packed.data) < len(array.data) / 3
    assert unzipped(row(packed)) == array


@pytest.mark.parametrize("size", [SMALL // 4 - 1, SMALL])
def test_what_packing_does_not_make_smaller_is_stored_as_it_is(size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 2**32, size, dtype=np.uint32).tobytes()
    array = Array("float32", (size,), noise)
    assert zipped(array) == array
    few = Array("float32", (8,), bytes(32))
    assert zipped(few) == few


@pytest.mark.parametrize(
    "data", [b"no such bytes", zlib.compress(bytes(10**6)), zlib.compress(bytes(SMALL))[:-5]]
)
def test_packed_bytes_that_are_no_array_of_the_shape_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match=r"array\.data"):
        unzipped(row(Array("float32/zlib", (SMALL // 4,), data)))


def test_without_a_limit_every_point_is_kept(run: RunDir) -> None:
    filled(run, limit=None).finish("done")
    assert len(kept(run)) == 10
    with RunReader(run) as reader:
        assert reader.said() == []


def test_beyond_the_budget_what_nothing_rests_on_goes_first(run: RunDir) -> None:
    writer = filled(run, limit=5 * BYTES)
    writer.finish("done")
    assert kept(run) == ["0/input", "0/witness", "1/input", "1/witness"]
    with RunReader(run) as reader:
        (said,) = reader.said()
        assert said.startswith("6 points were left out")
        refuted = [one for one in reader.estimates() if one["verdict"] == "refuted"]
        assert len(refuted) == 2
        # what was measured at a point stays, and so do verdicts
        assert all(one["warnings"][0]["witness"]["distance"] == 0.1 for one in refuted)
    assert run.db.stat().st_size < 8 * BYTES


def test_points_that_follow_ups_start_from_stay_until_the_run_ends(run: RunDir) -> None:
    writer = filled(run, limit=0)
    assert kept(run) == ["0/witness", "1/witness"]
    before = verdicts(run)
    writer.finish("done")
    assert kept(run) == []
    assert verdicts(run) == before


def test_a_left_out_point_stays_so_where_its_unit_is_taken_over(run: RunDir) -> None:
    filled(run, limit=0).finish("done")
    stored = Stored(run)
    result = stored.result(UNITS["observe"].key)
    stored.close()
    assert all(is_left_out(array) for one in result.observations for array in one.arrays.values())


@pytest.mark.parametrize(
    ("said", "amount"), [("", None), ("all", float("inf")), ("none", 0), ("0", 0), ("1.5GB", 1_500_000_000)]
)
def test_the_setting_is_an_amount_all_or_none(said: str, amount: float | None) -> None:
    assert Study((ModelSpec("a:b"),), witnesses=said).witness_bytes == amount


def test_no_amount_is_refused_with_what_is_one() -> None:
    with pytest.raises(UsageError, match="all or none"):
        _ = Study((ModelSpec("a:b"),), witnesses="plenty").witness_bytes


def verdicts(run: RunDir) -> list[tuple[str, int, str]]:
    with RunReader(run) as reader:
        return [(one["name"], one["input"], one["verdict"]) for one in reader.estimates()]
