"""Wheels built here and installed into an environment of their own, from these wheels and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def build(project: Path, wheels: Path) -> Path:
    """The wheel of a project, by the backend that its pyproject.toml names."""
    before = set(wheels.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (made,) = set(wheels.glob("*.whl")) - before
    return made


def write_wheel(wheels: Path, dist: str, source: str, groups: Mapping[str, Mapping[str, str]]) -> Path:
    """A wheel of one module named as the distribution, written by hand: a backend takes half a second."""
    module = dist.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    points = [
        line
        for group, entries in groups.items()
        for line in (f"[falsefloor.{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    contents = {
        f"{module}.py": textwrap.dedent(source),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "\n".join(points) + "\n",
    }
    record = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in contents.items()]
    path = wheels / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Environment:
    """A virtual environment that shares our dependencies, but not falsefloor, with the one of the tests."""

    folder: Path
    wheels: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def install(self, *dists: str) -> None:
        """Install from the wheels and nowhere else: the name falsefloor may be a stranger's on an index."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--no-deps"]
        options = ["--no-index", "--find-links", str(self.wheels), "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *dists], check=True, capture_output=True, cwd=self.folder)

    def run(
        self, *arguments: str | Path, timeout: float = 120.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`falsefloor ARGUMENTS` there, as its console script, in a folder where nothing of ours lies."""
        return self._run([str(self.folder / "bin" / "falsefloor"), *map(str, arguments)], timeout, variables)

    def python_run(
        self, *arguments: str | Path, timeout: float = 120.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS` there."""
        return self._run([str(self.python), *map(str, arguments)], timeout, variables)

    def _run(
        self, command: list[str], timeout: float, variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("FALSEFLOOR_PLUGINS", "PYTHONPATH")}
        own = {
            "FALSEFLOOR_CACHE": str(self.folder / "cache"),
            "FALSEFLOOR_STORE": str(self.store),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            command,
            env={**kept, **own, **variables},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def document(self, *arguments: str | Path, **variables: str) -> Any:
        """The JSON on stdout, which is there whatever the exit code."""
        done = self.run(*arguments, **variables)
        assert done.stdout.startswith("{"), done
        return json.loads(done.stdout)


def make_environment(folder: Path, wheels: Path) -> Environment:
    """A fresh environment; torch and the others are shared through a .pth, which takes 2 s instead of 90."""
    venv.create(folder, with_pip=False, symlinks=True)
    shared = folder / "shared"
    shared.mkdir()
    ours = [Path(place) for place in sys.path if any(Path(place).glob("*.dist-info"))]
    for entry in (entry for place in ours for entry in place.iterdir()):
        # Neither falsefloor itself nor what an editable install leaves behind; the first found is imported.
        linked = shared / entry.name
        if "falsefloor" not in entry.name and entry.suffix != ".pth" and not linked.is_symlink():
            linked.symlink_to(entry)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(f"{shared}\n")
    return Environment(folder, wheels)
