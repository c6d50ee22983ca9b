"""A study's settings as flags: one flag for each option, with the option's own help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from falsefloor.api import NORMS
from falsefloor.options import Option
from falsefloor.study.grammar import show_option
from falsefloor.study.study import DOMAIN, SETTINGS

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
        flags = [_flag(one) for one in (*SETTINGS, *DOMAIN) if not only or one.name in only]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in (*own, *flags)}
        return command

    return decorated


def _flag(one: Option) -> inspect.Parameter:
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
