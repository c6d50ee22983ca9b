"""Loading holds a plugin to the contract and says what is wrong in one error."""

from __future__ import annotations

import pytest
from plugin_site import GOOD, Install

from falsefloor.errors import PluginError, UsageError
from falsefloor.plugins.loading import load, make

pytestmark = pytest.mark.usefixtures("warm")

CHECK = '''
from typing import ClassVar
from falsefloor.api import CodeInfo

class Odd:
    """Odd radii."""
    api_version: ClassVar[int] = 1
    codes: ClassVar = {"ODD": CodeInfo("odd", "note", "s", "c", "x")}
    def __call__(self, facts, /):
        return []
'''


def test_an_instance_is_made_with_defaults_filled_and_values_canonical(install: Install) -> None:
    install("load-make", estimators={"load-make": "load_make:Constant"})
    made = make("estimator", "load-make", {"value": 2})
    assert made.value == 2.0
    assert isinstance(made.value, float)
    assert make("estimator", "load-make").value == 0.5
    assert load("estimator", "load-make/load-make") is type(made)


def test_a_wrong_parameter_is_a_usage_error_naming_the_nearest(install: Install) -> None:
    install("load-typo", estimators={"load-typo": "load_typo:Constant"})
    with pytest.raises(UsageError, match="Did you mean 'value'"):
        make("estimator", "load-typo", {"vlaue": 1})
    with pytest.raises(UsageError, match="above 0"):
        make("estimator", "load-typo", {"value": -1})


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("load-exit", "import sys; sys.exit(1)", "sys.exit"),
        ("load-raise", "1/0", "ZeroDivisionError"),
        ("load-need", "import not_there_at_all", "not_there_at_all"),
        ("load-old", GOOD.replace("[int] = 1", "[int] = 0"), "upgrade the plugin"),
        (
            "load-picky",
            GOOD + "\n    def __post_init__(self):\n        raise ValueError('only on Mondays')\n",
            "only on Mondays",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_raises_a_plugin_error(
    install: Install, name: str, source: str, reason: str
) -> None:
    install(name, source, estimators={name: f"{name.replace('-', '_')}:Constant"})
    with pytest.raises(PluginError, match=reason) as caught:
        make("estimator", name)
    assert caught.value.exit_code == 4


def test_a_check_may_be_a_class_or_an_instance_and_takes_no_parameters(install: Install) -> None:
    source = CHECK + "\nodd = Odd()\n"
    install("load-check", source, checks={"c": "load_check:Odd", "i": "load_check:odd"})
    assert list(load("check", "c")(None)) == []
    assert list(load("check", "i")(None)) == []
    with pytest.raises(UsageError, match="no parameter"):
        make("check", "i", {"x": 1})


def test_loading_is_traced_where_the_environment_asks_for_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FALSEFLOOR_TRACE_PLUGINS", "1")
    install("load-trace", estimators={"load-trace": "load_trace:Constant"})
    load("estimator", "load-trace")
    captured = capsys.readouterr()
    assert "loading estimator load-trace/load-trace 1.0" in captured.err
    assert captured.out == ""
