"""Whose word a run is: what going on with one would run, and whether this account asked for it.

What is started here is sealed: a digest, keyed by a secret of this account, over all that decides which code
runs. A run without our seal was started by somebody else, or changed since; it may name any code it likes.
"""

from __future__ import annotations

import hmac
import json
import os
import pwd
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from falsefloor.errors import UsageError
from falsefloor.jsonable import finite
from falsefloor.store.reader import RunReader
from falsefloor.store.received import read_regular
from falsefloor.store.run_dir import RunDir
from falsefloor.store.schema import parsed

SEALED = ("study", "cwd", "on", "reuse")
DATA_ONLY = ("digits", "export", "images", "live", "npz")
"""Models and inputs of ours that read files and run nothing of theirs; others may run what they name."""


@dataclass(frozen=True)
class Code:
    """What computing for a run would run: references, and a scheduler that is somebody's. cwd: where."""

    names: tuple[str, ...]
    cwd: Path
    ours: bool

    def told(self) -> str:
        """Each with the file that it means and whose that is."""
        return ", ".join(f"{name}{self._file(name)}" for name in self.names)

    def _file(self, name: str) -> str:
        place = name.partition(":")[2].partition(".py")
        if not place[1]:
            return ""
        file = self.cwd / (place[0] + place[1])
        return f" ({file}, {_owner(file)})"


def code_of(reader: RunReader) -> Code:
    """What going on with a run, or replaying its findings, would run. Raises `StoreError`."""
    meta = reader.meta()
    asked, planned = set(_named(meta.get("study", {}))), set()
    for text in {unit["spec"] for unit in reader.units()}:
        spec = parsed(text, "object", where="unit.spec")
        planned |= set(_named({"models": [spec.get("model")], "inputs": spec.get("inputs")}))
    on = str(meta.get("on", "local"))
    cluster = {on} if ":" in on else set()
    return Code(
        tuple(sorted(asked | planned | cluster)),
        Path(str(meta.get("cwd", "."))),
        # units are planned from the study: one that names more was not planned here
        ours=planned <= asked and hmac.compare_digest(str(meta.get("seal", "")), seal(meta) or "none"),
    )


def check_trust(run: RunDir, command: str) -> None:
    """Raise `UsageError` where a run names code that this account did not ask for."""
    with RunReader(run) as reader:
        code = code_of(reader)
    if code.names and not code.ours:
        raise UsageError(
            f"run {run.id} ({run.db}, {_owner(run.db)}) was not started by this account, or was changed"
            f" since. This would run what it names: {code.told()}. Nothing was run. Read that code first;"
            f" then: {command} --trust"
        )


def seal(meta: Mapping[str, Any]) -> str:
    """Ours over what decides which code runs; empty where this account can keep no secret."""
    key = _key()
    told = json.dumps(finite([meta.get(name) for name in SEALED]), sort_keys=True)
    return hmac.new(key, told.encode(), "sha256").hexdigest() if key else ""


def _named(study: Mapping[str, Any]) -> Iterator[str]:
    """References of a study, as it is stored, that may run code."""
    models = study.get("models")
    given = [*(models if isinstance(models, list) else ()), study.get("inputs")]
    for one in given:
        use = one.get("use") if isinstance(one, Mapping) else one
        if isinstance(use, str) and use.partition(":")[0].removeprefix("falsefloor/") not in DATA_ONLY:
            yield use


def _owner(file: Path) -> str:
    try:
        number = file.lstat().st_uid
    except OSError:
        return "which is not there"
    try:
        return f"of {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"of the user {number}"


def _key() -> bytes:
    place = platformdirs.user_state_path("falsefloor") / "key"
    with suppress(OSError):
        return read_regular(place)
    with suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent) as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            # whole or not at all; another process may have been quicker
            with suppress(FileExistsError):
                os.link(file.name, place)
        return read_regular(place)
    return b""
