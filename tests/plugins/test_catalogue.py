"""The catalogue is right after every change and loads nothing where nothing changed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from plugin_site import GOOD, Install

from falsefloor.errors import PluginError, UsageError
from falsefloor.plugins import Described, Plugin, catalogue
from falsefloor.plugins import catalogue as package_attribute
from falsefloor.plugins.catalogue import locate

pytestmark = pytest.mark.usefixtures("warm")

module = sys.modules["falsefloor.plugins.catalogue"]


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The specs of strangers that a child was started for, in order."""
    seen: list[str] = []
    real = module.describe

    def watched(plugins: Iterable[Plugin]) -> list[Described]:
        chosen = list(plugins)
        seen.extend(plugin.spec for plugin in chosen if not plugin.own)
        return real(chosen)

    monkeypatch.setattr(module, "describe", watched)
    return seen


def test_the_package_offers_the_function_not_the_module_of_that_name() -> None:
    assert callable(package_attribute)


def test_a_second_look_starts_no_child(install: Install, cache: Path, described: list[str]) -> None:
    install("stranger")
    first = catalogue()
    described.clear()
    assert catalogue() == first
    assert described == []
    assert first.find("estimator", "constant").summary


@pytest.mark.parametrize("change", ["version", "build", "source"])
def test_a_changed_plugin_is_described_again(
    install: Install, cache: Path, described: list[str], change: str
) -> None:
    path = install("stranger")
    catalogue()
    described.clear()
    if change == "source":
        path.write_text(GOOD.replace("The same", "Another"))
    else:
        install(
            "stranger", GOOD.replace("The same", "Another"), version="2.0" if change == "version" else "1.0"
        )
    assert catalogue().find("estimator", "constant").summary.startswith("Another")
    assert described == ["stranger/constant"]


def test_a_plugin_that_lacks_a_package_heals_when_it_is_installed(install: Install, cache: Path) -> None:
    install("needy", "import late_helper\n" + GOOD)
    with pytest.raises(PluginError, match="late_helper"):
        catalogue().find("estimator", "constant")
    install("late-helper", "", maskers={})
    assert catalogue().find("estimator", "constant").usable


def test_a_timed_out_plugin_is_tried_again_later_and_not_at_once(
    install: Install, cache: Path, described: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FALSEFLOOR_PLUGIN_TIMEOUT", "0.2")
    install("hang", "import time; time.sleep(60)")
    assert {row.status for row in catalogue().plugins if row.dist == "hang"} == {"timed out"}
    described.clear()
    catalogue()
    assert described == []
    (file,) = cache.glob("*.json")
    data = json.loads(file.read_text())
    data["rows"]["estimator|hang|constant|hang:Constant"]["at"] -= 3600
    file.write_text(json.dumps(data))
    catalogue()
    assert described == ["hang/constant"]


def test_who_does_not_wait_gets_what_is_known_and_the_rest_as_being_described(
    install: Install, cache: Path, described: list[str]
) -> None:
    install("known")
    catalogue()
    described.clear()
    install("hang", "import time; time.sleep(60)", estimators={"late": "hang:Constant"})
    found = catalogue(wait=False)
    assert described == [] and not found.whole and found.find("estimator", "clever").usable
    assert {row.spec: row.status for row in found.plugins if not row.plugin.own} == {
        "known/constant": "healthy",
        "hang/late": "being described",
    }
    with pytest.raises(PluginError, match="is being described: a process of its own is importing it"):
        found.find("estimator", "late")


def test_only_the_third_party_plugins_that_are_wanted_are_described(
    install: Install, cache: Path, described: list[str]
) -> None:
    install("wanted", estimators={"one": "wanted:Constant"})
    install("unwanted", "raise RuntimeError", estimators={"two": "unwanted:Constant"})
    found = catalogue([("estimator", "one")])
    assert found.find("estimator", "one").usable
    assert "unwanted/two" not in described
    with pytest.raises(PluginError, match="RuntimeError"):
        found.find("estimator", "two")


def test_a_clash_shows_every_claimant_and_how_to_reach_it(install: Install, cache: Path) -> None:
    install("evil", GOOD, maskers={"none": "evil:Constant"})
    install("aaa")
    install("bbb")
    rows = {row.spec: row for row in catalogue().plugins}
    assert rows["falsefloor/none"].status == "healthy"
    assert "evil/none" in rows["falsefloor/none"].reason
    assert rows["evil/none"].status == "broken"  # an estimator is no masker
    assert {rows["aaa/constant"].status, rows["bbb/constant"].status} == {"duplicate"}
    assert "bbb/constant" in rows["aaa/constant"].reason
    assert catalogue().find("estimator", "aaa/constant").usable


def test_a_broken_plugin_stops_nobody_from_finding_another(install: Install, cache: Path) -> None:
    install("broken", "raise RuntimeError", estimators={"broken": "broken:X"})
    assert catalogue().find("masker", "none").status == "healthy"
    with pytest.raises(PluginError, match="plugins show broken/broken"):
        catalogue().find("estimator", "broken")
    with pytest.raises(UsageError, match="Did you mean 'broken'"):
        catalogue().find("estimator", "brokn")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"rows": {}}', b'{"rows": 3}', b"\xff\xfe"])
def test_a_damaged_cache_is_written_anew(
    install: Install, own_rows: Path, cache: Path, content: bytes, described: list[str]
) -> None:
    (file,) = cache.glob("*.json")
    file.write_bytes(content)
    install("stranger")
    rows = module._rows(tuple(p for p in module.discover() if not p.own))
    assert [row.status for row in rows] == ["healthy"]
    assert "estimator|stranger|constant|stranger:Constant" in json.loads(file.read_text())["rows"]


def test_a_cache_that_cannot_be_written_is_done_without(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FALSEFLOOR_CACHE", str(tmp_path / "file"))
    install("stranger")
    assert [row.status for row in module._rows(tuple(p for p in module.discover() if not p.own))] == [
        "healthy"
    ]


def test_the_cache_is_readable_by_its_owner_alone(install: Install, cache: Path) -> None:
    install("stranger")
    catalogue()
    (file,) = cache.glob("*.json")
    assert file.stat().st_mode & 0o077 == 0


def test_a_module_is_located_without_importing_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "loud_parent" / "inner"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise SystemExit")
    (package / "leaf.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert locate("loud_parent.inner.leaf") == package / "leaf.py"
    assert locate("loud_parent.absent.leaf") is None
    assert "loud_parent" not in sys.modules


def test_every_source_of_an_editable_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "edited"
    package.mkdir()
    for name in ("__init__", "target", "beside"):
        (package / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = Plugin("masker", "m", "edited", "1", "edited.target:M", editable=True)
    before = module.fingerprint(plugin)
    os.utime(package / "beside.py", (1, 1))
    assert module.fingerprint(plugin) != before
