"""Parameters: read from a class once, checked the same way on every path."""

from __future__ import annotations

import json
import math
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falsefloor.api import Norm, Scalar, option
from falsefloor.errors import PluginError, UsageError
from falsefloor.options import Option, fill, numbers, read_options
from falsefloor.options import settings as settings_of

if TYPE_CHECKING:
    from somewhere import Unreachable


@dataclass(frozen=True)
class Sample:
    unreachable: ClassVar[Unreachable | None] = None
    batches: int = option(50, help="how many", ge=1)
    radius: Literal["auto"] | float = option("auto", help="of the ball", gt=0, le=10)
    box: bool = True
    mode: Literal["ceil", "round"] = "ceil"
    to: str = option("float16", help="a type", choices=("float16", "uint8"))
    order: Literal[1, 2] = 1
    either: int | float = 0.5
    norm: Norm = "linf"
    derived: int = field(init=False, default=3)


OPTIONS = {o.name: o for o in read_options(Sample)}


def filled(**given: object) -> dict[str, Scalar]:
    return fill(OPTIONS.values(), given, owner="sample")


def test_fields_become_options_in_their_order() -> None:
    assert list(OPTIONS) == ["batches", "radius", "box", "mode", "to", "order", "either", "norm"]
    assert OPTIONS["radius"] == Option(
        "radius", ("float",), "auto", "of the ball", gt=0, le=10, words=("auto",)
    )
    assert OPTIONS["norm"].words == ("l1", "l2", "linf")


def test_what_is_no_dataclass_has_no_options() -> None:
    assert read_options(object) == read_options(print) == read_options(Sample()) == ()


def test_a_field_of_a_parent_class_is_read_in_its_own_module() -> None:
    @dataclass(frozen=True)
    class Child(Sample):
        extra: float = 1.0

    assert [o.name for o in read_options(Child)] == [*OPTIONS, "extra"]


def test_defaults_are_filled_and_values_made_canonical() -> None:
    made = filled(radius=1, batches=1e3, either=2)
    assert list(made) == list(OPTIONS)
    assert (made["radius"], type(made["radius"])) == (1.0, float)
    assert (made["batches"], type(made["batches"])) == (1000, int)
    assert (made["either"], type(made["either"])) == (2, int)
    assert math.copysign(1, filled(either=-0.0)["either"]) == 1


BAD: list[tuple[str, Any, str]] = [
    ("batches", 0, "at least 1"),
    ("batches", True, "an integer"),
    ("batches", 1.5, "an integer"),
    ("batches", "many", "an integer"),
    ("batches", None, "NoneType"),
    ("radius", 0, "above 0 and at most 10"),
    ("radius", 10.5, "at most 10"),
    ("radius", math.nan, "a number"),
    ("radius", math.inf, "a number"),
    ("radius", 10**400, "a number"),
    ("radius", "fixed", "'auto' or a number"),
    ("box", 1, "true or false"),
    ("mode", "floor", "'ceil' or 'round'"),
    ("to", "float8", "'float16', 'uint8'"),
    ("order", 3, "1 or 2"),
    ("order", True, "1 or 2"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_a_wrong_value_is_refused_with_what_is_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        filled(**{name: value})
    assert str(caught.value).startswith(f"sample: {name}=")


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"sample has no parameter 'batch'\. Did you mean 'batches'"):
        filled(batch=3)


@given(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=3)), st.sampled_from(list(OPTIONS))
)
@settings(max_examples=200, deadline=None)
def test_what_is_accepted_is_accepted_again_unchanged_and_survives_json(value: object, name: str) -> None:
    try:
        once = OPTIONS[name].check(value, owner="sample")
    except UsageError:
        return
    again = OPTIONS[name].check(json.loads(json.dumps(once, allow_nan=False)), owner="sample")
    assert (again, type(again)) == (once, type(once))
    assert once == value


@pytest.mark.parametrize("name", list(OPTIONS))
def test_an_option_survives_json(name: str) -> None:
    assert Option.from_json(json.loads(json.dumps(OPTIONS[name].to_json()))) == OPTIONS[name]


@pytest.mark.parametrize("data", [{}, {"name": "x"}, {**OPTIONS["box"].to_json(), "kinds": 3}])
def test_what_is_no_option_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(PluginError):
        Option.from_json(data)


def _made(annotation: Any, default: Any, **settings_: Any) -> type:
    value = option(default, help="", **settings_)
    return dataclass(frozen=True)(type("Odd", (), {"__annotations__": {"x": annotation}, "x": value}))


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (_made("list[int]", 0), "not supported"),
        (_made("float | None", 0.5), "Literal"),
        (_made("Literal[None]", 0), "not supported"),
        (_made("NotThere", 0), "cannot be resolved"),
        (_made(int, 0, ge=1), "breaks its own rule"),
        (_made(int, 0, ge=1, le=-1), "breaks its own rule"),
        (_made(float, math.nan), "breaks its own rule"),
        (_made(float, 0.5, ge=math.nan), "no bound"),
        (_made(str, "a", choices=("b",)), "breaks its own rule"),
        (_made(str, "a", choices=("a", None)), "choices"),
    ],
)
def test_a_field_that_cannot_be_a_parameter_is_the_plugins_error(cls: type, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        read_options(cls)


def test_fields_without_default_init_vars_and_reserved_names_are_refused() -> None:
    @dataclass
    class Bare:
        x: int

    @dataclass
    class Wants:
        y: InitVar[int]
        x: int = 3

    @dataclass
    class Clashing:
        at: str = "input"

    for cls, reason in ((Bare, "no default"), (Wants, "without 'y'"), (Clashing, "'at' is a key")):
        with pytest.raises(PluginError, match=reason):
            read_options(cls)


def test_numbers_are_joined_by_commas() -> None:
    assert numbers("0,1e-3") == numbers([0, 1e-3]) == (0.0, 1e-3) and numbers(0.5) == (0.5,)
    assert numbers("") == () and numbers("0,x") is numbers([True]) is numbers("nan") is numbers({}) is None


def test_only_our_own_settings_may_hold_several_numbers() -> None:
    @dataclass(frozen=True)
    class Ours:
        mean: tuple[float, ...] | None = option(None, help="per channel")
        plain: int = 3

    (mean,) = settings_of(Ours)
    assert mean == Option("mean", ("numbers",), "", "per channel")
    assert mean.check([0, 0.5], owner="it") == mean.check("0,0.5", owner="it") == "0,0.5"
    with pytest.raises(UsageError, match="numbers joined by commas"):
        mean.check("a", owner="it")
    with pytest.raises(PluginError):
        read_options(Ours)
