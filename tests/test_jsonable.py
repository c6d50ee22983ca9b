"""Stored values: what JSON cannot write comes back, and nothing that anybody may have stored raises."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falsefloor import jsonable
from falsefloor.evidence import Evidence
from falsefloor.jsonable import as_number, finite, number, read, revive
from falsefloor.observed import Gradients, Observed, Step

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [*Observed.__dataclass_fields__, *Evidence.__dataclass_fields__, "radius", "steps", "h"]
)


@given(st.lists(st.floats()))
def test_every_number_comes_back_from_a_document(values: list[float]) -> None:
    back = revive(json.loads(json.dumps(finite({"values": values}), allow_nan=False)))["values"]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(values, back, strict=True))


@pytest.mark.parametrize("value", [True, None, "3", "", [1.0], {}])
def test_what_is_no_number_is_none(value: object) -> None:
    assert as_number(value) is None and number(value) is None


def test_nan_is_a_number_that_says_nothing_to_a_rule() -> None:
    assert math.isnan(as_number("nan") or 0.0) and number("nan") is None and number(10**400) == math.inf


@given(
    st.dictionaries(NAMES, ANYTHING, max_size=8) | st.dictionaries(NAMES, st.dictionaries(NAMES, ANYTHING))
)
def test_whatever_is_stored_can_be_read(stored: dict[str, object]) -> None:
    for kind in (Observed, Evidence):
        made = jsonable.read(kind, stored)
        assert set(vars(made)) == set(kind.__dataclass_fields__)
        hash_free = repr(made)
        assert hash_free


@dataclass(frozen=True)
class _Inner:
    size: float | None = None


@dataclass(frozen=True)
class _Outer:
    word: str = "as it was"
    flag: bool = False
    one: _Inner = _Inner()
    many: tuple[_Inner, ...] = ()
    named: Mapping[str, float] = field(default_factory=dict)


def test_each_field_is_read_by_its_own_kind_and_keeps_its_default_for_another() -> None:
    stored = {
        "word": 3,
        "flag": True,
        "one": {"size": "inf"},
        "many": [{"size": 1}, 2],
        "named": {"a": 1, "b": "x"},
    }
    assert read(_Outer, stored) == _Outer(
        flag=True, one=_Inner(math.inf), many=(_Inner(1.0),), named={"a": 1.0}
    )
    assert read(_Outer, "no mapping") == _Outer() and read(_Outer, {"flag": 1, "one": 3}) == _Outer()


def test_observed_gradients_are_read_with_their_steps() -> None:
    stored = {
        "gradients": {"autograd": [{"radius": 0.1, "median": "nan", "steps": [{"h": 0.5, "ratio": 2}]}]}
    }
    (row,) = Observed.read(stored).gradients["autograd"]
    assert row == Gradients(radius=0.1, steps=(Step(h=0.5, ratio=2.0),))
