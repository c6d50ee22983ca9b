"""What the plugin tests share: a sound plugin's source, and how one is put on the path."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

Install = Callable[..., Path]
Installing = Callable[[], AbstractContextManager[Install]]

GOOD = '''
from dataclasses import dataclass
from typing import ClassVar
from falsefloor.api import option

@dataclass(frozen=True)
class Constant:
    """The same radius for every input."""
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset] = frozenset(("linf", "l2"))
    value: float = option(0.5, help="the radius", gt=0)

    def __call__(self, subject, inputs, labels, /, *, norm, context):
        raise NotImplementedError
'''


def installer(site: Path, patch: pytest.MonkeyPatch) -> Install:
    """install(dist, source, estimators={name: target}, version=…) puts a package on the path."""
    site.mkdir()
    patch.syspath_prepend(str(site))
    patch.delenv("FALSEFLOOR_PLUGINS", raising=False)

    def make(dist: str, source: str = GOOD, *, version: str = "1.0", **groups: Mapping[str, str]) -> Path:
        module = dist.replace("-", "_")
        path = site / f"{module}.py"
        path.write_text(textwrap.dedent(source))
        for old in site.glob(f"{module}-*.dist-info"):
            shutil.rmtree(old)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        lines = []
        for group, points in (groups or {"estimators": {"constant": f"{module}:Constant"}}).items():
            lines += [f"[falsefloor.{group}]", *(f"{name} = {target}" for name, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (info / "RECORD").write_text(f"{path.name},sha256={hash(source)},{len(source)}\n")
        return path

    return make
