"""Discovery reads metadata and imports nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_site import Install

import falsefloor
from falsefloor.errors import UsageError
from falsefloor.plugins import KINDS, Plugin, discover
from falsefloor.plugins.names import resolve


def ours() -> tuple[Plugin, ...]:
    return tuple(plugin for plugin in discover() if plugin.own)


def strangers() -> list[tuple[str, str]]:
    return [(plugin.kind, plugin.spec) for plugin in discover() if not plugin.own]


def test_our_own_plugins_are_found_through_the_same_groups() -> None:
    assert {plugin.kind for plugin in ours()} == set(KINDS)


def test_a_plugin_is_found_without_being_imported(install: Install) -> None:
    install("boom", "raise SystemExit(3)", maskers={"bang": "boom:Bang"})
    assert ("masker", "boom/bang") in strangers()
    assert "boom" not in sys.modules


def test_looking_for_plugins_imports_no_torch_numpy_scipy_or_textual() -> None:
    code = """
import sys
import falsefloor.plugins, falsefloor.plugins.loading, falsefloor.plugins.describe, falsefloor.options
falsefloor.plugins.discover()
heavy = {"torch", "numpy", "scipy", "textual", "platformdirs"} & set(sys.modules)
assert not heavy, heavy
assert not [n for n in sys.modules if n.startswith(("falsefloor.maskers", "falsefloor.models"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_empty_allow_list_hides_every_third_party_plugin(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("stranger")
    monkeypatch.setenv("FALSEFLOOR_PLUGINS", "")
    assert strangers() == []
    assert ours()


@pytest.mark.parametrize("choice", ["wanted", "one-dist", "One_Dist", "one-dist/wanted", " wanted , absent"])
def test_the_allow_list_takes_a_name_a_distribution_or_both(
    install: Install, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    install("one-dist", estimators={"wanted": "one_dist:Constant"})
    install("other", estimators={"unwanted": "other:Constant"})
    monkeypatch.setenv("FALSEFLOOR_PLUGINS", choice)
    assert strangers() == [("estimator", "one-dist/wanted")]


def test_a_hidden_plugin_is_not_said_to_be_absent_without_the_reason(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("stranger")
    monkeypatch.setenv("FALSEFLOOR_PLUGINS", "")
    with pytest.raises(UsageError, match="FALSEFLOOR_PLUGINS"):
        resolve(discover(), "estimator", "constant")


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="Did you mean 'staircase'"):
        resolve(discover(), "masker", "starcase")


def test_an_unknown_kind_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="estimator"):
        resolve(discover(), "estimators", "clever")


def test_ours_wins_a_clash_and_the_full_name_reaches_the_other(install: Install) -> None:
    install("evil", maskers={"staircase": "evil:Staircase"})
    assert resolve(discover(), "masker", "staircase").own
    assert resolve(discover(), "masker", "falsefloor/staircase").own
    assert resolve(discover(), "masker", "evil/staircase").dist == "evil"


def test_a_strangers_class_of_one_of_our_names_does_not_take_its_place(install: Install) -> None:
    install("evil", estimators={"other": "evil:Clever", "another": "evil:Evil"})
    assert falsefloor.installed("falsefloor.estimators")["Clever"].module == "falsefloor.estimators.clever"
    assert falsefloor.installed("falsefloor.estimators")["Evil"].module == "evil"


def test_a_name_that_two_strangers_offer_is_refused_naming_both(install: Install) -> None:
    install("aaa")
    install("bbb")
    with pytest.raises(UsageError, match="aaa/constant or bbb/constant"):
        resolve(discover(), "estimator", "constant")
    assert resolve(discover(), "estimator", "bbb/constant").dist == "bbb"


def test_damaged_metadata_of_one_package_takes_no_other_away(install: Install, tmp_path: Path) -> None:
    install("fine")
    install("damaged")
    (tmp_path / "site/damaged-1.0.dist-info/METADATA").write_bytes(b"\xff\xfe\x00")
    assert strangers() == [("estimator", "fine/constant")]


def test_an_older_copy_later_on_the_path_is_not_offered(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("twice", version="2.0")
    shadow = tmp_path / "later" / "twice-1.0.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: twice\nVersion: 1.0\n")
    (shadow / "entry_points.txt").write_text("[falsefloor.estimators]\nold = twice:Old\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(shadow.parent)])
    assert strangers() == [("estimator", "twice/constant")]


def test_the_same_version_installed_twice_is_offered_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("twice")
    copy = tmp_path / "later" / "twice-1.0.dist-info"
    shutil.copytree(tmp_path / "site" / copy.name, copy)
    (copy / "RECORD").write_text("twice.py,,\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy.parent)])
    assert strangers() == [("estimator", "twice/constant")]
