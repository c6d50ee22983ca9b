"""From a study file and flags to one study: each flag replaces what the file says under the same key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from falsefloor.cli.terminal import find, say
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.models.refs import kind_of_file

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir
    from falsefloor.study.study import Study

EXAMPLE = "falsefloor run --model digits:mlp --masker staircase:c=255 --inputs digits:0-9"


def build_study(
    file: Path | None,
    *,
    models: Sequence[str] = (),
    maskers: Sequence[str] = (),
    estimators: Sequence[str] = (),
    norms: Sequence[str] = (),
    **settings: Any,
) -> Study:
    """The study that a command line asks for. ``settings``: texts or values, None where not given.

    Raises `StudyError` with the file's line, or `UsageError` for a flag.
    """
    from falsefloor.study.file import read_study, study_from
    from falsefloor.study.grammar import read_option
    from falsefloor.study.study import DOMAIN, SETTINGS

    data: dict[str, Any] = {}
    if file is not None:
        data = read_study(_study_path(file)).to_json()
    lists = {"models": models, "maskers": maskers, "estimators": estimators, "norms": norms}
    data |= {key: list(given) for key, given in lists.items() if given}
    if not data.get("models"):
        raise UsageError(f"what is to be judged? Give --model or a study file, for example: {EXAMPLE}")
    given = {
        one.name: read_option(one, value, owner=_flag(one.name)) if isinstance(value, str) else value
        for one in (*SETTINGS, *DOMAIN)
        if (value := settings.get(one.name)) is not None
    }
    domain = {one.name: given.pop(one.name) for one in DOMAIN if one.name in given}
    if domain:
        data["models"] = [_table(model) | domain for model in data["models"]]
    return study_from(data | given)


def begin(ctx: typer.Context, study: Study, *, on: str = "local", reuse: str | None = None) -> RunDir:
    """Start a study, and say whose code it runs and what else is to be known of it."""
    from falsefloor.worker.launch import start

    earlier = None if reuse is None else find(ctx, reuse)
    for model in study.models:
        if model.use.startswith("python:"):
            say(f"note: {model.use} runs the code of that file")
    run, said = start(study, ctx.obj, reuse=earlier, on=on)
    for line in said:
        say(f"note: {line}")
    return run


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _table(model: str | dict[str, Any]) -> dict[str, Any]:
    return {"use": model} if isinstance(model, str) else dict(model)


def _study_path(file: Path) -> Path:
    if not file.exists() and ":" in str(file):
        raise UsageError(f"no study file {str(file)!r}. A model is given by --model {file}.")
    if file.suffix != ".toml" and (said := kind_of_file(str(file))):
        raise UsageError(f"{file} is no study file. {said}")
    if not file.exists():
        near = sorted(str(path) for path in Path().glob("*.toml"))[:10]
        known = f" {did_you_mean(str(file), near)}" if near else ""
        raise UsageError(f"no study file {str(file)!r}.{known} Or give flags, for example: {EXAMPLE}")
    return file
