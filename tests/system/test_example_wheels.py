"""The example packages, built and installed from local wheels, at work together in one study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wheelhouse import ROOT, Environment, build, make_environment

NAMES = ("art", "foolbox", "learned", "smoothing", "spheres")
ONLY = {"FALSEFLOOR_PLUGINS": ",".join(f"falsefloor-{name}" for name in NAMES)}
KINDS = ("estimator", "masker", "gradient", "model", "input", "check")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    pytest.importorskip("art")
    wheels = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, *(ROOT / f"examples/falsefloor-{name}" for name in NAMES)):
        build(project, wheels)
    made = make_environment(tmp_path_factory.mktemp("examples") / "env", wheels)
    made.install("falsefloor", *(f"falsefloor-{name}" for name in NAMES))
    return made


def test_all_five_run_in_one_study_and_the_note_is_shown_live(clean: Environment) -> None:
    flags = ["--model", "digits:mlp", "--inputs", "digits:0-1", "--norm", "l2", "--recover", "off"]
    for masker in ("none", "staircase", "falsefloor-learned/learned-vq:codes=32,size=1"):
        flags += ["--masker", masker]
    for estimator in (
        *("art-clever:radius=3.0,batches=5,samples=10", "smoothing:sigma=0.1,copies=100,guess=20"),
        "foolbox-ddn:steps=20",
    ):
        flags += ["--estimator", estimator]
    document: Any = clean.document("run", *flags, "--json", **ONLY)
    assert document["run"]["status"] == "done"
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in document["estimates"]:
        found.setdefault((one["estimator"], one["masker"]), []).append(one)
    for one in found["art-clever", "staircase"]:
        assert one["radius"] == pytest.approx(3.0)
        assert one["verdict"] == "refuted"
    for rows in found.values():
        assert {one["status"] for one in rows} == {"ok"}
    for one in found["smoothing", "none"]:
        assert one["claim"] == "lower_estimate"
        assert one["evidence"]["confidence"] == pytest.approx(0.999)
        assert one["reason"].startswith("about another function: the subject under Gaussian noise")
    shown = " ".join(clean.run("show", "last", **ONLY).stdout.split())
    assert "all 6 with 0.994" in shown


@pytest.mark.parametrize("name", NAMES)
def test_each_passes_its_own_tests_where_its_wheel_is_installed(clean: Environment, name: str) -> None:
    folder = ROOT / f"examples/falsefloor-{name}"
    done = clean.python_run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_package_has_nothing_to_lint(clean: Environment, kind: str) -> None:
    made = clean.folder / "linted"
    assert clean.run("plugins", "new", f"lint-{kind}", "--kind", kind, "--into", made).returncode == 0
    folder: Path = made / f"falsefloor-lint-{kind}"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_package_passes_pyright(clean: Environment, kind: str) -> None:
    pytest.importorskip("pyright", reason="pip install pyright; it fetches node where there is none")
    made = clean.folder / "typed"
    assert clean.run("plugins", "new", f"typed-{kind}", "--kind", kind, "--into", made).returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
        cwd=made / f"falsefloor-typed-{kind}",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
