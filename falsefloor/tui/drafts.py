"""What is being composed, kept on disk while it is typed: a crash or a closed lid loses none of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from falsefloor.errors import FalsefloorError
from falsefloor.store.received import read_regular
from falsefloor.study.file import study_from
from falsefloor.study.study import Study

MOST = 2**20
"""Bytes of a draft."""


@dataclass(frozen=True)
class Draft:
    """The texts of a form as they were typed, possible or not, and the study that it began with."""

    study: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """maskers, estimators, norms"""
    settings: Mapping[str, str] = field(default_factory=dict)

    def began(self) -> Study:
        """Raises `UsageError` where this version cannot read it."""
        return study_from(dict(self.study))


def _file(root: Path) -> Path:
    return root / "draft.json"


def keep(root: Path, draft: Draft) -> None:
    """Whole or not at all. Raises `OSError`."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _file(root)
    half = file.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(asdict(draft)), encoding="utf-8")
    half.replace(file)


def kept(root: Path) -> Draft | None:
    """What was kept, where it is whole and was written by this version."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, FalsefloorError):
        read = json.loads(read_regular(_file(root), most=MOST))
        lists = {str(name): tuple(map(str, texts)) for name, texts in read["lists"].items()}
        texts = [{str(k): str(v) for k, v in read[name].items()} for name in ("fields", "settings")]
        made = Draft(dict(read["study"]), texts[0], lists, texts[1])
        made.began()
        return made
    return None


def forget(root: Path) -> None:
    with suppress(OSError):
        _file(root).unlink(missing_ok=True)
