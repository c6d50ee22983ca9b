"""What is built can be installed: wheel and sdist complete, the demo where there is only the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command: str | Path, **environ: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FALSEFLOOR", "PYTHON"))}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, env=kept | environ, cwd="/", timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


def names(built: Path) -> tuple[set[str], set[str]]:
    """The files in the wheel, and in the sdist without its leading folder."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        source = {member.name.partition("/")[2] for member in archive if member.isfile()}
    return inside, source


def test_wheel_and_sdist_hold_every_file_of_the_package(built: Path) -> None:
    wheel, source = names(built)
    tracked = subprocess.run(
        ["git", "ls-files", "falsefloor", "tests", "benchmarks", "docs", "examples"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    ).stdout.split("\n")  # fmt: skip
    if not any(tracked):
        pytest.skip("not a git checkout: what belongs in it is not known")
    present = {name for name in tracked if name and (ROOT / name).is_file()}
    assert {name for name in present if name.startswith("falsefloor/")} <= wheel
    assert present <= source
    for kind in (".tcss", ".safetensors", ".npz", ".toml", "py.typed", "NOTICE.md"):
        assert any(name.endswith(kind) for name in wheel), kind
    assert any("/templates/" in name for name in wheel)
    assert not [name for name in wheel if name.startswith(("tests/", "docs/", "benchmarks/"))]
    assert not [name for name in wheel | source if "__pycache__" in name or name.endswith(".pyc")]


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin of an environment with our wheel, and torch and the others shared with this one.

    A .pth in a shared folder is not followed: a checkout installed there in editable mode is not seen.
    """
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", venv)
    site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    run(venv / "bin" / "pip", "install", "-q", "--no-index", "--no-deps", next(built.glob("*.whl")))
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return venv / "bin"


def test_the_demo_runs_from_the_wheel_alone(clean: Path, tmp_path: Path) -> None:
    place = run(clean / "python", "-c", "import falsefloor; print(falsefloor.__file__)")
    assert Path(place.strip()).is_relative_to(clean.parent)
    shown = run(clean / "falsefloor", "--store", tmp_path / "runs", "demo", "--table")
    assert "REFUTED" in shown and "FF201 floor above ceiling" in shown


def test_module_version_and_completion_work_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    version = run(clean / "falsefloor", "--version")
    assert version == run(clean / "python", "-m", "falsefloor", "--version")
    asked = {"_FALSEFLOOR_COMPLETE": "complete_bash", "COMP_WORDS": "falsefloor expl", "COMP_CWORD": "1"}
    assert "explain" in run(clean / "falsefloor", **asked)
    made = tmp_path / "package"
    made.mkdir()
    run(clean / "falsefloor", "plugins", "new", "mine", "--kind", "masker", "--into", made)
    assert list(made.rglob("pyproject.toml"))
