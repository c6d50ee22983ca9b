"""A study from a command line: a flag for each setting, with the option's own help; one study from the flags
and a file, whose keys they replace; begun, and followed to its end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from falsefloor.api import NORMS
from falsefloor.cli.ending import refuse_unplanned
from falsefloor.cli.terminal import find, say
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.models.refs import kind_of_file
from falsefloor.options import Option
from falsefloor.study.grammar import read_option, show_option
from falsefloor.study.study import DOMAIN, SETTINGS, Study

if TYPE_CHECKING:
    from falsefloor.store.run_dir import RunDir

EXAMPLE = "falsefloor run --model digits:mlp --masker staircase:c=255 --inputs digits:0-9"
Command = TypeVar("Command", bound=Callable[..., None])
SHORT = {"inputs": ["-i"]}
METAVARS = {"int": "N", "float": "X", "str": "TEXT", "numbers": "N,N,…"}
BEHAVIOUR = "How it runs"
NormNames = Annotated[
    list[str] | None,
    typer.Option(
        "--norm", metavar="|".join(NORMS), help="Repeatable. Default: linf.", autocompletion=lambda: [*NORMS]
    ),
]
"""Checked by the study, which knows what else a norm is called."""
PANELS = {"inputs": None, "seed": None, **{one.name: "The model's inputs and outputs" for one in DOMAIN}}
"""Where a flag stands in the help, if not under `BEHAVIOUR`."""


def with_settings(*only: str) -> Callable[[Command], Command]:
    """Give a command a flag for every setting, or only those named. Its ``**settings`` get them as texts.

    typer reads a function's signature, so the signature is what is made.
    """

    def decorated(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        flags = [_parameter(one) for one in (*SETTINGS, *DOMAIN) if not only or one.name in only]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in (*own, *flags)}
        return command

    return decorated


def _parameter(one: Option) -> inspect.Parameter:
    name = one.name.replace("_", "-")
    is_flag = one.kinds == ("bool",)
    words = [str(word) for word in one.words]
    default = "" if is_flag or one.default == "" else f" Default: {show_option(one, one.default)}."
    flags = [f"--{name}/--no-{name}"] if is_flag else [f"--{name}", *SHORT.get(name, ())]
    option = typer.Option(
        *flags,
        metavar=None if is_flag else "|".join(words) or METAVARS[one.kinds[0]],
        help=one.help + default,
        autocompletion=(lambda: words) if words else None,
        rich_help_panel=PANELS.get(name, BEHAVIOUR),
    )
    kind: Any = bool | None if is_flag else str | None
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


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


def compute(ctx: typer.Context, study: Study) -> tuple[RunDir, bool]:
    """Start a study and follow it to its end; whether that was interrupted.

    Raises `UsageError` where nothing of it could be planned.
    """
    from falsefloor.cli.follow import follow

    run = begin(ctx, study)
    interrupted = follow(run, owner=True, named=False)
    refuse_unplanned(run)
    return run, interrupted


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
