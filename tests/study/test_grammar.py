from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falsefloor.errors import UsageError
from falsefloor.study.grammar import Spec, parse_spec, parse_stack, parse_value, show_value, split_ref

names = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
words = st.text(st.characters(blacklist_categories=("C",), blacklist_characters="'"), min_size=1, max_size=12)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    words,
)


@given(names, st.dictionaries(keys, values, max_size=4))
def test_what_is_shown_reads_back_as_the_same_spec(
    name: str, params: dict[str, bool | int | float | str]
) -> None:
    spec = Spec(name, params)
    read = parse_spec(str(spec))
    assert read == spec
    assert [type(v) for v in read.params.values()] == [type(v) for v in params.values()]


@given(st.lists(st.tuples(names, st.dictionaries(keys, values, max_size=3)), min_size=1, max_size=4))
def test_a_stack_reads_back_whatever_its_values_hold(parts: list[tuple[str, dict[str, float]]]) -> None:
    specs = tuple(Spec(name, params) for name, params in parts)
    assert parse_stack("+".join(map(str, specs))) == specs


@given(st.text(max_size=40))
def test_any_text_is_a_spec_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_stack(text)


def test_a_plus_before_a_digit_belongs_to_the_number() -> None:
    (spec,) = parse_stack("ramp:c=1e+4")
    assert spec.params["c"] == 1e4
    assert [s.name for s in parse_stack("staircase:c=255+dtype:to=float16,at=logits")] == [
        "staircase",
        "dtype",
    ]


def test_a_distribution_may_stand_before_the_name() -> None:
    assert parse_spec("my-dist/tree:depth=3") == Spec("my-dist/tree", {"depth": 3})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not start with a name"),
        ("staircase:c", "not KEY=VALUE"),
        ("staircase:c=", "not KEY=VALUE"),
        ("staircase:c=1,c=2", "given twice"),
        ("staircase:c='1", "quote is not closed"),
        ("9lives", "does not start with a name"),
    ],
)
def test_what_cannot_be_read_is_quoted_in_the_error(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_stack(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1.0", 1.0), ("true", True), ("'1'", "1"), ("a.b", "a.b")]
)
def test_values_are_toml_scalars_or_bare_words(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_a_word_that_looks_like_a_number_is_quoted_when_shown() -> None:
    assert show_value("1") == "'1'"
    assert show_value("float16") == "float16"


def test_a_reference_needs_a_scheme() -> None:
    assert split_ref("python:net.py:build") == ("python", "net.py:build")
    with pytest.raises(UsageError, match="SCHEME:REF"):
        split_ref("net.py")
