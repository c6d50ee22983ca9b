"""Selections of numbered inputs: the grammar against its meaning."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from falsefloor.errors import UsageError
from falsefloor.models.refs import select

RANGE = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).map(tuple)


@given(ranges=st.lists(RANGE, min_size=1, max_size=4), gap=st.sampled_from(["", " "]))
@settings(max_examples=100, deadline=None)
def test_a_selection_is_its_ranges_in_order_without_repeats(ranges: list[tuple[int, int]], gap: str) -> None:
    text = f",{gap}".join(f"{low}-{high}" if low < high else str(low) for low, high in ranges)
    meant = [row for low, high in ranges for row in range(low, high + 1)]
    assert select(text, count=31, what="rows") == list(dict.fromkeys(meant))


@given(text=st.text(alphabet="0123456789-, ax", max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_text_selects_existing_rows_or_is_a_usage_error(text: str) -> None:
    try:
        chosen = select(text, count=10, what="rows")
    except UsageError as error:
        assert str(error).startswith("rows: ")
    else:
        assert chosen
        assert set(chosen) <= set(range(10))
